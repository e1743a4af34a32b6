/* Softmax attention over a forest in float32, forward and backward.

   Token t sees token j exactly when j <= t < end[j], and depth[t] - depth[j] < window where there is a window.

   Queries come in tiles of few tokens, each token with all query heads that share a key/value head. Of the keys a tile
   looks only at panels that one of its tokens sees, a few panels at a time, by an online softmax (Milakov and
   Gimelshein, 2018, https://arxiv.org/abs/1805.02867). The backward makes the weights again from the log-sum-exp, as
   FlashAttention-2 does (Dao, 2023, https://arxiv.org/abs/2307.08691). Its tiles fall into parts of about equal work;
   each adds up gradients of keys and values of its own, and these are added in order at the end. So the numbers depend
   on shapes, ends and the number of parts, never on which thread was faster.

   Letters: T tokens, H query heads, G key/value heads, E head size, W the same in whole panels. q, out, grad and dq are
   [T, H, E], k, v, dk and dv [T, G, E], lse [T, H] to base 2, all without gaps. Nothing is allocated here: `scratch`
   has room for forest_scratch(...) floats. */

#include <omp.h>

#include "vectors.h"

#define ROWS 48  /* queries of a tile, all its heads counted */
#define RUN 144  /* most keys looked at together */
#define LOG2_E 1.44269504088896f

typedef struct {
    int tokens, panels, heads, groups, per, size, wide, tile, tiles, window;
    float scaling;
    int32_t *end, *depth;                                     /* [panels * PANEL], no token behind the last is seen */
    int32_t *end_least, *end_most, *depth_least, *depth_most; /* [panels] */
} Forest;

typedef struct {
    int first, count, masked; /* keys next to each other; whether one of them is hidden from one of the tile's tokens */
} Run;

static Forest forest_of(int T, int H, int G, int E, float scaling, int window) {
    Forest f = {.tokens = T, .heads = H, .groups = G, .per = H / G, .size = E, .window = window, .scaling = scaling};
    f.panels = (T + PANEL - 1) / PANEL;
    f.wide = (E + PANEL - 1) / PANEL * PANEL;
    f.tile = larger(1, ROWS / f.per);
    f.tiles = (T + f.tile - 1) / f.tile;
    return f;
}

static long ints_of(const Forest *f) { return (long)f->panels * (2 * PANEL + 4) + f->tiles + 1; }
static long head_of(const Forest *f) { return (long)f->panels * PANEL * f->wide; }
static long own_of(const Forest *f) { return (long)f->tile * f->per * (3 * f->wide + 2 * RUN + 2) + 3 * f->panels; }

/* Floats that the two functions need: for the forward `parts` is 0. */
long forest_scratch(int T, int H, int G, int E, int threads, int parts) {
    Forest f = forest_of(T, H, G, E, 1, 0);
    return ints_of(&f) + parts + 1 + (parts ? 3 + 2 * parts : 2) * G * head_of(&f) + threads * own_of(&f);
}

/* Reads ends and depths; returns where scratch is free. */
static float *look(Forest *f, const int64_t *end, const int64_t *depth, float *scratch) {
    int32_t *at = (int32_t *)scratch;
    f->end = at;
    f->depth = at + f->panels * PANEL;
    f->end_least = f->depth + f->panels * PANEL;
    f->end_most = f->end_least + f->panels;
    f->depth_least = f->end_most + f->panels;
    f->depth_most = f->depth_least + f->panels;
    for (int p = 0; p < f->panels; p++) {
        f->end_least[p] = f->depth_least[p] = INT32_MAX;
        f->end_most[p] = f->depth_most[p] = 0;
        for (int t = p * PANEL; t < (p + 1) * PANEL; t++) {
            f->end[t] = t < f->tokens ? (int32_t)end[t] : 0;
            f->depth[t] = t < f->tokens ? (int32_t)depth[t] : 0;
            f->end_least[p] = smaller(f->end_least[p], f->end[t]);
            f->end_most[p] = larger(f->end_most[p], f->end[t]);
            f->depth_least[p] = smaller(f->depth_least[p], f->depth[t]);
            f->depth_most[p] = larger(f->depth_most[p], f->depth[t]);
        }
    }
    return (float *)(f->depth_most + f->panels);
}

