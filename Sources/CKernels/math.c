// Elementary functions: the entry points. The work is in math.inc.
#define CK_TEMPLATE "maps.inc"
#include "paths.h"

void ck_exp_all(const double *x, double *y, size_t count) { CK_DISPATCH(map_exp)(x, y, count); }
void ck_expm1_all(const double *x, double *y, size_t count) { CK_DISPATCH(map_expm1)(x, y, count); }
void ck_log_all(const double *x, double *y, size_t count) { CK_DISPATCH(map_log)(x, y, count); }
void ck_normal_all(const double *x, double *y, size_t count) { CK_DISPATCH(map_normal)(x, y, count); }
void ck_scaled_tail_all(const double *x, double *y, size_t count) { CK_DISPATCH(map_scaled_tail)(x, y, count); }

double ck_exp(double x) {
    ck_exp_all(&x, &x, 1);
    return x;
}
double ck_expm1(double x) {
    ck_expm1_all(&x, &x, 1);
    return x;
}
double ck_log(double x) {
    ck_log_all(&x, &x, 1);
    return x;
}
double ck_normal(double x) {
    ck_normal_all(&x, &x, 1);
    return x;
}
double ck_scaled_tail(double x) {
    ck_scaled_tail_all(&x, &x, 1);
    return x;
}

/// Taylor series of cos and sin on [0, pi/4], plain multiplications and additions in one order.
static double cos_series(double x) {
    double z = x * x, sum = 1, term = 1;
    for (int n = 1; n <= 10; n++) {
        term *= -z / (double)((2 * n - 1) * (2 * n));
        sum += term;
    }
    return sum;
}
static double sin_series(double x) {
    double z = x * x, sum = x, term = x;
    for (int n = 1; n <= 10; n++) {
        term *= -z / (double)((2 * n) * (2 * n + 1));
        sum += term;
    }
    return sum;
}

double ck_cospi(double x) {
    const double pi = 0x1.921fb54442d18p1;
    if (!(x >= 0 && x <= 1)) return __builtin_nan("");
    if (x > 0.5) return -ck_cospi(1 - x);
    return x > 0.25 ? sin_series(pi * (0.5 - x)) : cos_series(pi * x);
}
