// Every kernel on random shapes and hostile numbers, without Swift: prints, for one CPU path, a digest of the bits that
// each kernel gave. The same digests on every path, every CPU and any number of threads are what Cairn promises; neon.sh
// compares them across CPUs, sanitize.sh runs this under the sanitizers.
//
//     kernels PATH        a name of ck_path_name; without, the names of the paths that this CPU has
#include "CKernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;
static uint64_t bits64(void) {  // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1d;
}
static size_t below(size_t bound) { return (size_t)(bits64() >> 33) % bound; }
static double uniform(void) { return (double)(bits64() >> 11) * 0x1p-53; }

static const double hostile[] = {
    0, -0.0, 1, -1, 5e-324, -5e-324, 1e-310, 2.2250738585072014e-308, 1e-45, 1e-40, 1.7976931348623157e308,
    -1.7976931348623157e308, 3.4e38, 709.7, 709.8, 710, -708.5, -745.2, -746, 38.5, -38.5, 1e6, 1e-9,
};
/// Mostly ordinary, sometimes zero, subnormal, huge, infinite or not a number.
static double wild(void) {
    size_t kind = below(40);
    if (kind == 0) return __builtin_inf();
    if (kind == 1) return -__builtin_inf();
    if (kind == 2) return __builtin_nan("");
    if (kind < 8) return hostile[below(sizeof hostile / sizeof *hostile)];
    return (uniform() - 0.5) * (kind < 20 ? 2 : 1600);
}

/// Exactly as many floats as asked for, so that the address sanitizer sees one too many.
static float *floats(size_t count, int is_wild) {
    float *numbers = malloc(count * sizeof *numbers + 1);
    for (size_t i = 0; i < count; i++) numbers[i] = is_wild ? (float)wild() : (float)(2 * uniform() - 1);
    return numbers;
}
static double *doubles(size_t count, int is_wild) {
    double *numbers = malloc(count * sizeof *numbers + 1);
    for (size_t i = 0; i < count; i++) numbers[i] = is_wild ? wild() : uniform();
    return numbers;
}

static uint64_t digest;
static void add(uint64_t word) { digest = (digest ^ word) * 0x100000001b3 + (digest >> 47); }
// CPUs differ in the sign and payload of NaN: all count as one.
static void add_floats(const float *numbers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, numbers + i, 4);
        add(numbers[i] != numbers[i] ? 0x7fc00000 : word);
    }
}
static void add_doubles(const double *numbers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t word;
        memcpy(&word, numbers + i, 8);
        add(numbers[i] != numbers[i] ? 0x7ff8000000000000 : word);
    }
}
static void report(const char *name) {
    printf("%-18s %016llx\n", name, (unsigned long long)digest);
    digest = 0xcbf29ce484222325;
}

/// Zero for three of four, in runs, as behind ReLU.
static void thin(float *numbers, size_t count) {
    for (size_t i = 0; i < count;) {
        const size_t end = i + 1 + below(40);
        for (const int is_zero = below(4) > 0; i < count && i < end; i++) {
            if (is_zero) numbers[i] = 0;
        }
    }
}

