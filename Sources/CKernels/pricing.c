// Pricing kernels: the entry points. The work is in pricing.inc.
#define CK_TEMPLATE "pricing.inc"
#include "paths.h"

void ck_down_and_out_put(const double *points, size_t count, double *value, double *gradient, unsigned char *left) {
    CK_DISPATCH(down_and_out_put)(points, count, value, gradient, left);
}
