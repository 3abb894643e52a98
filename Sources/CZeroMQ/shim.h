// libzmq (Debian: libzmq3-dev), and the descriptors that wake a thread which waits in zmq_poll.
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>
