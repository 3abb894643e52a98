// Starting processes and opening libraries for plug-in oracles.
//
// posix_spawn knows neither limits nor the wish to die with one's parent, so this is vfork and exec. Between the two the
// child shares the parent's memory: it makes system calls on what was laid out before, and nothing else.
//
// To the kernel, the parent that a child dies with is the thread that started it. Threads of a pool come and go, so one
// thread that stays starts all processes.

#define _GNU_SOURCE
#include "cplugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Whoever ignores the limit's signal meets a hard limit `grace` later.
static int limit(int resource, int64_t value, int64_t grace) {
    if (value < 0) return 0;
    struct rlimit limit = {(rlim_t)value, (rlim_t)(value + grace)}, now;
    if (getrlimit(resource, &now) != 0) return -1;
    // What is limited more already stays so.
    if (now.rlim_max < limit.rlim_max) limit.rlim_max = now.rlim_max;
    if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit);
}

// Whatever else is open here is none of the command's business: sockets, files, pipes whose end somebody waits for.
static void keep_to_ourselves(void) {
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
    // A kernel before 5.11.
    struct rlimit open;
    int end = getrlimit(RLIMIT_NOFILE, &open) == 0 && open.rlim_cur < 65536 ? (int)open.rlim_cur : 65536;
    for (int descriptor = 3; descriptor < end; descriptor++) fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

// In the child. Returns only if the command cannot be run.
static int become(const plugin_command *command, const int ends[3], pid_t parent) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &usual, NULL);
    if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno;
    // The parent may have died before it was asked for.
    if (getppid() != parent) _exit(1);
    for (int k = 0; k < 3; k++) {
        // dup2 clears close-on-exec, unless the descriptor is in place already; the ends are above 2.
        if (dup2(ends[k], k) < 0) return errno;
    }
    keep_to_ourselves();
    if (chdir(command->folder) != 0) return errno;
    if (limit(RLIMIT_AS, command->memory, 0) != 0 || limit(RLIMIT_CPU, command->cpu_seconds, 1) != 0
        || limit(RLIMIT_NOFILE, command->open_files, 0) != 0 || limit(RLIMIT_CORE, 0, 0) != 0) {
        return errno;
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvpe(command->arguments[0], (char *const *)command->arguments, (char *const *)command->environment);
    return errno;
}

// A pipe whose ends are not among the standard streams.
static int make_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    for (int k = 0; k < 2; k++) {
        if (ends[k] > 2) continue;
        int above = fcntl(ends[k], F_DUPFD_CLOEXEC, 3);
        close(ends[k]);
        ends[k] = above;
        if (above < 0) return -1;
    }
    return 0;
}

static int start(const plugin_command *command, plugin_process *process) {
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    int failure = 0;
    for (int k = 0; k < 3 && failure == 0; k++) {
        if (make_pipe(pipes[k]) != 0) failure = errno;
    }
    pid_t child = -1;
    if (failure == 0) {
        const int ends[3] = {pipes[0][0], pipes[1][1], pipes[2][1]};
        pid_t parent = getpid();
        volatile int problem = 0;
        child = vfork();
        if (child == 0) {
            problem = become(command, ends, parent);
            _exit(127);
        }
        failure = child < 0 ? errno : problem;
    }
    for (int k = 0; k < 3; k++) {
        int own = k == 0 ? 1 : 0;
        if (pipes[k][1 - own] >= 0) close(pipes[k][1 - own]);
        if (failure != 0) {
            if (pipes[k][own] >= 0) close(pipes[k][own]);
        } else {
            fcntl(pipes[k][own], F_SETFL, O_NONBLOCK);
        }
    }
    if (failure != 0) {
        if (child > 0) while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
        return failure;
    }
    process->process = child;
    process->handle = (int)syscall(SYS_pidfd_open, child, 0);
    process->input = pipes[0][1];
    process->output = pipes[1][0];
    process->error = pipes[2][0];
    return 0;
}

// What the starting thread is asked to do, by one caller at a time.
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static const plugin_command *wanted;
static plugin_process *wanted_process;
static int result;
static int unavailable;

static void *starter(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (wanted == NULL) pthread_cond_wait(&changed, &lock);
        result = start(wanted, wanted_process);
        wanted = NULL;
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

static void make_starter(void) {
    pthread_t thread;
    // It handles no signal of the program.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    unavailable = pthread_create(&thread, NULL, starter, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (unavailable == 0) pthread_detach(thread);
}

int plugin_start(const plugin_command *command, plugin_process *process) {
    pthread_once(&once, make_starter);
    if (unavailable != 0) return unavailable;
    pthread_mutex_lock(&turn);
    pthread_mutex_lock(&lock);
    wanted = command;
    wanted_process = process;
    pthread_cond_broadcast(&changed);
    while (wanted != NULL) pthread_cond_wait(&changed, &lock);
    int answer = result;
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&turn);
    return answer;
}

const cairn_oracle *plugin_open(const char *path, char *problem, size_t problem_size) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(problem, problem_size, "%s", dlerror());
        return NULL;
    }
    const cairn_oracle *(*entry)(void);
    *(void **)&entry = dlsym(library, "cairn_oracle_entry");
    if (entry == NULL) {
        snprintf(problem, problem_size, "it exports no cairn_oracle_entry");
        return NULL;
    }
    const cairn_oracle *oracle = entry();
    if (oracle == NULL) {
        snprintf(problem, problem_size, "its cairn_oracle_entry returned nothing");
    } else if (oracle->abi_version != CAIRN_ORACLE_ABI || oracle->struct_size != sizeof(cairn_oracle)) {
        snprintf(
            problem, problem_size,
            "it was built for version %u of the interface (%u bytes), this Cairn has version %u (%u bytes); build it again",
            oracle->abi_version, oracle->struct_size, CAIRN_ORACLE_ABI, (unsigned)sizeof(cairn_oracle));
        oracle = NULL;
    }
    return oracle;
}
