// A team of threads for the two phases of a training step, which follow each other every millisecond or two.
//
// The naive answers fail: a thread per phase costs more than the phase; sleeping at once costs two wake-ups of tens of
// microseconds a phase; spinning until the others come burns whole time slices when the machine is shared, so that two
// threads become slower than one. Here a thread looks out for the others for a while, as long as that pays, then sleeps:
// each look in vain, as when others have the cores, doubles the number of times that there is none.
#include "CKernels.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { LONGEST_LOOK = 200000 /* nanoseconds */, MOST_SKIPPED = 255 };

/// Which item of a thread's part is next, on a cache line of its own.
typedef struct {
    _Alignas(64) atomic_int next;
} place;

/// How many of a thread's waits are to come without a look, and how many were after the last look.
typedef struct {
    int to_skip, skipped;
} lookout;

struct ck_team {
    int size;
    pthread_t *threads;
    void (*body)(void *, int);
    void *context;
    atomic_ulong rounds;    // calls of ck_team_run so far; one more starts the helpers
    atomic_ulong finished;  // how often a helper has come to the end of a round
    atomic_int stopping;
    pthread_mutex_t mutex;
    pthread_cond_t start, finish;
    lookout lookout;
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

static long long nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/// Returns once a count is there.
static void wait_for(ck_team *team, atomic_ulong *count, unsigned long wanted, pthread_cond_t *change, lookout *mine) {
    if (mine->to_skip > 0) {
        mine->to_skip--;
    } else {
        const long long end = nanoseconds() + LONGEST_LOOK;
        bool in_vain = false;
        while (atomic_load(count) != wanted && !in_vain) {
            for (int k = 0; k < 16 && atomic_load(count) != wanted; k++) relax();
            in_vain = nanoseconds() >= end;
        }
        mine->skipped = !in_vain ? 0 : mine->skipped < MOST_SKIPPED / 2 ? 2 * mine->skipped + 1 : MOST_SKIPPED;
        mine->to_skip = mine->skipped;
    }
    if (atomic_load(count) == wanted) return;
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(count) != wanted) pthread_cond_wait(change, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
}

/// Wakes those who sleep until a count changes, which it has.
static void wake(ck_team *team, pthread_cond_t *change) {
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(change);
    pthread_mutex_unlock(&team->mutex);
}

static void *help(void *argument) {
    seat mine = *(seat *)argument;
    free(argument);
    ck_team *team = mine.team;
    lookout lookout = {0, 0};
    for (unsigned long round = 1;; round++) {
        wait_for(team, &team->rounds, round, &team->start, &lookout);
        if (atomic_load(&team->stopping)) return 0;
        team->body(team->context, mine.thread);
        const unsigned long all = round * (unsigned long)(team->size - 1);
        if (atomic_fetch_add(&team->finished, 1) + 1 == all) wake(team, &team->finish);
    }
}

static void begin(ck_team *team) {
    atomic_fetch_add(&team->rounds, 1);
    wake(team, &team->start);
}

ck_team *ck_team_create(int size) {
    ck_team *team = calloc(1, sizeof *team);
    if (!team) return 0;
    team->size = 1;
    pthread_mutex_init(&team->mutex, 0);
    pthread_cond_init(&team->start, 0);
    pthread_cond_init(&team->finish, 0);
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
    const unsigned long all = atomic_load(&team->rounds) * (unsigned long)(team->size - 1);
    wait_for(team, &team->finished, all, &team->finish, &team->lookout);
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
    pthread_cond_destroy(&team->finish);
    pthread_cond_destroy(&team->start);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}
