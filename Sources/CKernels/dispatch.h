// Picks the function of the CPU path in use, from the versions that paths.h has compiled.
#ifndef CK_DISPATCH_H
#define CK_DISPATCH_H

#define CK_JOIN_(name, path) name##_##path
#define CK_JOIN(name, path) CK_JOIN_(name, path)

#if defined(__x86_64__)
#define CK_DISPATCH(name)                                                                                              \
    (ck_path_current() == CK_AVX512 ? CK_JOIN(name, avx512)                                                            \
                                    : (ck_path_current() == CK_AVX2 ? CK_JOIN(name, avx2) : CK_JOIN(name, portable)))
#elif defined(__aarch64__)
#define CK_DISPATCH(name) (ck_path_current() == CK_NEON ? CK_JOIN(name, neon) : CK_JOIN(name, portable))
#else
#define CK_DISPATCH(name) CK_JOIN(name, portable)
#endif

#endif