/* What of the keys the tokens first:last see; how many runs that are. */
static int runs_of(const Forest *f, int first, int last, Run *runs) {
    int n = 0, shallow = f->depth[first], deep = shallow;
    for (int t = first; t < last; t++) {
        shallow = smaller(shallow, f->depth[t]);
        deep = larger(deep, f->depth[t]);
    }
    for (int p = 0; p * PANEL < last; p++) {
        int key = p * PANEL, count = smaller(PANEL, f->tokens - key);
        if (f->end_most[p] <= first || (f->window && shallow - f->depth_most[p] >= f->window)) continue;
        int masked = key + PANEL - 1 > first || f->end_least[p] < last ||
                     (f->window && deep - f->depth_least[p] >= f->window);
        Run *before = runs + n - 1;
        if (n && before->first + before->count == key && before->masked == masked && before->count + PANEL <= RUN)
            before->count += count;
        else
            runs[n++] = (Run){key, count, masked};
    }
    return n;
}

/* x with `instead` where token t does not see the keys from `key` on. */
INLINE vec hide(const Forest *f, vec x, int key, int t, float instead) {
    ivec place;
    for (int i = 0; i < LANES; i++) place[i] = key + i;
    ivec seen = (load_ints(f->end + key) > t) & (place <= t);
    if (f->window) seen &= f->depth[t] - load_ints(f->depth + key) < f->window;
    return where(seen, x, all(instead));
}

/* One panel of head g's keys or values: plain [PANEL, W], turned [W, PANEL], either where wanted; zeros beyond. */
static void pack(const Forest *f, const float *x, int g, int p, float *plain, float *turned) {
    long stride = (long)f->groups * f->size;
    const float *from = x + (long)p * PANEL * stride + (long)g * f->size;
    int E = f->size, count = smaller(PANEL, f->tokens - p * PANEL);
    if (plain) memset(plain, 0, sizeof(float) * PANEL * f->wide);
    for (int j = 0; plain && j < count; j++) memcpy(plain + (long)j * f->wide, from + j * stride, sizeof(float) * E);
    for (int e = 0; turned && e < f->wide; e++)
        for (int j = 0; j < PANEL; j++) turned[e * PANEL + j] = e < E && j < count ? from[j * stride + e] : 0;
}

/* Row of [T, H, .] in which the tile from `first` on has its i-th query of head g. */
INLINE long row_of(const Forest *f, int g, int first, int i) {
    return (long)(first + i / f->per) * f->heads + g * f->per + i % f->per;
}

static void copy_tile(const Forest *f, const float *x, int g, int first, int rows, float *to) {
    if (f->wide > f->size) memset(to, 0, sizeof(float) * rows * f->wide);
    for (int i = 0; i < rows; i++)
        memcpy(to + (long)i * f->wide, x + row_of(f, g, first, i) * f->size, sizeof(float) * f->size);
}

/* Scores of token t, in their place: exp2(score - top), hidden ones 0; `top` may grow. Returns their sum. */
INLINE float soften(const Forest *f, const Run *run, int t, float *x, float *top) {
    vec most = all(-INFINITY), factor = all(f->scaling * LOG2_E), sum = all(0);
    for (int j = 0; j < run->count; j += LANES) {
        vec score = load(x + j) * factor;
        if (run->masked) score = hide(f, score, run->first + j, t, -INFINITY);
        store(x + j, score);
        most = where(score > most, score, most);
    }
    float largest = largest_of(most);
    if (largest > *top) *top = largest;
    vec less = all(*top == -INFINITY ? 0 : *top);
    for (int j = 0; j < run->count; j += LANES) {
        vec weight = power_of_two(load(x + j) - less);
        store(x + j, weight);
        sum += weight;
    }
    return sum_of(sum);
}

