// A team of threads for the two phases of a training step, which follow each other every millisecond or two.
//
// The naive answers fail: a thread per phase costs more than the phase; sleeping at once costs two wake-ups of tens of
// microseconds a phase; spinning until the others come burns whole time slices when the machine is shared, so that two
// threads become slower than one. Here a thread looks for SPINS rounds (some 10 microseconds), then sleeps.
#include "CKernels.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPINS = 2000 };

/// Which item of a thread's part is next, on a cache line of its own.
typedef struct {
    _Alignas(64) atomic_int next;
} place;

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
    place *places;
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
    const size_t most = size > 1 ? (size_t)size : 1;
    team->threads = calloc(most, sizeof *team->threads);
    team->places = aligned_alloc(_Alignof(place), most * sizeof *team->places);
    if (!team->places) {
        ck_team_destroy(team);
        return 0;
    }
    // Signals that ask the program to do something are for its own threads; those of faults are for whoever made them.
    sigset_t asking, before;
    sigemptyset(&asking);
    static const int asks[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    for (size_t k = 0; k < sizeof asks / sizeof *asks; k++) sigaddset(&asking, asks[k]);
    pthread_sigmask(SIG_BLOCK, &asking, &before);
    bool failed = false;
    for (int thread = 1; thread < size && !failed; thread++) {
        seat *mine = malloc(sizeof *mine);
        if (mine) *mine = (seat){team, thread};
        if (!mine || !team->threads || pthread_create(&team->threads[thread], 0, help, mine)) {
            free(mine);
            failed = true;
        } else {
            team->size++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    if (!failed) return team;
    ck_team_destroy(team);
    return 0;
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

typedef struct {
    ck_team *team;
    int items;
    void (*body)(void *, int);
    void *context;
} shared;

static void take(void *context, int thread) {
    const shared *work = context;
    const int size = work->team->size;
    for (int other = 0; other < size; other++) {
        const int part = (thread + other) % size;
        const int end = (int)((long)work->items * (part + 1) / size);
        atomic_int *next = &work->team->places[part].next;
        for (int item; (item = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < end;) {
            work->body(work->context, item);
        }
    }
}

void ck_team_share(ck_team *team, int items, void (*body)(void *context, int item), void *context) {
    shared work = {team, items, body, context};
    for (int part = 0; part < team->size; part++) {
        atomic_store(&team->places[part].next, (int)((long)items * part / team->size));
    }
    ck_team_run(team, take, &work);
}

void ck_team_destroy(ck_team *team) {
    if (!team) return;
    if (team->size > 1) {
        atomic_store(&team->stopping, 1);
        begin(team);
        for (int thread = 1; thread < team->size; thread++) pthread_join(team->threads[thread], 0);
    }
    free(team->threads);
    free(team->places);
    pthread_cond_destroy(&team->finished);
    pthread_cond_destroy(&team->started);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}
