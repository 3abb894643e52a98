// The smallest oracle in C: the forward price of a share without dividends, with its derivatives. The same source is a
// program (kind: process) and a shared library (kind: library).

#include "cairn_oracle.h"

static const cairn_input inputs[] = {
    {.name = "rate", .unit = "1/yr", .meaning = "interest rate", .lower = 0, .upper = 0.1},
    {.name = "maturityYears", .unit = "yr", .meaning = "time to delivery", .lower = 0.1, .upper = 5},
};
static const double point[] = {0.05, 2.0};
static const cairn_test_vector vectors[] = {{point, 1.1, 1e-15}};

static int price(void *context, const cairn_batch *batch, cairn_result *result) {
    (void)context;
    const double *rate = batch->inputs, *maturity = batch->inputs + batch->count;
    for (size_t k = 0; k < batch->count; k++) {
        if (maturity[k] < 0) {
            result->statuses[k] = CAIRN_INVALID;
            continue;
        }
        result->prices[k] = 1 + rate[k] * maturity[k];
        if (!batch->wants_gradient) continue;
        result->gradients[k] = maturity[k];
        result->gradients[batch->count + k] = rate[k];
    }
    return 0;
}

static const cairn_oracle oracle = {
    .abi_version = CAIRN_ORACLE_ABI, .struct_size = sizeof oracle,
    .name = "forward", .version = "1", .fingerprint = "c-1", .summary = "Forward price of a share without dividends",
    .citation = "", .licence = "Apache-2.0", .inputs = inputs, .input_count = 2,
    .test_vectors = vectors, .test_vector_count = 1, .gradient = CAIRN_EXACT, .cost_seconds = 1e-8,
    .evaluate = price,
};

const cairn_oracle *cairn_oracle_entry(void) { return &oracle; }

#ifndef CAIRN_LIBRARY
int main(void) { return cairn_oracle_main(&oracle); }
#endif
