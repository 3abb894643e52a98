// The SDK: requests of Protos/oracle.proto in, answers out. What comes in is not trusted: libprotobuf-c reads it, counts
// are checked before anything is read by them, and a request that is none ends the conversation.

#define _GNU_SOURCE
#include "cairn_oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "oracle.pb-c.h"

enum { LONGEST_FRAME = 64 << 20, LONGEST_MESSAGE = 1024, LONGEST_LOOK = 150000 };

// Strings of the oracle, for protobuf-c, which does not write to them.
static char *text(const char *given) { return (char *)(given != NULL ? given : ""); }

// Memory that must be there: a process without any has nothing left to say.
static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fputs("cairn_oracle: no memory\n", stderr);
        abort();
    }
    return memory;
}

static uint8_t *packed(const Cairn__Oracle__Reply *reply, size_t *size) {
    *size = cairn__oracle__reply__get_packed_size(reply);
    uint8_t *bytes = zeroed(*size, 1);
    cairn__oracle__reply__pack(reply, bytes);
    return bytes;
}

static uint8_t *failure(uint64_t id, const char *words, size_t *size) {
    Cairn__Oracle__Reply reply = CAIRN__ORACLE__REPLY__INIT;
    reply.id = id;
    reply.what_case = CAIRN__ORACLE__REPLY__WHAT_FAILURE;
    reply.failure = text(words);
    return packed(&reply, size);
}

static uint8_t *describe(const cairn_oracle *oracle, uint64_t id, size_t *size) {
    Cairn__Oracle__Descriptor descriptor = CAIRN__ORACLE__DESCRIPTOR__INIT;
    descriptor.name = text(oracle->name);
    descriptor.version = text(oracle->version);
    descriptor.fingerprint = text(oracle->fingerprint);
    descriptor.summary = text(oracle->summary);
    descriptor.citation = text(oracle->citation);
    descriptor.licence = text(oracle->licence);
    descriptor.gradient = (Cairn__Oracle__Descriptor__Gradient)oracle->gradient;
    descriptor.stochastic = oracle->stochastic != 0;
    descriptor.cost_seconds = oracle->cost_seconds;

    size_t width = oracle->input_count;
    Cairn__Oracle__Descriptor__Input *inputs = zeroed(width, sizeof *inputs);
    descriptor.inputs = zeroed(width, sizeof *descriptor.inputs);
    descriptor.n_inputs = width;
    for (size_t i = 0; i < width; i++) {
        const cairn_input *given = &oracle->inputs[i];
        cairn__oracle__descriptor__input__init(&inputs[i]);
        inputs[i].name = text(given->name);
        inputs[i].unit = text(given->unit);
        inputs[i].meaning = text(given->meaning);
        inputs[i].lower = given->lower;
        inputs[i].upper = given->upper;
        inputs[i].kind = (Cairn__Oracle__Descriptor__Kind)given->kind;
        inputs[i].scale = (Cairn__Oracle__Descriptor__Scale)given->scale;
        inputs[i].words = (char **)given->words;
        inputs[i].n_words = given->word_count;
        if (given->usual != NULL) {
            inputs[i].otherwise_case = CAIRN__ORACLE__DESCRIPTOR__INPUT__OTHERWISE_USUAL;
            inputs[i].usual = *given->usual;
        }
        descriptor.inputs[i] = &inputs[i];
    }
    Cairn__Oracle__Descriptor__Constraint *constraints = zeroed(oracle->constraint_count, sizeof *constraints);
    descriptor.constraints = zeroed(oracle->constraint_count, sizeof *descriptor.constraints);
    descriptor.n_constraints = oracle->constraint_count;
    for (size_t k = 0; k < oracle->constraint_count; k++) {
        const cairn_constraint *given = &oracle->constraints[k];
        cairn__oracle__descriptor__constraint__init(&constraints[k]);
        constraints[k].name = text(given->name);
        constraints[k].inputs = (uint32_t *)given->inputs;
        constraints[k].n_inputs = given->count;
        constraints[k].coefficients = (double *)given->coefficients;
        constraints[k].n_coefficients = given->count;
        constraints[k].bound = given->bound;
        descriptor.constraints[k] = &constraints[k];
    }
    Cairn__Oracle__Descriptor__TestVector *vectors = zeroed(oracle->test_vector_count, sizeof *vectors);
    descriptor.test_vectors = zeroed(oracle->test_vector_count, sizeof *descriptor.test_vectors);
    descriptor.n_test_vectors = oracle->test_vector_count;
    for (size_t k = 0; k < oracle->test_vector_count; k++) {
        cairn__oracle__descriptor__test_vector__init(&vectors[k]);
        vectors[k].inputs = (double *)oracle->test_vectors[k].inputs;
        vectors[k].n_inputs = width;
        vectors[k].price = oracle->test_vectors[k].price;
        vectors[k].tolerance = oracle->test_vectors[k].tolerance;
        descriptor.test_vectors[k] = &vectors[k];
    }

    Cairn__Oracle__Reply reply = CAIRN__ORACLE__REPLY__INIT;
    reply.id = id;
    reply.what_case = CAIRN__ORACLE__REPLY__WHAT_DESCRIPTOR;
    reply.descriptor = &descriptor;
    uint8_t *bytes = packed(&reply, size);
    free(descriptor.inputs);
    free(descriptor.constraints);
    free(descriptor.test_vectors);
    free(inputs);
    free(constraints);
    free(vectors);
    return bytes;
}

