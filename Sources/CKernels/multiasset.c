// Monte Carlo on several underlyings: the entry points. The work is in multiasset.inc.
#include <stdlib.h>
#define CK_TEMPLATE "multiasset.inc"
#include "paths.h"

int ck_basket_sums(const ck_basket *contracts, size_t count, size_t assets, size_t dates, const ck_bridge_step *bridge,
                   const uint64_t *directions, const uint64_t *shifts, int log2_paths, size_t first, size_t end,
                   double *sums) {
    return CK_DISPATCH(basket_sums)(contracts, count, assets, dates, bridge, directions, shifts, log2_paths, first, end,
                                    sums);
}

void ck_normals_of(const uint64_t *points, size_t count, double *normals) {
    CK_DISPATCH(normals_of)(points, count, normals);
}
