// An oracle of one's own in C or C++, for Cairn. The one header of the SDK, and the ABI of a shared library.
//
// Describe the oracle in a `cairn_oracle`, then either
//   - call `cairn_oracle_main(&oracle)` in a program that is linked with libcairn_oracle (kind: process), or
//   - export `const cairn_oracle *cairn_oracle_entry(void)` from a shared library (kind: library).
// All strings are UTF-8, and all that is pointed to stays as it is for as long as the process lives.
#ifndef CAIRN_ORACLE_H
#define CAIRN_ORACLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAIRN_ORACLE_ABI 1

typedef enum { CAIRN_CONTINUOUS = 0, CAIRN_INTEGER = 1, CAIRN_CHOICE = 2 } cairn_kind;
typedef enum { CAIRN_LINEAR = 0, CAIRN_LOGARITHMIC = 1 } cairn_scale;
typedef enum {
    CAIRN_NO_GRADIENT = 0, CAIRN_EXACT = 1, CAIRN_DIFFERENCES = 2, CAIRN_COMMON_PATHS = 3
} cairn_gradient;

// What became of a point. From CAIRN_INVALID on there is no price.
typedef enum {
    CAIRN_OK = 0, CAIRN_EXTENDED = 1, CAIRN_NOT_CONVERGED = 2, CAIRN_INVALID = 3, CAIRN_NON_FINITE = 4,
    CAIRN_FAILED = 5
} cairn_status;

typedef struct {
    const char *name;
    const char *unit;         // "yr", "1/yr", "1" for a pure number
    const char *meaning;
    double lower, upper;      // the interval that a study gets when it names no other; of a choice, ignored
    uint32_t kind;            // cairn_kind
    uint32_t scale;           // cairn_scale
    const char *const *words; // of a choice; the number that stands for a word is its position
    size_t word_count;
    const double *usual;      // the value of whoever does not name one; NULL: one must be named
} cairn_input;

// margin = bound - sum of coefficients[k] * input[inputs[k]] is not negative where the contract is worth pricing.
typedef struct {
    const char *name;
    const uint32_t *inputs;
    const double *coefficients;
    size_t count;
    double bound;
} cairn_constraint;

typedef struct {
    const double *inputs; // input_count numbers
    double price;
    double tolerance;     // absolute, beside four standard errors
} cairn_test_vector;

// Points to price. Input i of point k is inputs[i * count + k].
typedef struct {
    size_t count;
    const double *inputs;
    const uint64_t *seeds; // one per point for a stochastic oracle, else NULL
    int wants_gradient;
} cairn_batch;

// Where the answer goes; every array has room for `count` numbers and is zeroed.
typedef struct {
    double *prices;
    double *standard_errors; // NULL unless the oracle is stochastic
    double *gradients;       // NULL unless wanted; the derivative by input i at point k is gradients[i * count + k]
    uint8_t *statuses;       // cairn_status; 0, CAIRN_OK, if left alone
    char *message;           // why points failed, for people
    size_t message_size;     // room for it, the final 0 included
} cairn_result;

typedef struct {
    uint32_t abi_version; // CAIRN_ORACLE_ABI
    uint32_t struct_size; // sizeof(cairn_oracle)
    const char *name;
    const char *version;
    const char *fingerprint; // changes whenever a number that the oracle gives may change
    const char *summary;
    const char *citation;
    const char *licence;
    const cairn_input *inputs;
    size_t input_count;
    const cairn_constraint *constraints;
    size_t constraint_count;
    const cairn_test_vector *test_vectors;
    size_t test_vector_count;
    uint32_t gradient;    // cairn_gradient
    uint32_t stochastic;  // 0 or 1
    double cost_seconds;  // per price on one core, roughly
    void *context;        // handed to evaluate
    // Prices all points: the same input and seed give the same bits, alone or in a batch. 0: done, with a status for
    // each point. Anything else: the whole batch failed, and `message` says why. Of a shared library, it may be called
    // from several threads at a time.
    int (*evaluate)(void *context, const cairn_batch *batch, cairn_result *result);
} cairn_oracle;

// A shared library exports this.
const cairn_oracle *cairn_oracle_entry(void);

// A program calls this: serves requests from standard input until it ends. Standard output is kept for answers: what
// the program prints goes to standard error. Returns the exit code: 0 when the input ended, 1 when a request was no
// request.
int cairn_oracle_main(const cairn_oracle *oracle);

// The answer to one request, without its length, in memory of `malloc`; NULL if the bytes are no request. For those
// who bring their own transport, such as a ZeroMQ socket.
uint8_t *cairn_oracle_answer(const cairn_oracle *oracle, const uint8_t *request, size_t size, size_t *answer_size);

#ifdef __cplusplus
}
#endif
#endif