static void forward_tile(const Forest *f, int g, int first, const float *q, const float *turned_k, const float *plain_v,
                         float *out, float *lse, float *own) {
    int W = f->wide, rows = (smaller(first + f->tile, f->tokens) - first) * f->per;
    float *queries = own, *sums = queries + rows * W, *x = sums + rows * W, *top = x + rows * RUN, *total = top + rows;
    Run *runs = (Run *)(total + rows);
    copy_tile(f, q, g, first, rows, queries);
    memset(sums, 0, sizeof(float) * rows * W);
    for (int i = 0; i < rows; i++) top[i] = -INFINITY, total[i] = 0;
    int n = runs_of(f, first, first + rows / f->per, runs);
    for (Run *run = runs; run < runs + n; run++) {
        long key = (long)run->first * W;
        product(rows, W, run->count, queries, W, turned_k + key, PANEL, (long)PANEL * W, x, RUN);
        for (int i = 0; i < rows; i++) {
            float before = top[i], sum = soften(f, run, first + i / f->per, x + i * RUN, top + i);
            if (top[i] > before && total[i] > 0) {
                float less = exp2f(before - top[i]);
                total[i] *= less;
                for (int e = 0; e < W; e += LANES) store(sums + i * W + e, load(sums + i * W + e) * all(less));
            }
            total[i] += sum;
        }
        add_product(rows, run->count, W, x, RUN, plain_v + key, W, PANEL, sums, W);
    }
    for (int i = 0; i < rows; i++) {
        for (int e = 0; e < W; e += LANES) store(sums + i * W + e, load(sums + i * W + e) * all(1 / total[i]));
        memcpy(out + row_of(f, g, first, i) * f->size, sums + i * W, sizeof(float) * f->size);
        lse[row_of(f, g, first, i)] = top[i] + log2f(total[i]);
    }
}

void forest_forward(int T, int H, int G, int E, float scaling, int window, const int64_t *end, const int64_t *depth,
                    const float *q, const float *k, const float *v, float *out, float *lse, int threads,
                    float *scratch) {
    Forest f = forest_of(T, H, G, E, scaling, window);
    long head = head_of(&f);
    float *turned_k = look(&f, end, depth, scratch), *plain_v = turned_k + G * head, *own = plain_v + G * head;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int n = 0; n < G * f.panels; n++) {
            int g = n / f.panels, p = n % f.panels;
            pack(&f, k, g, p, 0, turned_k + (long)n * PANEL * f.wide);
            pack(&f, v, g, p, plain_v + (long)n * PANEL * f.wide, 0);
        }
#pragma omp for schedule(dynamic)
        for (int n = G * f.tiles - 1; n >= 0; n--) { /* tiles that see most come first */
            int g = n % G, first = n / G * f.tile;
            float *mine = own + omp_get_thread_num() * own_of(&f);
            forward_tile(&f, g, first, q, turned_k + g * head, plain_v + g * head, out, lse, mine);
        }
    }
}

typedef struct {
    const float *q, *out, *lse, *grad;           /* of all heads */
    const float *plain_k, *turned_k, *turned_v;  /* of one head, packed */
    float *dq;                                   /* of all heads */
    float *dk, *dv;                              /* of one head and part, [panels * PANEL, W] */
} Given;

static void backward_tile(const Forest *f, int g, int first, const Given *x, float *own) {
    int W = f->wide, rows = (smaller(first + f->tile, f->tokens) - first) * f->per;
    float *queries = own, *grads = queries + rows * W, *dq = grads + rows * W, *p = dq + rows * W, *ds = p + rows * RUN;
    float *delta = ds + rows * RUN, *lse = delta + rows;
    Run *runs = (Run *)(lse + rows);
    copy_tile(f, x->out, g, first, rows, dq);
    copy_tile(f, x->q, g, first, rows, queries);
    copy_tile(f, x->grad, g, first, rows, grads);
    for (int i = 0; i < rows; i++) {
        vec sum = all(0);
        for (int e = 0; e < W; e += LANES) sum += load(dq + i * W + e) * load(grads + i * W + e);
        delta[i] = sum_of(sum);
        lse[i] = x->lse[row_of(f, g, first, i)];
    }
    memset(dq, 0, sizeof(float) * rows * W);
    int n = runs_of(f, first, first + rows / f->per, runs);
    for (Run *run = runs; run < runs + n; run++) {
        long key = (long)run->first * W;
        product(rows, W, run->count, queries, W, x->turned_k + key, PANEL, (long)PANEL * W, p, RUN);
        product(rows, W, run->count, grads, W, x->turned_v + key, PANEL, (long)PANEL * W, ds, RUN);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < run->count; j += LANES) {
                float *of_p = p + i * RUN + j, *of_s = ds + i * RUN + j;
                vec weight = power_of_two(load(of_p) * all(f->scaling * LOG2_E) - all(lse[i]));
                if (run->masked) weight = hide(f, weight, run->first + j, first + i / f->per, 0);
                store(of_p, weight);
                store(of_s, weight * (load(of_s) - all(delta[i])) * all(f->scaling));
            }
        add_product_turned(run->count, rows, W, p, RUN, grads, W, PANEL, x->dv + key, W);
        add_product_turned(run->count, rows, W, ds, RUN, queries, W, PANEL, x->dk + key, W);
        add_product(rows, run->count, W, ds, RUN, x->plain_k + key, W, PANEL, dq, W);
    }
    for (int i = 0; i < rows; i++)
        memcpy(x->dq + row_of(f, g, first, i) * f->size, dq + i * W, sizeof(float) * f->size);
}