static void layers(int is_wild) {
    for (int round = 0; round < 60; round++) {
        const size_t rows = 1 + below(30), depth = below(70), columns = 16 * (1 + below(9));
        const size_t lda = depth + below(6), ldc = columns + 16 * below(2), ldgate = columns + below(7);
        float *a = floats(rows * lda, is_wild), *b = floats(depth * columns, is_wild), *start = floats(columns, is_wild);
        float *gate = floats(rows * ldgate, is_wild), *c = floats(rows * ldc, 0);
        if (round % 2) thin(a, rows * lda), thin(gate, rows * ldgate);
        for (int epilogue = CK_IDENTITY; epilogue <= CK_GATE; epilogue++) {
            ck_matmul(a, lda, rows, depth, b, columns, round % 3 ? start : 0, (ck_epilogue)epilogue, gate, ldgate, c, ldc);
            add_floats(c, rows * ldc);
        }
        free(a), free(b), free(start), free(gate), free(c);
    }
    report(is_wild ? "matmul, hostile" : "matmul");
    for (int round = 0; round < 40; round++) {
        const size_t rows = 1 + below(round % 4 ? 50 : 300), outputs = 1 + below(60), width = 16 * (1 + below(9));
        const size_t ldd = (outputs + 15) / 16 * 16 + below(5), ldx = width + below(5), cut = below(rows + 1);
        float *d = floats(rows * ldd, is_wild), *x = floats(rows * ldx, is_wild), *g = floats(outputs * width, is_wild);
        if (round % 2) thin(d, rows * ldd), thin(x, rows * ldx);
        // In one call, and in two: the same bits.
        ck_outer(d, ldd, x, ldx, rows, 0, outputs, width, 1, g, outputs);
        add_floats(g, outputs * width);
        float *whole = floats(outputs * width, 0), *parts = floats(outputs * width, 0);
        ck_outer(d, ldd, x, ldx, rows, 0, outputs, width, 0, whole, outputs);
        ck_outer(d, ldd, x, ldx, cut, 0, outputs, width, 0, parts, outputs);
        ck_outer(d + cut * ldd, ldd, x + cut * ldx, ldx, rows - cut, 0, outputs, width, 1, parts, outputs);
        if (!is_wild && memcmp(whole, parts, outputs * width * sizeof *whole)) printf("a batch in two parts differs\n");
        add_floats(parts, outputs * width);
        const size_t padded = (outputs + 15) / 16 * 16;
        float *sums = floats(padded, 0);
        ck_column_sums(d, ldd, rows, padded, round % 2, sums);
        add_floats(sums, padded);
        float *across = floats(outputs * width, 0);
        ck_transpose(g, width, outputs, width, across, outputs);
        add_floats(across, outputs * width);
        free(d), free(x), free(g), free(whole), free(parts), free(sums), free(across);
    }
    report(is_wild ? "gradients, hostile" : "gradients");
    for (int round = 0; round < 20; round++) {
        const size_t count = 16 * (1 + below(8));
        float *w = floats(count, is_wild), *g = floats(count, is_wild), *m = floats(count, is_wild), *v = floats(count, is_wild);
        for (size_t i = 0; i < count; i++) v[i] = v[i] < 0 ? -v[i] : v[i];
        for (int step = 0; step < 3; step++) {
            ck_adam(w, g, m, v, count, 0.9f, 0.999f, 0.01f, 1.5f, 1e-8f);
            ck_momentum(w, g, m, count, 0.9f, 0.01f);
        }
        add_floats(w, count), add_floats(m, count), add_floats(v, count);
        free(w), free(g), free(m), free(v);
    }
    report(is_wild ? "steps, hostile" : "steps");
}

static void functions(void) {
    void (*const all[])(const double *, double *, size_t) = {ck_exp_all, ck_expm1_all, ck_log_all, ck_normal_all};
    const char *names[] = {"exp", "expm1", "log", "normal"};
    for (int f = 0; f < 4; f++) {
        for (int round = 0; round < 200; round++) {
            const size_t count = below(70);
            double *x = doubles(count, round % 2), *y = doubles(count, 0);
            all[f](x, y, count);
            add_doubles(y, count);
            free(x), free(y);
        }
        report(names[f]);
    }
    for (int k = -5; k < 1005; k++) {
        double y = ck_cospi(k / 1000.0);
        add_doubles(&y, 1);
    }
    report("cospi");
}

