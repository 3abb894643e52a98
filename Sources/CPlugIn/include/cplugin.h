// What Swift cannot do by itself for plug-in oracles: start a process with limits of its own, and open a library.
#ifndef CPLUGIN_H
#define CPLUGIN_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "cairn_oracle.h"

typedef struct {
    const char *const *arguments;   // ends with NULL; the first is looked up in the environment's PATH
    const char *const *environment; // ends with NULL
    const char *folder;             // to work in
    int64_t memory;                 // bytes of address space; -1: no limit. So the others.
    int64_t cpu_seconds;
    int64_t open_files;
} plugin_command;

typedef struct {
    pid_t process; // leads a process group of its own
    int handle;    // readable when the process has ended; -1 where the system has no such thing
    int input;     // write here what the process reads. None of the descriptors waits, and no other process gets them.
    int output;
    int error;
} plugin_process;

// Starts a process, which dies with this one. Returns 0, or an errno.
int plugin_start(const plugin_command *command, plugin_process *process);

// Fields of siginfo_t that are macros.
static inline pid_t plugin_ended_process(const siginfo_t *information) { return information->si_pid; }
static inline int plugin_ended_status(const siginfo_t *information) { return information->si_status; }

// The oracle of a shared library; NULL with a message in `problem`. Never closed again: code of it may be running.
const cairn_oracle *plugin_open(const char *path, char *problem, size_t problem_size);

#endif
