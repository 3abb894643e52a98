// A service: the oracle of forward.c behind a ZeroMQ socket that is bound to the first argument.

#include <stdlib.h>
#include <zmq.h>

#include "cairn_oracle.h"

static void release(void *bytes, void *hint) {
    (void)hint;
    free(bytes);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_REP);
    if (zmq_bind(socket, arguments[1]) != 0) return 1;
    for (;;) {
        zmq_msg_t request, reply;
        zmq_msg_init(&request);
        if (zmq_msg_recv(&request, socket, 0) < 0) return 1;
        size_t size = 0;
        uint8_t *answer = cairn_oracle_answer(
            cairn_oracle_entry(), zmq_msg_data(&request), zmq_msg_size(&request), &size);
        zmq_msg_close(&request);
        zmq_msg_init_data(&reply, answer, size, release, NULL);
        if (zmq_msg_send(&reply, socket, 0) < 0) return 1;
    }
}
