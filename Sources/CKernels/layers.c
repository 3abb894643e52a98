// Dense layers and optimisers: the entry points. The work is in layers.inc.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CK_TEMPLATE "layers.inc"
#include "paths.h"

void ck_matmul(const float *a, size_t lda, size_t rows, size_t depth, const float *b, size_t columns,
               const float *start, ck_epilogue epilogue, const float *gate, size_t ldgate, float *c, size_t ldc) {
    CK_DISPATCH(matmul)(a, lda, rows, depth, b, columns, start, epilogue, gate, ldgate, c, ldc);
}

void ck_outer(const float *d, size_t ldd, const float *x, size_t ldx, size_t rows, size_t first, size_t outputs,
              size_t columns, int resume, float *g, size_t all) {
    CK_DISPATCH(outer)(d, ldd, x, ldx, rows, first, outputs, columns, resume, g, all);
}

void ck_column_sums(const float *d, size_t ldd, size_t rows, size_t columns, int resume, float *g) {
    CK_DISPATCH(column_sums)(d, ldd, rows, columns, resume, g);
}

void ck_adam(float *w, const float *g, float *m, float *v, size_t count, float b1, float b2, float rate, float scale,
             float epsilon) {
    CK_DISPATCH(adam)(w, g, m, v, count, b1, b2, rate, scale, epsilon);
}

void ck_momentum(float *w, const float *g, float *m, size_t count, float momentum, float rate) {
    CK_DISPATCH(momentum)(w, g, m, count, momentum, rate);
}

typedef float quad __attribute__((ext_vector_type(4), aligned(4)));

/// Four rows of `from` become four columns of `to`.
static inline void transpose_quad(const float *from, size_t ldfrom, float *to, size_t ldto) {
    quad a = *(const quad *)from, b = *(const quad *)(from + ldfrom);
    quad c = *(const quad *)(from + 2 * ldfrom), d = *(const quad *)(from + 3 * ldfrom);
    quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    quad AB = __builtin_shufflevector(a, b, 2, 6, 3, 7), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(quad *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(quad *)(to + ldto) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(quad *)(to + 2 * ldto) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
    *(quad *)(to + 3 * ldto) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

void ck_transpose(const float *from, size_t ldfrom, size_t outputs, size_t inputs, float *to, size_t ldto) {
    // Sixteen outputs at a time: a whole cache line of `to` is written at once.
    size_t o = 0;
    for (; o + 16 <= outputs; o += 16) {
        size_t i = 0;
        for (; i + 4 <= inputs; i += 4) {
            for (size_t j = o; j < o + 16; j += 4) transpose_quad(from + j * ldfrom + i, ldfrom, to + i * ldto + j, ldto);
        }
        for (; i < inputs; i++) {
            for (size_t j = o; j < o + 16; j++) to[i * ldto + j] = from[j * ldfrom + i];
        }
    }
    for (; o < outputs; o++) {
        for (size_t i = 0; i < inputs; i++) to[i * ldto + o] = from[o * ldfrom + i];
    }
}
