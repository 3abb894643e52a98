// Dense layers and optimisers: the entry points. The work is in layers.inc.
#define CK_TEMPLATE "layers.inc"
#include "paths.h"

void ck_matmul(const float *a, size_t lda, size_t rows, size_t depth, const float *b, size_t columns,
               const float *start, ck_epilogue epilogue, const float *gate, size_t ldgate, float *c, size_t ldc) {
    CK_DISPATCH(matmul)(a, lda, rows, depth, b, columns, start, epilogue, gate, ldgate, c, ldc);
}

void ck_outer_panel(const float *d, size_t ldd, const float *x, size_t ldx, size_t rows, size_t outputs, size_t width,
                    int resume, float *g) {
    CK_DISPATCH(outer_panel)(d, ldd, x, ldx, rows, outputs, width, resume, g);
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

void ck_transpose(const float *from, size_t ldfrom, size_t outputs, size_t inputs, float *to, size_t ldto) {
    // Eight outputs at a time: eight rows are read in step, and what is written lies side by side.
    size_t o = 0;
    for (; o + 8 <= outputs; o += 8) {
        const float *rows = from + o * ldfrom;
        for (size_t i = 0; i < inputs; i++) {
            float *column = to + i * ldto + o;
            for (size_t j = 0; j < 8; j++) column[j] = rows[j * ldfrom + i];
        }
    }
    for (; o < outputs; o++) {
        for (size_t i = 0; i < inputs; i++) to[i * ldto + o] = from[o * ldfrom + i];
    }
}
