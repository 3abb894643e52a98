// CKernels: the hot loops of Cairn in C.
//
// Why C: Swift has no per-function CPU target, so fused multiply-add loops at the baseline target become library calls.
// Each kernel is written once (`*.inc`) over vector types and compiled for several CPU paths; the path is chosen at run
// time. All paths give the same bits: every output element is one chain of explicit fused multiply-adds in one fixed
// order, vector lanes are different elements, and contraction by the compiler is off.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

// MARK: CPU paths (cpu.c)

/// The instruction sets for which the kernels are compiled, from the slowest to the fastest.
typedef enum {
    CK_PORTABLE = 0,  // any CPU; fused multiply-add through the C library where the CPU's baseline has none
    CK_NEON = 1,      // AArch64, all of them
    CK_AVX2 = 2,      // x86-64 with AVX2 and FMA
    CK_AVX512 = 3,    // x86-64 with AVX-512 F, VL, BW, DQ
    CK_PATH_COUNT = 4
} ck_path;

/// Whether this CPU can run `path`.
int ck_path_supported(ck_path path);
/// The path in use: the fastest supported one, unless `ck_path_select` chose another.
ck_path ck_path_current(void);
/// Uses `path` from now on, in all threads. Returns 0, or -1 if this CPU cannot run it (then nothing changes).
int ck_path_select(ck_path path);
/// `portable`, `neon`, `avx2` or `avx512`.
const char *ck_path_name(ck_path path);

// MARK: Memory (memory.c)

/// Zeroed memory at an address that suits the widest vectors, in huge pages if it is large and the system has some; null
/// if there is none. For `ck_free`.
void *ck_allocate(size_t bytes);
void ck_free(void *memory);
/// Has the cache line at an address brought near, if it is one.
static inline void ck_prefetch(const void *address) { __builtin_prefetch(address); }

// MARK: Dense layers (layers.inc)
//
// Matrices are row-major. `ld…` is the distance between rows in elements. Widths are padded to multiples of CK_LANES;
// the padding of weights and biases is zero, so that padded activations are zero as well.
//
// Packed weights come in panels of CK_PANEL columns (the last may be narrower, a multiple of CK_LANES). Panel p holds,
// for each k, its columns side by side: element (k, n) of a K × N matrix is at
//     panel(n / CK_PANEL) + k * width(panel) + n % CK_PANEL,   panel p starting at p * CK_PANEL * K.

// Products go by CK_ROWS rows of the result at a time.

enum { CK_LANES = 16, CK_PANEL = 64, CK_ROWS = 6 };

/// What happens to an element after its sum.
typedef enum { CK_IDENTITY = 0, CK_RELU = 1, CK_GATE = 2 } ck_epilogue;

//
// Sums leave out terms whose factor from the activations (a, d) is zero, where that holds for some neighbours too: half
// to three quarters of a fitted network's are, behind ReLU. With weights and activations that are finite this changes
// nothing but the sign of a zero, and no sum is ever stored as -0.

/// c[r, n] = epilogue(start[n] + sum over k < depth of a[r, k] b[k, n]) for r < rows and n < columns (a multiple of
/// CK_LANES), b packed, k in ascending order. `start` may be null (zero). CK_RELU: negative becomes zero, NaN stays.
/// CK_GATE: the element becomes zero unless gate[r, n] > 0.
void ck_matmul(const float *a, size_t lda, size_t rows, size_t depth, const float *b, size_t columns,
               const float *start, ck_epilogue epilogue, const float *gate, size_t ldgate, float *c, size_t ldc);

/// g[o, n] = sum over r < rows of d[r, o] x[r, n] for first <= o < first + outputs and n < columns (a multiple of
/// CK_LANES), r in ascending order. g is packed, o in the place of k among `all`. With `resume` the sums go on from what
/// g holds: a batch may come in several calls.
void ck_outer(const float *d, size_t ldd, const float *x, size_t ldx, size_t rows, size_t first, size_t outputs,
              size_t columns, int resume, float *g, size_t all);

/// g[n] = sum over r < rows of d[r, n] for n < columns (a multiple of CK_LANES), r in ascending order; `resume` as above.
void ck_column_sums(const float *d, size_t ldd, size_t rows, size_t columns, int resume, float *g);

/// to[i * ldto + o] = from[o * ldfrom + i] for o < outputs, i < inputs: a block of weights from one packing to the other.
void ck_transpose(const float *from, size_t ldfrom, size_t outputs, size_t inputs, float *to, size_t ldto);

// MARK: Optimisers (layers.inc)

/// One Adam step (Kingma and Ba 2015, algorithm 1) on `count` weights (a multiple of CK_LANES):
/// m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; w -= rate * m / (sqrt(v * scale) + epsilon).
/// m and v below 2^-100 become zero: what a gradient that stays zero leaves behind would else be subnormal for ever, and
/// some CPUs take a hundred times as long for such numbers. The caller folds both bias corrections into `rate` = learningRate / (1 - b1^t) and `scale` = 1 / (1 - b2^t).
void ck_adam(float *w, const float *g, float *m, float *v, size_t count, float b1, float b2, float rate, float scale,
             float epsilon);
/// One step of gradient descent with momentum: m = momentum m + g, zero below 2^-100; w -= rate * m.
void ck_momentum(float *w, const float *g, float *m, size_t count, float momentum, float rate);

// MARK: Elementary functions (math.inc, math.c)