/* Bounds of parts of about equal work, in tiles: bound[part] to bound[part + 1]. `work` is [tiles + 1]. */
static void divide(const Forest *f, int parts, int32_t *work, int32_t *bound) {
    work[0] = 0;
    for (int i = 0; i < f->tiles; i++) {
        work[i + 1] = work[i] + 1;
        for (int p = 0; p < f->panels && p * PANEL < (i + 1) * f->tile; p++)
            work[i + 1] += f->end_most[p] > i * f->tile;
    }
    bound[0] = 0;
    for (int part = 1, i = 0; part < parts; part++) {
        while ((int64_t)work[i] * parts < (int64_t)work[f->tiles] * part) i++;
        bound[part] = i;
    }
    bound[parts] = f->tiles;
}

/* The gradients of token t's keys and values, over all parts. */
static void gather(const Forest *f, int parts, int t, const float *sums, float *dk, float *dv) {
    long head = head_of(f), row = (long)t * f->wide;
    for (int g = 0; g < f->groups; g++)
        for (int e = 0; e < f->size; e++) {
            float of_k = 0, of_v = 0;
            for (int part = 0; part < parts; part++) {
                const float *from = sums + 2 * (part * f->groups + g) * head + row + e;
                of_k += from[0];
                of_v += from[head];
            }
            dk[((long)t * f->groups + g) * f->size + e] = of_k;
            dv[((long)t * f->groups + g) * f->size + e] = of_v;
        }
}

void forest_backward(int T, int H, int G, int E, float scaling, int window, const int64_t *end, const int64_t *depth,
                     const float *q, const float *k, const float *v, const float *out, const float *lse,
                     const float *grad, float *dq, float *dk, float *dv, int threads, int parts, float *scratch) {
    Forest f = forest_of(T, H, G, E, scaling, window);
    long head = head_of(&f);
    int32_t *work = (int32_t *)look(&f, end, depth, scratch), *bound = work + f.tiles + 1;
    float *plain_k = (float *)(bound + parts + 1), *turned_k = plain_k + G * head, *turned_v = turned_k + G * head;
    float *sums = turned_v + G * head, *own = sums + 2 * parts * G * head; /* sums [parts, G, 2, panels * PANEL, W] */
    divide(&f, parts, work, bound);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int n = 0; n < G * f.panels; n++) {
            int g = n / f.panels, p = n % f.panels;
            long at = (long)n * PANEL * f.wide;
            pack(&f, k, g, p, plain_k + at, turned_k + at);
            pack(&f, v, g, p, 0, turned_v + at);
        }
#pragma omp for schedule(dynamic)
        for (int n = parts * G - 1; n >= 0; n--) {
            int g = n % G, part = n / G;
            float *of_k = sums + 2 * n * head, *of_v = of_k + head, *mine = own + omp_get_thread_num() * own_of(&f);
            Given x = {q, out, lse, grad, plain_k + g * head, turned_k + g * head, turned_v + g * head, dq, of_k, of_v};
            memset(of_k, 0, sizeof(float) * 2 * head);
            for (int i = bound[part]; i < bound[part + 1]; i++) backward_tile(&f, g, i * f.tile, &x, mine);
        }
#pragma omp for schedule(static)
        for (int t = 0; t < T; t++) gather(&f, parts, t, sums, dk, dv);
    }
}