static void puts_and_regions(void) {
    for (int round = 0; round < 150; round++) {
        const size_t count = below(150);
        double *points = doubles(5 * count, round % 3 == 0), *value = doubles(count, 0), *gradient = doubles(5 * count, 0);
        unsigned char *left = malloc(count + 1);
        for (size_t i = 0; i < count && round % 3; i++) {
            points[5 * i] = 0.5 + 0.5 * points[5 * i];
            points[5 * i + 1] += 0.5;
        }
        ck_down_and_out_put(points, count, value, round % 5 ? gradient : 0, left);
        for (size_t i = 0; i < count; i++) {
            add(left[i]);
            if (left[i]) continue;
            add_doubles(value + i, 1);
            if (round % 5) add_doubles(gradient + 5 * i, 5);
        }
        free(points), free(value), free(gradient), free(left);
    }
    report("put");
    for (int round = 0; round < 100; round++) {
        const size_t dimension = 1 + below(8), count = below(60), stride = count + 8;
        double *columns = doubles(stride * dimension, 0), *x = doubles(dimension, 0), *squares = doubles(count, 0);
        double limits[11];
        ptrdiff_t counts[11] = {0};
        const size_t some = below(12);
        for (size_t k = 0; k < some; k++) limits[k] = 0.05 * (double)(k + 1);
        ck_squared_distances(columns, stride, count, x, dimension, squares);
        add_doubles(squares, count);
        ck_count_within(columns, stride, count, x, dimension, limits, some, counts);
        for (size_t k = 0; k < some; k++) add((uint64_t)counts[k]);
        double *offsets = doubles(8 * dimension, 0);
        double lower[8], upper[8];
        for (size_t i = 0; i < dimension; i++) lower[i] = 0.2, upper[i] = 1.1;
        ck_cut cut = {0, dimension - 1, 1, -0.5, 0.4};
        add(ck_count_admissible(x, 0.7, offsets, 8, dimension, lower, upper, &cut, dimension > 1));
        free(columns), free(x), free(squares), free(offsets);
    }
    report("regions");
}

/// Layers cut among threads as training cuts them: rows for activations, outputs for gradients.
typedef struct {
    size_t rows, depth, columns;
    float *a, *b, *c, *g;
    int threads;
} shared;

static void forward(void *context, int thread) {
    shared *s = context;
    size_t from = s->rows * (size_t)thread / (size_t)s->threads, to = s->rows * (size_t)(thread + 1) / (size_t)s->threads;
    if (to == from) return;
    ck_matmul(s->a + from * s->depth, s->depth, to - from, s->depth, s->b, s->columns, 0, CK_RELU, 0, 0,
              s->c + from * s->columns, s->columns);
}

static void backward(void *context, int thread) {
    shared *s = context;
    size_t from = s->depth * (size_t)thread / (size_t)s->threads, to = s->depth * (size_t)(thread + 1) / (size_t)s->threads;
    if (to == from) return;
    ck_outer(s->a, s->depth, s->c, s->columns, s->rows, from, to - from, s->columns, 0, s->g, s->depth);
}

static void claim(void *context, int item) {
    shared *s = context;
    if ((size_t)item < s->depth) s->g[item] += (float)item;
}

static void teams(void) {
    uint64_t before = state;
    for (int threads = 1; threads <= 8; threads++) {
        state = before;
        shared s = {.rows = 61, .depth = 33, .columns = 48, .threads = threads};
        s.a = floats(s.rows * s.depth, 0), s.b = floats(s.depth * s.columns, 0);
        s.c = floats(s.rows * s.columns, 0), s.g = floats(s.depth * s.columns, 0);
        ck_team *team = ck_team_create(threads);
        for (int round = 0; round < 300; round++) {
            ck_team_run(team, forward, &s);
            ck_team_run(team, backward, &s);
            ck_team_share(team, (int)s.depth, claim, &s);
            if (round % 100) continue;
            add_floats(s.c, s.rows * s.columns), add_floats(s.g, s.depth * s.columns);
        }
        ck_team_destroy(team);
        free(s.a), free(s.b), free(s.c), free(s.g);
        char name[32];
        snprintf(name, sizeof name, "team of %d", threads);
        report(name);
    }
}

int main(int argc, char **argv) {
    for (int path = 0; path < CK_PATH_COUNT; path++) {
        if (!ck_path_supported((ck_path)path)) continue;
        if (argc < 2) printf("%s\n", ck_path_name((ck_path)path));
        if (argc < 2 || strcmp(argv[1], ck_path_name((ck_path)path))) continue;
        if (ck_path_select((ck_path)path)) return 1;
        state = 0x9e3779b97f4a7c15;
        digest = 0xcbf29ce484222325;
        layers(0);
        layers(1);
        functions();
        puts_and_regions();
        teams();
        return 0;
    }
    return argc > 1;
}
