// Which CPU path the kernels take. Detection happens once, at the first question; a choice made by `ck_path_select`
// (tests, and the environment variable that the Runtime reads) replaces it for all threads.
#include "CKernels.h"

#include <stdatomic.h>

static atomic_int chosen = -1;

int ck_path_supported(ck_path path) {
    switch (path) {
    case CK_PORTABLE:
        return 1;
#if defined(__x86_64__)
    case CK_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CK_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               ck_path_supported(CK_AVX2);
#elif defined(__aarch64__)
    case CK_NEON:
        return 1;
#endif
    default:
        return 0;
    }
}

ck_path ck_path_current(void) {
    int path = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (path < 0) {
        path = CK_PATH_COUNT - 1;
        while (!ck_path_supported((ck_path)path)) path--;
        int unset = -1;
        if (!atomic_compare_exchange_strong(&chosen, &unset, path)) path = unset;
    }
    return (ck_path)path;
}

int ck_path_select(ck_path path) {
    if (!ck_path_supported(path)) return -1;
    atomic_store(&chosen, (int)path);
    return 0;
}

const char *ck_path_name(ck_path path) {
    switch (path) {
    case CK_PORTABLE: return "portable";
    case CK_NEON: return "neon";
    case CK_AVX2: return "avx2";
    case CK_AVX512: return "avx512";
    default: return "unknown";
    }
}
