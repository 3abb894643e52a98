// Counting points in regions: the entry points. The work is in spatial.inc.
#define CK_TEMPLATE "spatial.inc"
#include "paths.h"

size_t ck_count_admissible(const double *centre, double scale, const double *offsets, size_t count, size_t dimension,
                           const double *lower, const double *upper, const ck_cut *cuts, size_t cut_count) {
    return CK_DISPATCH(count_admissible)(centre, scale, offsets, count, dimension, lower, upper, cuts, cut_count);
}
