#include "CLimits.h"

typedef float v4 __attribute__((ext_vector_type(4)));
typedef float v8 __attribute__((ext_vector_type(8)));
typedef float v16 __attribute__((ext_vector_type(16)));

// 12 sums hide the latency of 5 cycles of two units; what is added stays bounded.
#define FMA_LOOP(name, vector, lanes)                                                                                  \
    static double name(long rounds, float *sink) {                                                                    \
        vector sum[12];                                                                                                \
        for (int i = 0; i < 12; i++) sum[i] = (float)i;                                                                \
        vector a = 0.999f + 1e-9f * *sink, b = 1e-3f;                                                                  \
        for (long k = 0; k < rounds; k++) {                                                                            \
            _Pragma("unroll") for (int i = 0; i < 12; i++) sum[i] = __builtin_elementwise_fma(sum[i], a, b);           \
        }                                                                                                              \
        vector total = 0;                                                                                              \
        for (int i = 0; i < 12; i++) total += sum[i];                                                                  \
        *sink = total[0];                                                                                              \
        return 2.0 * lanes * 12 * (double)rounds;                                                                      \
    }

FMA_LOOP(fma_baseline, v4, 4)

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
FMA_LOOP(fma_avx2, v8, 8)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx2,fma"))), apply_to = function)
FMA_LOOP(fma_avx512, v16, 16)
#pragma clang attribute pop

static int vectors(void) {
    return __builtin_cpu_supports("avx512vl") ? 2 : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

double limit_fma(long rounds, float *sink) {
    return vectors() == 2 ? fma_avx512(rounds, sink) : vectors() ? fma_avx2(rounds, sink) : fma_baseline(rounds, sink);
}
const char *limit_vectors(void) {
    return vectors() == 2 ? "AVX-512" : vectors() ? "AVX2" : "the compiler's own";
}
#else
double limit_fma(long rounds, float *sink) { return fma_baseline(rounds, sink); }
const char *limit_vectors(void) {
#if defined(__aarch64__)
    return "NEON";
#else
    return "the compiler's own";
#endif
}
#endif

static inline float read_all(const float *numbers, size_t count) {
    v16 a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < count; i += 64) {
        a += *(const v16 *)(numbers + i);
        b += *(const v16 *)(numbers + i + 16);
        c += *(const v16 *)(numbers + i + 32);
        d += *(const v16 *)(numbers + i + 48);
    }
    a += b + c + d;
    return a[0];
}

float limit_read(const float *numbers, size_t count) { return read_all(numbers, count); }

void limit_spin(const int *stop) {
    while (!*(const volatile int *)stop) {}
}
