// Compiles one kernel file for every CPU path. A .c file names its template in CK_TEMPLATE and includes this header;
// the template sees PATH(name), VF and VD (floats and doubles per vector), VECTORS (the width of the register tile of
// the dense layers, 6 rows high: as many accumulators as the register file holds beside operands) and CHUNK (rows of a
// batch that a sum over it takes at a time: a narrow tile passes over them more often and wants them in the first-level
// cache). CK_DISPATCH(name) is then the version of the path in use.
//
// AVX-512 needs the VL extension in the target list: without it the compiler does not use registers 16 to 31.
#include "CKernels.h"
#include "dispatch.h"

#pragma STDC FP_CONTRACT OFF

#define INLINE static inline __attribute__((always_inline))
#define FMA(a, b, c) __builtin_elementwise_fma((PATH(vd))(a), (PATH(vd))(b), (PATH(vd))(c))

#define PATH(name) CK_JOIN(name, portable)
#define VF 4
#define VD 2
#define VECTORS 2
#define CHUNK 64
#include CK_TEMPLATE
#undef PATH
#undef VF
#undef VD
#undef VECTORS
#undef CHUNK

#if defined(__x86_64__)
#define PATH(name) CK_JOIN(name, avx2)
#define VF 8
#define VD 4
#define VECTORS 2
#define CHUNK 64
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include CK_TEMPLATE
#pragma clang attribute pop
#undef PATH
#undef VF
#undef VD
#undef VECTORS
#undef CHUNK

#define PATH(name) CK_JOIN(name, avx512)
#define VF 16
#define VD 8
#define VECTORS 4
#define CHUNK 128
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#include CK_TEMPLATE
#pragma clang attribute pop
#undef PATH
#undef VF
#undef VD
#undef VECTORS
#undef CHUNK
#elif defined(__aarch64__)
// NEON is in the baseline: what the portable path compiles to, with a tile for 32 registers.
#define PATH(name) CK_JOIN(name, neon)
#define VF 4
#define VD 2
#define VECTORS 4
#define CHUNK 64
#include CK_TEMPLATE
#undef PATH
#undef VF
#undef VD
#undef VECTORS
#undef CHUNK
#endif
