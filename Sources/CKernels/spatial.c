// Counting points in regions: the entry points. The work is in spatial.inc.
#define CK_TEMPLATE "spatial.inc"
#include "paths.h"

size_t ck_count_admissible(const double *centre, double scale, const double *offsets, size_t count, size_t dimension,
                           const double *lower, const double *upper, const ck_cut *cuts, size_t cut_count) {
    return CK_DISPATCH(count_admissible)(centre, scale, offsets, count, dimension, lower, upper, cuts, cut_count);
}

void ck_squared_distances(const double *columns, size_t stride, size_t count, const double *x, size_t dimension,
                          double *squares) {
    CK_DISPATCH(squared_distances)(columns, stride, count, x, dimension, squares);
}

void ck_count_within(const double *columns, size_t stride, size_t count, const double *x, size_t dimension,
                     const double *limits, size_t limit_count, ptrdiff_t *counts) {
    CK_DISPATCH(count_within)(columns, stride, count, x, dimension, limits, limit_count, counts);
}