static uint8_t *evaluate(
    const cairn_oracle *oracle, uint64_t id, const Cairn__Oracle__Evaluate *asked, size_t *size
) {
    size_t count = asked->count, width = oracle->input_count;
    // The numbers are there, so count * width does not overflow where it is equal to theirs.
    if (count > asked->n_inputs || count * width != asked->n_inputs) {
        return failure(id, "the inputs are not as many numbers as points times inputs", size);
    }
    if (oracle->stochastic && asked->n_seeds != count) return failure(id, "there is not one seed per point", size);
    if (asked->gradient && oracle->gradient == CAIRN_NO_GRADIENT) return failure(id, "there are no derivatives", size);

    Cairn__Oracle__Valuations given = CAIRN__ORACLE__VALUATIONS__INIT;
    char message[LONGEST_MESSAGE] = "";
    uint8_t *statuses = zeroed(count, 1);
    given.fingerprint = text(oracle->fingerprint);
    given.prices = zeroed(count, sizeof(double));
    given.n_prices = count;
    if (oracle->stochastic) {
        given.standard_errors = zeroed(count, sizeof(double));
        given.n_standard_errors = count;
    }
    if (asked->gradient) {
        given.gradients = zeroed(count * width, sizeof(double));
        given.n_gradients = count * width;
    }
    cairn_batch batch = {
        .count = count, .inputs = asked->inputs, .seeds = oracle->stochastic ? asked->seeds : NULL,
        .wants_gradient = asked->gradient};
    cairn_result result = {
        .prices = given.prices, .standard_errors = given.standard_errors, .gradients = given.gradients,
        .statuses = statuses, .message = message, .message_size = sizeof message};
    int code = count > 0 ? oracle->evaluate(oracle->context, &batch, &result) : 0;
    message[sizeof message - 1] = 0;

    uint8_t *bytes;
    if (code != 0) {
        bytes = failure(id, message[0] != 0 ? message : "evaluate failed without a word", size);
    } else {
        for (size_t k = 0; k < count; k++) {
            int is_number = isfinite(given.prices[k])
                && (given.standard_errors == NULL || isfinite(given.standard_errors[k]));
            if (statuses[k] < CAIRN_INVALID && !is_number) statuses[k] = CAIRN_NON_FINITE;
            if (statuses[k] != CAIRN_OK) given.n_statuses = count;
        }
        given.statuses = zeroed(count, sizeof *given.statuses);
        for (size_t k = 0; k < count; k++) given.statuses[k] = (Cairn__Oracle__Status)statuses[k];
        given.message = message;
        Cairn__Oracle__Reply reply = CAIRN__ORACLE__REPLY__INIT;
        reply.id = id;
        reply.what_case = CAIRN__ORACLE__REPLY__WHAT_VALUATIONS;
        reply.valuations = &given;
        bytes = packed(&reply, size);
        free(given.statuses);
    }
    free(given.prices);
    free(given.standard_errors);
    free(given.gradients);
    free(statuses);
    return bytes;
}

