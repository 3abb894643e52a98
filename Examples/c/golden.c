// Whether the SDK answers the golden requests with the golden bytes, which Swift and Python read and write too:
// `make check`. Takes the folder.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cairn_oracle.h"

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
    if (count != 2) return 2;
    static const char *const pairs[][2] = {
        {"request-describe", "reply-descriptor"},
        {"request-evaluate", "reply-valuations"},
        {"request-nothing", "reply-failure"},
    };
    int bad = 0;
    for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
        uint8_t request[4096], expected[4096];
        size_t size = load(arguments[1], pairs[k][0], request, sizeof request);
        size_t expected_size = load(arguments[1], pairs[k][1], expected, sizeof expected), answer_size = 0;
        uint8_t *answer = cairn_oracle_answer(cairn_oracle_entry(), request, size, &answer_size);
        if (answer == NULL || answer_size != expected_size || memcmp(answer, expected, answer_size) != 0) {
            printf("%s is not answered with %s\n", pairs[k][0], pairs[k][1]);
            bad = 1;
        }
        free(answer);
    }
    return bad;
}
