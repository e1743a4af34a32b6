/* Vectors of float32 as wide as the processor's, and products of small matrices that stay in its registers.

   The vectors are those of GCC and Clang (https://gcc.gnu.org/onlinedocs/gcc/Vector-Extensions.html), so that no
   processor's instructions are named here; on a narrower one the compiler takes two for each. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#define HEIGHT 12
#else
#define LANES 8
#define HEIGHT 6
#endif
#define ACROSS (12 / HEIGHT)   /* vectors side by side; HEIGHT * ACROSS sums stay in registers while products add up */
#define PANEL (ACROSS * LANES) /* numbers side by side in a product */

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE ivec load_ints(const int32_t *p) { return *(const ivec *)p; }
INLINE void store(float *p, vec x) { *(vec *)p = x; }
INLINE vec all(float x) { return x - (vec){}; }
INLINE vec where(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }
static int smaller(int a, int b) { return a < b ? a : b; }
static int larger(int a, int b) { return a > b ? a : b; }

/* Halves onto each other until one number is left; loops that the compiler sees the end of. */
#define FOLD(x, TWO)                                                                                                 \
    for (int i = 0; i < LANES / 2; i++) TWO(x[i], x[i + LANES / 2])                                                  \
    for (int i = 0; i < LANES / 4; i++) TWO(x[i], x[i + LANES / 4])                                                  \
    for (int i = 0; i < LANES / 8; i++) TWO(x[i], x[i + LANES / 8])                                                  \
    if (LANES == 16) TWO(x[0], x[1])
#define ADD(a, b) a += b;
#define LARGER(a, b) a = a > b ? a : b;

INLINE float sum_of(vec x) {
    FOLD(x, ADD)
    return x[0];
}

INLINE float largest_of(vec x) {
    FOLD(x, LARGER)
    return x[0];
}

/* 2^x to 2e-7 for x <= 1, 0 from -126 down, NaN of NaN. The polynomial is that of Cephes' exp2f (Moshier). */
INLINE vec power_of_two(vec x) {
    const vec round = all(12582912.0f); /* 1.5 * 2^23: what it is added to and taken from again is whole */
    ivec none = x <= all(-126.0f);
    vec whole = (x + round) - round, f = x - whole;
    vec p = all(1.535336188319500e-4f);
    p = p * f + all(1.339887440266574e-3f);
    p = p * f + all(9.618437357674640e-3f);
    p = p * f + all(5.550332471162809e-2f);
    p = p * f + all(2.402264791363012e-1f);
    p = p * f + all(6.931472028550421e-1f);
    p = p * f + all(1.0f);
    return (vec)(((ivec)p + (__builtin_convertvector(whole, ivec) << 23)) & ~none);
}

/* c [height, PANEL] (+)= a [height, depth] . b [depth, PANEL], where a[i, k] = a[i * ai + k * ak]. */
INLINE void block(int height, int depth, const float *a, long ai, long ak, const float *b, long ldb, float *c, long ldc,
                  int onto) {
    vec sum[HEIGHT][ACROSS];
    for (int i = 0; i < height; i++)
        for (int n = 0; n < ACROSS; n++) sum[i][n] = all(0);
    for (int k = 0; k < depth; k++) {
        vec across[ACROSS];
        for (int n = 0; n < ACROSS; n++) across[n] = load(b + k * ldb + n * LANES);
        for (int i = 0; i < height; i++)
            for (int n = 0; n < ACROSS; n++) sum[i][n] += all(a[i * ai + k * ak]) * across[n];
    }
    for (int i = 0; i < height; i++)
        for (int n = 0; n < ACROSS; n++) {
            float *to = c + i * ldc + n * LANES;
            vec before = all(0);
            if (onto) before = load(to); /* at the end: less is rounded away */
            store(to, before + sum[i][n]);
        }
}

/* The same for any number of rows and panels; each panel of b lies `panel` floats behind the one before. The height
   must be known when this is compiled, or the sums would not stay in registers. */
#define PRODUCT(NAME, AI, AK, ONTO)                                                                                  \
    static void NAME(int rows, int depth, int columns, const float *a, long lda, const float *b, long ldb, long panel, \
                     float *c, long ldc) {                                                                           \
        for (int j = 0; j < columns; j += PANEL, b += panel, c += PANEL)                                             \
            for (int i = 0, height; i < rows; i += height) {                                                         \
                const float *from = a + i * (AI);                                                                    \
                float *to = c + i * ldc;                                                                             \
                int left = rows - i;                                                                                 \
                height = left >= HEIGHT ? HEIGHT : left >= 4 ? 4 : left >= 2 ? 2 : 1;                                \
                switch (height) {                                                                                    \
                case 1: block(1, depth, from, AI, AK, b, ldb, to, ldc, ONTO); break;                                 \
                case 2: block(2, depth, from, AI, AK, b, ldb, to, ldc, ONTO); break;                                 \
                case 4: block(4, depth, from, AI, AK, b, ldb, to, ldc, ONTO); break;                                 \
                default: block(HEIGHT, depth, from, AI, AK, b, ldb, to, ldc, ONTO);                                  \
                }                                                                                                    \
            }                                                                                                        \
    }
PRODUCT(product, lda, 1, 0)            /* c = a . b */
PRODUCT(add_product, lda, 1, 1)        /* c += a . b */
PRODUCT(add_product_turned, 1, lda, 1) /* c += aT . b */
