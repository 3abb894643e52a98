// Feeds the SDK requests that are damaged in every way, under a sanitizer: `make fuzz`. Takes the number of inputs and
// files with good requests, such as the golden ones.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cairn_oracle.h"

static uint64_t state = 88172645463325252u;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

int main(int count, char **arguments) {
    long runs = count > 2 ? strtol(arguments[1], NULL, 10) : 0;
    if (runs <= 0) {
        fputs("fuzz RUNS FILE...\n", stderr);
        return 2;
    }
    long answered = 0;
    uint8_t seed[4096];
    for (long run = 0; run < runs; run++) {
        static long loaded = -1;
        static size_t sizes[64];
        static uint8_t seeds[64][4096];
        if (loaded < 0) {
            for (loaded = 0; loaded + 2 < count && loaded < 64; loaded++) {
                FILE *file = fopen(arguments[loaded + 2], "rb");
                if (file == NULL) return 2;
                sizes[loaded] = fread(seeds[loaded], 1, sizeof seeds[loaded], file);
                fclose(file);
            }
        }
        size_t which = next() % (size_t)loaded, size = sizes[which];
        memcpy(seed, seeds[which], size);
        switch (next() % 5) {
        case 0: size = size > 0 ? next() % size : 0; break;
        case 1:
            size = next() % 256;
            for (size_t k = 0; k < size; k++) seed[k] = (uint8_t)next();
            break;
        case 2:
            for (int k = 0; k < 3 && size > 0; k++) seed[next() % size] = (uint8_t)next();
            break;
        case 3:
            if (size > 0) seed[next() % size] ^= (uint8_t)(1 << next() % 8);
            break;
        default:
            // A part of it twice.
            if (size > 0) {
                size_t from = next() % size, more = next() % (size - from) + 1;
                if (size + more > sizeof seed) more = sizeof seed - size;
                memmove(seed + from + more, seed + from, size - from);
                size += more;
            }
        }
        // In memory of its own size: reading one byte too many is found out.
        uint8_t *request = malloc(size > 0 ? size : 1);
        memcpy(request, seed, size);
        size_t answer_size = 0;
        uint8_t *answer = cairn_oracle_answer(cairn_oracle_entry(), request, size, &answer_size);
        if (answer != NULL) answered++;
        free(answer);
        free(request);
    }
    printf("%ld inputs, %ld answered\n", runs, answered);
    return answered > 0 ? 0 : 1;
}
