/* Attention within each sentence of a packed batch, float32.  Maths and names: minixl/ops/attention.py.

     attention_forward          block: 32 queries of one head    loops over the keys, 32 at a time
     attention_backward_query   block: 32 queries of one head    dquery, and delta = Σ probs · dprobs for the next kernel
     attention_backward_key     block: 32 keys of one head       dkey and dvalue

   No length x length matrix is in memory: the forward pass computes an online softmax (Milakov & Gimelshein 2018,
   arXiv:1805.02867), and the backward pass computes the probabilities again from log_sum (Dao et al. 2022,
   arXiv:2205.14135).  No two blocks add to the same sum, so there are no atomics and the result is always the same.
   visible: a query sees all keys of its sentence, those up to itself, or those from itself on; tiles that it does not see
   are skipped.
   A warp owns 4 rows of the tile, a lane one row of the other side for the scores and one or two dimensions for the sums.
   Dropout on the probabilities comes from `mask` (the op's layout) or from a hash of the seed and the element's position in
   that mask, which the backward pass computes again: dropout.cuh.

   launched by  kernels/attention.py
   test         pytest tests/kernels/test_attention.py
   benchmark    minixl bench kernels attention                results: kernels/README.md                                  */
#include "dropout.cuh"
#include "reduce.cuh"

#define ROWS 32              // queries and keys of a tile
#define MAX_HEAD 64          // dimensions of a head; larger heads use the op's formula
#define OWN 4                // rows of the tile that a warp owns; 8 warps

struct Sentence { long long first; int length; size_t scores; };       // first row, rows, offset of its scores in the mask

// tile[r][d] = factor * rows first + r of one head, zeros beyond the sentence.
static __device__ __forceinline__ void load_tile(float tile[ROWS][MAX_HEAD + 1], const float* x, Sentence s, int first,
                                                 int head, int heads, int D, float factor) {
    for (int e = threadIdx.x; e < ROWS * D; e += blockDim.x) {
        const int r = e / D, d = e % D;
        tile[r][d] = first + r < s.length ? factor * x[((size_t)(s.first + first + r) * heads + head) * D + d] : 0.0f;
    }
}

// Does query i see key j?  visible: 0 all words, 1 those up to itself, 2 those from itself on.
static __device__ __forceinline__ bool sees(int i, int j, int visible, Sentence s) {
    return i < s.length && j < s.length && (visible == 0 || (visible == 1 ? j <= i : j >= i));
}

// Does no row of a tile of queries see a key of the tile?  Such a tile is skipped.
static __device__ __forceinline__ bool apart(int queries, int keys, int visible) {
    return (visible == 1 && keys > queries) || (visible == 2 && keys < queries);
}

static __device__ __forceinline__ float dot(const float* a, const float* b, int D) {
    float sum = 0.0f;
    for (int d = 0; d < D; ++d) sum += a[d] * b[d];
    return sum;
}

static __device__ __forceinline__ Sentence sentence_of(const long long* tiles) {
    const long long* tile = tiles + 4 * (size_t)blockIdx.x;
    return {tile[0], (int)tile[1], (size_t)tile[2]};
}

