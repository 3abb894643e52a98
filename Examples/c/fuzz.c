// Feeds the SDK and libprotobuf-c messages that are damaged in every way, under a sanitizer: `make fuzz`. Takes the number of
// inputs and files with good requests and replies, such as the golden ones.
//
// The sanitizer sees what this code and the SDK read, not what a library from the system's packages does. So each input lies
// against a page that nobody may touch, by turns after its last byte and before its first: one byte too many, read by
// whomever, ends the run. Every thousandth time some inputs go through `cairn_oracle_main` as a stream.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cairn_oracle.h"
#include "oracle.pb-c.h"

// Other codes than those of cairn_oracle_main.
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "exitcode=99:malloc_context_size=2:quarantine_size_mb=8"; }
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "exitcode=99"; }

enum { LONGEST = 8192 };

static uint64_t state = 88172645463325252u;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint8_t seeds[64][LONGEST / 2];
static size_t sizes[64], seed_count;

// A good message with some damage, or none of it good.
static size_t damaged(uint8_t *bytes) {
    size_t which = next() % seed_count, size = sizes[which];
    memcpy(bytes, seeds[which], size);
    switch (next() % 6) {
    case 0: size = size > 0 ? next() % size : 0; break;
    case 1:
        size = next() % 256;
        for (size_t k = 0; k < size; k++) bytes[k] = (uint8_t)next();
        break;
    case 2:
        for (int k = 0; k < 3 && size > 0; k++) bytes[next() % size] = (uint8_t)next();
        break;
    case 3:
        if (size > 0) bytes[next() % size] ^= (uint8_t)(1 << next() % 8);
        break;
    case 4:
        // A part of it twice.
        if (size > 0) {
            size_t from = next() % size, more = next() % (size - from) + 1;
            memmove(bytes + from + more, bytes + from, size - from);
            size += more;
        }
        break;
    default: break;
    }
    return size;
}

// Pages between two that nobody may touch.
static uint8_t *fenced(size_t *size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (LONGEST + page - 1) / page * page;
    uint8_t *all = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, room, PROT_READ | PROT_WRITE) != 0) {
        perror("fuzz: memory");
        exit(2);
    }
    *size = room;
    return all + page;
}

// A reply as another program would read it: unpacked, and packed again.
static int read_reply(const uint8_t *bytes, size_t size) {
    Cairn__Oracle__Reply *reply = cairn__oracle__reply__unpack(NULL, size, bytes);
    if (reply == NULL) return 0;
    uint8_t *again = malloc(cairn__oracle__reply__get_packed_size(reply) + 1);
    cairn__oracle__reply__pack(reply, again);
    free(again);
    cairn__oracle__reply__free_unpacked(reply, NULL);
    return 1;
}

// Some messages as a stream, the last one cut perhaps; whoever serves it ends with 0 or 1, whatever it reads.
static void stream(void) {
    int input = memfd_create("requests", 0), words = memfd_create("words", 0), nothing = open("/dev/null", O_WRONLY);
    if (input < 0 || words < 0 || nothing < 0) exit(2);
    for (uint64_t left = next() % 6; left > 0; left--) {
        uint8_t bytes[LONGEST];
        size_t size = damaged(bytes), said = next() % 8 > 0 ? size : next() % 8 > 0 ? next() % 512 : (uint32_t)next();
        uint8_t head[4];
        for (int k = 0; k < 4; k++) head[k] = (uint8_t)(said >> (8 * k));
        if (write(input, head, next() % 16 > 0 ? 4 : next() % 4) < 0 || write(input, bytes, size) < 0) exit(2);
    }
    lseek(input, 0, SEEK_SET);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(input, 0);
        dup2(nothing, 1);
        dup2(words, 2);
        exit(cairn_oracle_main(cairn_oracle_entry()));
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) exit(2);
    if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
        char text[4096];
        ssize_t length = pread(words, text, sizeof text - 1, 0);
        text[length > 0 ? length : 0] = 0;
        printf("a stream ended it with status %d: %s\n", status, text);
        exit(1);
    }
    close(input);
    close(words);
    close(nothing);
}

int main(int count, char **arguments) {
    long runs = count > 2 ? strtol(arguments[1], NULL, 10) : 0;
    if (runs <= 0) {
        fputs("fuzz RUNS FILE...\n", stderr);
        return 2;
    }
    for (int k = 2; k < count && seed_count < 64; k++) {
        FILE *file = fopen(arguments[k], "rb");
        if (file == NULL) {
            perror(arguments[k]);
            return 2;
        }
        sizes[seed_count] = fread(seeds[seed_count], 1, sizeof seeds[0], file);
        seed_count++;
        fclose(file);
    }
    size_t room;
    uint8_t *pages = fenced(&room);
    long answered = 0, replies = 0, streams = 0;
    for (long run = 0; run < runs; run++) {
        uint8_t bytes[LONGEST];
        size_t size = damaged(bytes);
        uint8_t *input = run % 2 == 0 ? pages + room - size : pages;
        memcpy(input, bytes, size);
        size_t answer_size = 0;
        uint8_t *answer = cairn_oracle_answer(cairn_oracle_entry(), input, size, &answer_size);
        if (answer != NULL) {
            answered++;
            if (!read_reply(answer, answer_size)) {
                printf("input %ld: the answer is no reply\n", run);
                return 1;
            }
        }
        free(answer);
        replies += read_reply(input, size);
        if (run % 1000 == 0) {
            stream();
            streams++;
        }
    }
    printf("%ld inputs: %ld answered as requests, %ld read as replies; %ld streams\n", runs, answered, replies, streams);
    return answered > 0 && replies > 0 ? 0 : 1;
}
