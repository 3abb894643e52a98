// What a core can do at most: loops that do nothing else. Benchmarks print their figures as shares of these.
#ifndef CLIMITS_H
#define CLIMITS_H

#include <stddef.h>

/// Runs `rounds` rounds of independent single-precision fused multiply-adds in registers, with the widest vectors that
/// this CPU has, and returns how many floating-point operations that were (two per multiply-add). `sink` keeps the
/// compiler honest.
double limit_fma(long rounds, float *sink);

/// The vectors that limit_fma uses: `AVX-512`, `AVX2`, `NEON` or `the compiler's own`.
const char *limit_vectors(void);

/// Reads `count` floats (a multiple of 64, aligned to 64 bytes) once.
float limit_read(const float *numbers, size_t count);

/// Busy until *stop is not 0.
void limit_spin(const int *stop);

#endif