// query, key, value, context: (T, A, D).  log_sum: (T, A).  tiles: (n, 4) first row of the sentence, its length, the offset
// of its scores in the mask, first row of the tile within the sentence.  mask: (S,) or (1,).  seed: (1,).
// visible: see sees.  grid = (n, heads), block = 256.  dropped: how many of 65536 random values drop; keep_scale = 1 / (1 - p).
extern "C" __global__ void __launch_bounds__(256)
attention_forward(const float* __restrict__ query, const float* __restrict__ key, const float* __restrict__ value,
                  const long long* __restrict__ tiles, const bool* __restrict__ mask, const long long* __restrict__ seed,
                  float* __restrict__ context, float* __restrict__ log_sum, int heads, int D, int visible, float scale,
                  int use_mask, int dropped, float keep_scale) {
    __shared__ float q[ROWS][MAX_HEAD + 1], k[ROWS][MAX_HEAD + 1], v[ROWS][MAX_HEAD + 1], weights[ROWS][ROWS];
    const Sentence s = sentence_of(tiles);
    const int begin = (int)tiles[4 * (size_t)blockIdx.x + 3], head = blockIdx.y;
    const int lane = threadIdx.x % 32, own = threadIdx.x / 32 * OWN;
    float most[OWN], total[OWN], sum[OWN][2];
#pragma unroll
    for (int r = 0; r < OWN; ++r) { most[r] = -INFINITE; total[r] = sum[r][0] = sum[r][1] = 0.0f; }
    load_tile(q, query, s, begin, head, heads, D, scale);
    for (int first = 0; first < s.length; first += ROWS) {
        if (apart(begin, first, visible)) continue;
        load_tile(k, key, s, first, head, heads, D, 1.0f);
        load_tile(v, value, s, first, head, heads, D, 1.0f);
        __syncthreads();                                               // the tiles are loaded
#pragma unroll
        for (int r = 0; r < OWN; ++r) {
            const int i = begin + own + r, j = first + lane;
            const bool seen = sees(i, j, visible, s);
            const float score = seen ? dot(q[own + r], k[lane], D) : -INFINITE;
            const float now = fmaxf(most[r], warp_max(score));         // finite: in its first tile, a query sees a key
            const float shrink = expf(most[r] - now), p = expf(score - now);
            total[r] = total[r] * shrink + warp_sum(p);
            most[r] = now;
            const size_t place = s.scores + ((size_t)head * s.length + i) * s.length + j;
            weights[own + r][lane] = seen && keep(mask, seed, use_mask, dropped, place) ? p * keep_scale : 0.0f;
            __syncwarp();                                              // the row of weights is complete
#pragma unroll
            for (int c = 0; c < 2; ++c) {
                const int d = lane + 32 * c;
                sum[r][c] *= shrink;
                for (int e = 0; e < ROWS && d < D; ++e) sum[r][c] += weights[own + r][e] * v[e][d];
            }
        }
        __syncthreads();                                               // before the tiles are loaded again
    }
#pragma unroll
    for (int r = 0; r < OWN; ++r) {
        const int i = begin + own + r;
        if (i >= s.length) continue;
        const size_t row = (size_t)(s.first + i) * heads + head;
#pragma unroll
        for (int c = 0, d = lane; c < 2; ++c, d += 32) if (d < D) context[row * D + d] = sum[r][c] / total[r];
        if (lane == 0) log_sum[row] = most[r] + logf(total[r]);
    }
}

// dcontext, dquery: (T, A, D).  delta: (T, A), an output.  The rest as above.  grid = (n, heads), block = 256.
extern "C" __global__ void __launch_bounds__(256)
attention_backward_query(const float* __restrict__ query, const float* __restrict__ key, const float* __restrict__ value,
                         const float* __restrict__ context, const float* __restrict__ log_sum,
                         const float* __restrict__ dcontext, const long long* __restrict__ tiles,
                         const bool* __restrict__ mask, const long long* __restrict__ seed, float* __restrict__ dquery,
                         float* __restrict__ delta, int heads, int D, int visible, float scale, int use_mask, int dropped,
                         float keep_scale) {
    __shared__ float q[ROWS][MAX_HEAD + 1], dc[ROWS][MAX_HEAD + 1], k[ROWS][MAX_HEAD + 1], v[ROWS][MAX_HEAD + 1];
    __shared__ float weights[ROWS][ROWS];
    const Sentence s = sentence_of(tiles);
    const int begin = (int)tiles[4 * (size_t)blockIdx.x + 3], head = blockIdx.y;
    const int lane = threadIdx.x % 32, own = threadIdx.x / 32 * OWN;
    float row_delta[OWN], sum[OWN][2];
    load_tile(q, query, s, begin, head, heads, D, scale);
    load_tile(dc, dcontext, s, begin, head, heads, D, 1.0f);
#pragma unroll
    for (int r = 0; r < OWN; ++r) {                                    // Σ probs · dprobs = dcontext · context, row by row
        const int i = begin + own + r;
        const size_t row = (size_t)(s.first + i) * heads + head;
        float part = 0.0f;
        for (int d = lane; d < D && i < s.length; d += 32) part += dcontext[row * D + d] * context[row * D + d];
        row_delta[r] = warp_sum(part);
        if (lane == 0 && i < s.length) delta[row] = row_delta[r];
        sum[r][0] = sum[r][1] = 0.0f;
    }
    for (int first = 0; first < s.length; first += ROWS) {
        if (apart(begin, first, visible)) continue;
        load_tile(k, key, s, first, head, heads, D, 1.0f);
        load_tile(v, value, s, first, head, heads, D, 1.0f);
        __syncthreads();                                               // the tiles are loaded
#pragma unroll
        for (int r = 0; r < OWN; ++r) {
            const int i = begin + own + r, j = first + lane;
            float dscore = 0.0f;
            if (sees(i, j, visible, s)) {
                const float p = expf(dot(q[own + r], k[lane], D) - log_sum[(size_t)(s.first + i) * heads + head]);
                const size_t place = s.scores + ((size_t)head * s.length + i) * s.length + j;
                const bool kept = keep(mask, seed, use_mask, dropped, place);
                dscore = p * ((kept ? keep_scale * dot(dc[own + r], v[lane], D) : 0.0f) - row_delta[r]);
            }
            weights[own + r][lane] = dscore;
            __syncwarp();                                              // the row of weights is complete
#pragma unroll
            for (int c = 0; c < 2; ++c)
                for (int e = 0, d = lane + 32 * c; e < ROWS && d < D; ++e) sum[r][c] += weights[own + r][e] * k[e][d];
        }
        __syncthreads();                                               // before the tiles are loaded again
    }
#pragma unroll
    for (int r = 0; r < OWN; ++r) {
        const int i = begin + own + r;
#pragma unroll
        for (int c = 0, d = lane; c < 2; ++c, d += 32)
            if (d < D && i < s.length) dquery[((size_t)(s.first + i) * heads + head) * D + d] = scale * sum[r][c];
    }
}

