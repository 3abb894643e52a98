// A team of threads for the two phases of a training step, which follow each other every millisecond or two.
//
// The naive answers fail: a thread per phase costs more than the phase; sleeping at once costs two wake-ups of tens of
// microseconds a phase; spinning until the others come burns whole time slices when the machine is shared, so that two
// threads become slower than one. Here a thread looks for SPINS rounds (some 10 microseconds), then sleeps.
#include "CKernels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 2000 };

struct ck_team {
    int size;
    pthread_t *threads;
    void (*body)(void *, int);
    void *context;
    atomic_ulong round;   // which call of ck_team_run this is; a change starts the helpers
    atomic_int running;   // helpers that have not finished this round
    atomic_int stopping;
    pthread_mutex_t mutex;
    pthread_cond_t started, finished;
};

typedef struct {
    ck_team *team;
    int thread;
} seat;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void *help(void *argument) {
    seat mine = *(seat *)argument;
    free(argument);
    ck_team *team = mine.team;
    unsigned long seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&team->round) == seen; i++) relax();
        if (atomic_load(&team->round) == seen) {
            pthread_mutex_lock(&team->mutex);
            while (atomic_load(&team->round) == seen) pthread_cond_wait(&team->started, &team->mutex);
            pthread_mutex_unlock(&team->mutex);
        }
        seen++;
        if (atomic_load(&team->stopping)) return 0;
        team->body(team->context, mine.thread);
        if (atomic_fetch_sub(&team->running, 1) == 1) {
            pthread_mutex_lock(&team->mutex);
            pthread_cond_signal(&team->finished);
            pthread_mutex_unlock(&team->mutex);
        }
    }
}

static void begin(ck_team *team) {
    atomic_store(&team->running, team->size - 1);
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->round, 1);
    pthread_cond_broadcast(&team->started);
    pthread_mutex_unlock(&team->mutex);
}

ck_team *ck_team_create(int size) {
    ck_team *team = calloc(1, sizeof *team);
    if (!team) return 0;
    team->size = 1;
    pthread_mutex_init(&team->mutex, 0);
    pthread_cond_init(&team->started, 0);
    pthread_cond_init(&team->finished, 0);
    team->threads = calloc((size_t)(size > 1 ? size : 1), sizeof *team->threads);
    for (int thread = 1; thread < size; thread++) {
        seat *place = malloc(sizeof *place);
        if (place) *place = (seat){team, thread};
        if (!place || !team->threads || pthread_create(&team->threads[thread], 0, help, place)) {
            free(place);
            ck_team_destroy(team);
            return 0;
        }
        team->size++;
    }
    return team;
}

int ck_team_size(const ck_team *team) { return team->size; }

void ck_team_run(ck_team *team, void (*body)(void *context, int thread), void *context) {
    team->body = body;
    team->context = context;
    if (team->size > 1) begin(team);
    body(context, 0);
    if (team->size == 1) return;
    for (int i = 0; i < SPINS && atomic_load(&team->running) > 0; i++) relax();
    if (atomic_load(&team->running) > 0) {
        pthread_mutex_lock(&team->mutex);
        while (atomic_load(&team->running) > 0) pthread_cond_wait(&team->finished, &team->mutex);
        pthread_mutex_unlock(&team->mutex);
    }
}

void ck_team_destroy(ck_team *team) {
    if (!team) return;
    if (team->size > 1) {
        atomic_store(&team->stopping, 1);
        begin(team);
        for (int thread = 1; thread < team->size; thread++) pthread_join(team->threads[thread], 0);
    }
    free(team->threads);
    pthread_cond_destroy(&team->finished);
    pthread_cond_destroy(&team->started);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}