/// e^x, e^x - 1, ln x and the normal distribution function, within 1.1, 3, 1 and 12 ulp; the same bits on every path.
double ck_exp(double x);
double ck_expm1(double x);
double ck_log(double x);
double ck_normal(double x);
/// Q(|x|) exp(x²/2), Q the upper tail of the normal distribution, within 12 ulp; |x| above 100 is taken as 100.
double ck_scaled_tail(double x);
/// The same for `count` numbers; x and y may be the same.
void ck_exp_all(const double *x, double *y, size_t count);
void ck_expm1_all(const double *x, double *y, size_t count);
void ck_log_all(const double *x, double *y, size_t count);
void ck_normal_all(const double *x, double *y, size_t count);
void ck_scaled_tail_all(const double *x, double *y, size_t count);
/// cos(pi x) for x in [0, 1], within 2 ulp of 1; NaN outside.
double ck_cospi(double x);

// MARK: Regions (spatial.inc)

/// A half-plane a x[first] + b x[second] <= bound.
typedef struct {
    size_t first, second;
    double a, b, bound;
} ck_cut;

/// How many of the points centre + scale * offset lie in the box [lower, upper] and in all half-planes. `offsets` holds
/// for each coordinate its `count` numbers (a multiple of 8).
size_t ck_count_admissible(const double *centre, double scale, const double *offsets, size_t count, size_t dimension,
                           const double *lower, const double *upper, const ck_cut *cuts, size_t cut_count);

/// squares[j] = sum over i of (columns[i * stride + j] - x[i])² for j < count, i in ascending order, without fused
/// operations: the distances of points that are stored coordinate by coordinate. Reads up to 7 numbers more per column.
void ck_squared_distances(const double *columns, size_t stride, size_t count, const double *x, size_t dimension,
                          double *squares);
/// counts[k] += how many of those squared distances are <= limits[k], for k < limit_count.
void ck_count_within(const double *columns, size_t stride, size_t count, const double *x, size_t dimension,
                     const double *limits, size_t limit_count, ptrdiff_t *counts);

// MARK: Threads (team.c)

/// A fixed set of threads that run one function together: the caller and size - 1 helpers that sleep in between.
typedef struct ck_team ck_team;
/// A team of `size` threads (at least 1), or null if a thread could not be started.
ck_team *ck_team_create(int size);
int ck_team_size(const ck_team *team);
/// Calls body(context, thread) for each thread 0 ..< size, one call on each thread, and returns when all are done.
void ck_team_run(ck_team *team, void (*body)(void *context, int thread), void *context);
/// Calls body(context, item) for each item 0 ..< items, once, and returns when all are done. Each thread begins with its
/// part of them, the same each time, and then helps the others.
void ck_team_share(ck_team *team, int items, void (*body)(void *context, int item), void *context);
void ck_team_destroy(ck_team *team);

// MARK: Pricing (pricing.inc)

/// Down-and-out puts, spot 1: `points` holds `count` rows (barrier, strike, maturity, volatility, rate). Writes the
/// values and, unless `gradient` is null, rows of five derivatives in the same order. left[i] = 1 marks a contract that
/// neither the closed form nor a short integral covers (at or near a limit, or not a number): the caller prices it.
void ck_down_and_out_put(const double *points, size_t count, double *value, double *gradient, unsigned char *left);

// MARK: Monte Carlo on several underlyings (multiasset.inc)

/// The most underlyings of a contract.
enum { CK_ASSETS = 16 };

typedef enum {
    CK_HIMALAYA = 0,
    CK_BASKET = 1,
    CK_BEST = 2,
    CK_WORST = 3,
    CK_EVEREST = 4,
    CK_ATLAS = 5,
    CK_ALTIPLANO = 6,
    CK_AUTOCALLABLE = 7
} ck_product;

/// A contract on the performances X_i of some underlyings: ln X_i at a date is drifts[date][i] + the sum over a <= i of
/// factors[i][a] W_a(date), W independent Brownian motions of variance 1 at the last date. Altiplano and autocallable are
/// priced stepwise: their dates are equally spaced, a runs over all assets, and factors[i][0] is not negative.
typedef struct {
    ck_product product;
    size_t assets, dates;
    const double *drifts;           // dates x assets
    const double *factors;          // assets x assets, lower triangle (stepwise: full)
    const double *discounts;        // of each payment date; Himalaya has one more than it has dates
    const double *weights;          // basket: weights; best, worst: logarithms of the prices today
    const double *last_drifts, *last_deviations;  // Himalaya: of the step to the last fixing
    double strike;                  // Everest: 1 + guarantee
    double sign;                    // 1 call, -1 put
    double barrier, protection;     // logarithms
    double coupon;
    int since_last, local_floor;    // Himalaya
    int drop_best, drop_worst;      // Atlas
} ck_basket;

/// One step of a Brownian bridge: W(date) = left_weight W(left) + right_weight W(right) + deviation Z; -1 for no neighbour.
typedef struct {
    long date, left, right;
    double left_weight, right_weight, deviation;
} ck_bridge_step;

/// Adds discounted payoffs of each contract to its eight sums, path i's to the one i mod 8, over blocks first … end - 1 of 64
/// paths each. The 2^log2_paths (64 at least) paths are points of a digital net: all xors of `shifts` with some of the
/// directions, coordinate d's at directions[d * log2_paths + bit]. Coordinate (k * assets + a) is factor a's normal of bridge
/// step k. All contracts have these assets and dates, and are of one product. Blocks may be added in several calls, in
/// order: the sums are the same bits. Returns -1 if there is no memory.
int ck_basket_sums(const ck_basket *contracts, size_t count, size_t assets, size_t dates, const ck_bridge_step *bridge,
                   const uint64_t *directions, const uint64_t *shifts, int log2_paths, size_t first, size_t end,
                   double *sums);
/// The normal numbers of fractions (the top 52 bits count, in the middle of their interval); `count` a multiple of 64.
void ck_normals_of(const uint64_t *points, size_t count, double *normals);

#endif
