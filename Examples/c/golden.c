// Whether the SDK answers the golden requests with the golden bytes, which Swift and Python read and write too:
// `make check`. Takes the folder; without one it prints something and then serves, for whoever looks at what comes out.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cairn_oracle.h"

// An oracle that has what the forward has not: every kind of input, a constraint, seeds, standard errors, statuses.
static const char *const words[] = {"call", "put"};
static const double usual_spot = 100, usual_payoff = 1;
static const cairn_input inputs[] = {
    {.name = "spot", .unit = "1", .meaning = "price today", .lower = 50, .upper = 200, .scale = CAIRN_LOGARITHMIC,
        .usual = &usual_spot},
    {.name = "steps", .unit = "1", .meaning = "dates", .lower = 1, .upper = 12, .kind = CAIRN_INTEGER},
    {.name = "payoff", .unit = "word", .meaning = "right", .kind = CAIRN_CHOICE, .words = words, .word_count = 2,
        .usual = &usual_payoff},
};
static const uint32_t cut_inputs[] = {0, 1};
static const double cut[] = {1, -10};
static const cairn_constraint constraints[] = {{"not too dear", cut_inputs, cut, 2, 150}};
static const double point[] = {128, 3, 1};
static const cairn_test_vector vectors[] = {{point, 5.625, 0.5}};

static int draw(void *context, const cairn_batch *batch, cairn_result *result) {
    (void)context;
    for (size_t k = 0; k < batch->count; k++) {
        double spot = batch->inputs[k], steps = batch->inputs[batch->count + k], put = batch->inputs[2 * batch->count + k];
        result->prices[k] = spot / 64 + steps + put / 2 + (double)(batch->seeds[k] % 8) / 8;
        result->standard_errors[k] = 0.25;
        if (spot < 64) result->statuses[k] = CAIRN_EXTENDED;
        if (!batch->wants_gradient) continue;
        result->gradients[k] = 1.0 / 64;
        result->gradients[batch->count + k] = 1;
        result->gradients[2 * batch->count + k] = 0.5;
    }
    return 0;
}

static const cairn_oracle lottery = {
    .abi_version = CAIRN_ORACLE_ABI, .struct_size = sizeof lottery,
    .name = "lottery", .version = "2", .fingerprint = "l-1", .summary = "A price with noise", .citation = "nobody",
    .licence = "Apache-2.0", .inputs = inputs, .input_count = 3, .constraints = constraints, .constraint_count = 1,
    .test_vectors = vectors, .test_vector_count = 1, .gradient = CAIRN_COMMON_PATHS, .stochastic = 1,
    .cost_seconds = 0.5, .evaluate = draw,
};

static size_t load(const char *folder, const char *name, uint8_t *bytes, size_t room) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    size_t size = fread(bytes, 1, room, file);
    fclose(file);
    return size;
}

int main(int count, char **arguments) {
    if (count == 1) {
        puts("no answer");
        return cairn_oracle_main(&lottery);
    }
    if (count != 2) return 2;
    const struct {
        const cairn_oracle *oracle;
        const char *request, *reply;
    } pairs[] = {
        {cairn_oracle_entry(), "request-describe", "reply-descriptor"},
        {cairn_oracle_entry(), "request-evaluate", "reply-valuations"},
        {cairn_oracle_entry(), "request-nothing", "reply-failure"},
        {&lottery, "request-describe", "reply-descriptor-all"},
        {&lottery, "request-evaluate-seeds", "reply-valuations-errors"},
    };
    int bad = 0;
    for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
        uint8_t request[4096], expected[4096];
        size_t size = load(arguments[1], pairs[k].request, request, sizeof request);
        size_t expected_size = load(arguments[1], pairs[k].reply, expected, sizeof expected), answer_size = 0;
        uint8_t *answer = cairn_oracle_answer(pairs[k].oracle, request, size, &answer_size);
        if (answer == NULL || answer_size != expected_size || memcmp(answer, expected, answer_size) != 0) {
            printf("%s is not answered with %s\n", pairs[k].request, pairs[k].reply);
            bad = 1;
        }
        free(answer);
    }
    return bad;
}
