// An oracle that sleeps, for the benchmarks of scheduling: a shared library that is told by its environment how long, and
// writes down each call.
//
//   SLEEPING_SECONDS  the median of a call
//   SLEEPING_SIGMA    spread of its logarithm; a call's time is a function of its input
//   SLEEPING_SLOW     the name of a worker that is five times slower
//   SLEEPING_LOG      a file that gets a line per call: process, input's bits, CLOCK_MONOTONIC when it began and when it
//                     is due to end, how many times slower; and one when it has ended

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cairn_oracle.h"

static const cairn_input inputs[] = {
    {.name = "u", .unit = "1", .meaning = "uniform number", .lower = 0.001, .upper = 1},
    {.name = "v", .unit = "1", .meaning = "uniform number", .lower = 0.001, .upper = 1},
};
// Tested without sleep.
static const double point[] = {1, 1};
static const cairn_test_vector vectors[] = {{point, 1, 0}};

static double seconds, sigma, pace = 1;
static int file = -1;

static double number(const char *name) { return getenv(name) ? atof(getenv(name)) : 0; }

// Whether this process was started with the argument.
static int was_given(const char *argument) {
    char arguments[4096];
    FILE *stream = fopen("/proc/self/cmdline", "r");
    size_t size = stream ? fread(arguments, 1, sizeof arguments - 1, stream) : 0;
    if (stream) fclose(stream);
    arguments[size] = 0;
    for (size_t k = 0; k < size; k += strlen(arguments + k) + 1)
        if (!strcmp(arguments + k, argument)) return 1;
    return 0;
}

static void begin(void) {
    const char *path = getenv("SLEEPING_LOG"), *slow = getenv("SLEEPING_SLOW");
    seconds = number("SLEEPING_SECONDS");
    sigma = number("SLEEPING_SIGMA");
    if (path) file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (slow && was_given(slow)) pace = 5;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void note(const char *what, double u, double start, double end) {
    if (file < 0) return;
    unsigned long long bits;
    char line[128];
    memcpy(&bits, &u, sizeof bits);
    int size = snprintf(line, sizeof line, "%s %d %llx %.7f %.7f %g\n", what, (int)getpid(), bits, start, end, pace);
    if (write(file, line, (size_t)size) != size) abort();
}

static int price(void *context, const cairn_batch *batch, cairn_result *result) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)context;
    for (size_t k = 0; k < batch->count; k++) {
        double u = batch->inputs[k], v = batch->inputs[batch->count + k];
        result->prices[k] = u * v;
        if (batch->wants_gradient) {
            result->gradients[k] = v;
            result->gradients[batch->count + k] = u;
        }
        if (u == 1 && v == 1) continue;
        pthread_once(&once, begin);
        // Box and Muller's normal number of two uniform ones.
        double normal = sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
        double start = now(), end = start + pace * seconds * exp(sigma * normal);
        note("began", u, start, end);
        struct timespec due = {(time_t)end, (long)(1e9 * (end - floor(end)))};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
        note("ended", u, start, now());
    }
    return 0;
}

static const cairn_oracle oracle = {
    .abi_version = CAIRN_ORACLE_ABI, .struct_size = sizeof oracle,
    .name = "sleeping", .version = "1", .fingerprint = "sleeping-1", .summary = "Product of two numbers, after a sleep",
    .citation = "", .licence = "Apache-2.0", .inputs = inputs, .input_count = 2,
    .test_vectors = vectors, .test_vector_count = 1, .gradient = CAIRN_EXACT, .cost_seconds = 0.01,
    .evaluate = price,
};

const cairn_oracle *cairn_oracle_entry(void) { return &oracle; }
