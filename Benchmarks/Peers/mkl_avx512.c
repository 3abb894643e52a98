// Intel's MKL takes its AVX2 path on CPUs of other makers, whatever instructions they have. Preloaded into a process,
// this answers its question and lets it look at the instructions: the peer at its best.
int mkl_serv_intel_cpu_true(void) { return 1; }