// dkey, dvalue: (T, A, D).  The rest as above; a warp owns keys, a lane one query.  grid = (n, heads), block = 256.
extern "C" __global__ void __launch_bounds__(256)
attention_backward_key(const float* __restrict__ query, const float* __restrict__ key, const float* __restrict__ value,
                       const float* __restrict__ log_sum, const float* __restrict__ delta,
                       const float* __restrict__ dcontext, const long long* __restrict__ tiles,
                       const bool* __restrict__ mask, const long long* __restrict__ seed, float* __restrict__ dkey,
                       float* __restrict__ dvalue, int heads, int D, int visible, float scale, int use_mask, int dropped,
                       float keep_scale) {
    __shared__ float q[ROWS][MAX_HEAD + 1], dc[ROWS][MAX_HEAD + 1], k[ROWS][MAX_HEAD + 1], v[ROWS][MAX_HEAD + 1];
    __shared__ float dscores[ROWS][ROWS], probs[ROWS][ROWS];
    const Sentence s = sentence_of(tiles);
    const int begin = (int)tiles[4 * (size_t)blockIdx.x + 3], head = blockIdx.y;
    const int lane = threadIdx.x % 32, own = threadIdx.x / 32 * OWN;
    float dk[OWN][2], dv[OWN][2];
#pragma unroll
    for (int r = 0; r < OWN; ++r) dk[r][0] = dk[r][1] = dv[r][0] = dv[r][1] = 0.0f;
    load_tile(k, key, s, begin, head, heads, D, 1.0f);
    load_tile(v, value, s, begin, head, heads, D, 1.0f);
    for (int first = 0; first < s.length; first += ROWS) {
        if (apart(first, begin, visible)) continue;
        load_tile(q, query, s, first, head, heads, D, scale);
        load_tile(dc, dcontext, s, first, head, heads, D, 1.0f);
        __syncthreads();                                               // the tiles are loaded
#pragma unroll
        for (int r = 0; r < OWN; ++r) {
            const int i = first + lane, j = begin + own + r;
            float dscore = 0.0f, dropped_prob = 0.0f;
            if (sees(i, j, visible, s)) {
                const size_t row = (size_t)(s.first + i) * heads + head;
                const float p = expf(dot(q[lane], k[own + r], D) - log_sum[row]);
                const size_t place = s.scores + ((size_t)head * s.length + i) * s.length + j;
                const float kept = keep(mask, seed, use_mask, dropped, place) ? keep_scale : 0.0f;
                dropped_prob = kept * p;
                dscore = p * (kept * dot(dc[lane], v[own + r], D) - delta[row]);
            }
            dscores[own + r][lane] = dscore;
            probs[own + r][lane] = dropped_prob;
            __syncwarp();                                              // both rows are complete
#pragma unroll
            for (int c = 0; c < 2; ++c)
                for (int e = 0, d = lane + 32 * c; e < ROWS && d < D; ++e) {
                    dk[r][c] += dscores[own + r][e] * q[e][d];
                    dv[r][c] += probs[own + r][e] * dc[e][d];
                }
        }
        __syncthreads();                                               // before the tiles are loaded again
    }
#pragma unroll
    for (int r = 0; r < OWN; ++r) {
        const int j = begin + own + r;
#pragma unroll
        for (int c = 0, d = lane; c < 2; ++c, d += 32)
            if (d < D && j < s.length) {
                dkey[((size_t)(s.first + j) * heads + head) * D + d] = dk[r][c];
                dvalue[((size_t)(s.first + j) * heads + head) * D + d] = dv[r][c];
            }
    }
}