uint8_t *cairn_oracle_answer(const cairn_oracle *oracle, const uint8_t *request, size_t size, size_t *answer_size) {
    Cairn__Oracle__Request *asked = cairn__oracle__request__unpack(NULL, size, request);
    if (asked == NULL) return NULL;
    uint8_t *bytes;
    switch (asked->what_case) {
    case CAIRN__ORACLE__REQUEST__WHAT_DESCRIBE: bytes = describe(oracle, asked->id, answer_size); break;
    case CAIRN__ORACLE__REQUEST__WHAT_EVALUATE:
        bytes = evaluate(oracle, asked->id, asked->evaluate, answer_size);
        break;
    default: bytes = failure(asked->id, "neither describe nor evaluate was asked", answer_size);
    }
    cairn__oracle__request__free_unpacked(asked, NULL);
    return bytes;
}

static long long nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// When to look for the next request before going to sleep: sleep and awakening cost more than many a price, on a virtual
// machine by far. A look lasts LONGEST_LOOK nanoseconds; each that is in vain, or lost the core for too long, doubles the
// number of those left out.
typedef struct {
    unsigned skipped, to_skip;
} lookout;

static void look_out(lookout *lookout, int descriptor) {
    if (lookout->to_skip > 0) {
        lookout->to_skip--;
        return;
    }
    const long long end = nanoseconds() + LONGEST_LOOK;
    struct pollfd item = {.fd = descriptor, .events = POLLIN};
    int found = poll(&item, 1, 0);
    while (found == 0 && nanoseconds() < end) {
        sched_yield();
        found = poll(&item, 1, 0);
    }
    lookout->skipped = found > 0 && nanoseconds() < end ? 0 : lookout->skipped < 127 ? 2 * lookout->skipped + 1 : 255;
    lookout->to_skip = lookout->skipped;
}

// Reads all of it: 1; or nothing, at the end: 0; or not all: -1.
static int read_all(int descriptor, uint8_t *bytes, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(descriptor, bytes + done, size - done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return done == 0 && count == 0 ? 0 : -1;
        done += (size_t)count;
    }
    return 1;
}

static int write_all(int descriptor, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        ssize_t count = write(descriptor, bytes, size);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return -1;
        bytes += count;
        size -= (size_t)count;
    }
    return 0;
}

int cairn_oracle_main(const cairn_oracle *oracle) {
    // What the program prints must not end up among the answers, and what it starts must not read the requests.
    int requests = fcntl(0, F_DUPFD_CLOEXEC, 3);
    int answers = fcntl(1, F_DUPFD_CLOEXEC, 3);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (requests < 0 || answers < 0 || nothing < 0 || dup2(nothing, 0) < 0 || dup2(2, 1) < 0) {
        perror("cairn_oracle: standard input and output");
        return 1;
    }
    if (nothing > 0) close(nothing);
    // What it printed before goes where the rest of it does.
    fflush(stdout);
    int code = 1;
    lookout lookout = {0};
    for (;;) {
        uint8_t head[4];
        look_out(&lookout, requests);
        int found = read_all(requests, head, sizeof head);
        if (found == 0) code = 0;
        if (found <= 0) break;
        size_t size = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (size > LONGEST_FRAME) {
            fprintf(stderr, "cairn_oracle: a request of %zu bytes\n", size);
            break;
        }
        uint8_t *request = zeroed(size, 1);
        if (size > 0 && read_all(requests, request, size) != 1) {
            fputs("cairn_oracle: the input ends in the middle of a request\n", stderr);
            free(request);
            break;
        }
        size_t answer_size;
        uint8_t *answer = cairn_oracle_answer(oracle, request, size, &answer_size);
        free(request);
        if (answer == NULL) {
            fputs("cairn_oracle: bytes that are no request\n", stderr);
            break;
        }
        // Length and answer in one piece: one wake-up for whoever waits.
        uint8_t *frame = zeroed(answer_size + 4, 1);
        for (int k = 0; k < 4; k++) frame[k] = (uint8_t)(answer_size >> (8 * k));
        memcpy(frame + 4, answer, answer_size);
        int written = write_all(answers, frame, answer_size + 4);
        free(frame);
        free(answer);
        if (written != 0) break;
    }
    close(requests);
    close(answers);
    return code;
}
