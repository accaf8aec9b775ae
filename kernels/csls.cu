/* The best partners of every row for CSLS, float32: the k largest x_i . y_j - a_i - b_j, and their mean.
   Maths and names: minixl/ops/csls.py (the tests compare with it).  No n x m matrix is in memory.

     csls_v1       one thread per row i                the plain formula: a dot product for each pair
     csls_v2       one block per 64 rows               64 x 64 tiles from slices in shared memory, 4 x 4 pairs per thread <- default
     csls_merge    one thread per row                  joins the lists of the segments; the means

   A row's list of its k best lies in global memory, in order.  It is read and written only when a product exceeds the k-th,
   about k ln(m / k) times per row; that k-th best product is in a register.  So k has no limit, and shared memory holds only
   what the product needs.  Selecting takes one thread per row, 64 comparisons per tile, against 16 H multiplications.
   The columns are cut into `segments` (grid.y) so that even few rows fill the device; each segment has its own lists.
   Columns are visited in order and only a larger product displaces another, so equal ones keep the order of their indices;
   a product that is NaN is never larger.

   launched by  kernels/csls.py
   test         pytest tests/kernels/test_csls.py
   benchmark    minixl bench kernels csls                           results: kernels/README.md                            */
#include "reduce.cuh"

#define TILE 64              // rows and columns of a tile
#define SIDE 16              // threads along each side; each computes 4 x 4 pairs
#define SLICE 16             // dimensions in shared memory at a time

// Put (score, index) into a list of k in descending order, where score > list[k - 1]; returns the new k-th score.
static __device__ __forceinline__ float insert(float* scores, long long* indices, int k, float score, long long index) {
    int place = k - 1;
    for (; place > 0 && scores[place - 1] < score; --place) {
        scores[place] = scores[place - 1];
        indices[place] = indices[place - 1];
    }
    scores[place] = score;
    indices[place] = index;
    return scores[k - 1];
}

static __device__ __forceinline__ void clear(float* scores, long long* indices, int k) {
    for (int t = 0; t < k; ++t) { scores[t] = -INFINITE; indices[t] = -1; }
}

// x: (n, H), y: (m, H), a: (n,), b: (m,).  scores, indices: (n, k).  grid x block >= n.
extern "C" __global__
void csls_v1(const float* __restrict__ x, const float* __restrict__ y, const float* __restrict__ a, const float* __restrict__ b,
             float* __restrict__ scores, long long* __restrict__ indices, int n, int m, int H, int k) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float* best = scores + (size_t)i * k;
    long long* partner = indices + (size_t)i * k;
    clear(best, partner, k);
    float worst = -INFINITE;
    for (int j = 0; j < m; ++j) {
        float product = 0.0f;
        for (int h = 0; h < H; ++h) product += x[(size_t)i * H + h] * y[(size_t)j * H + h];
        product = product - a[i] - b[j];
        if (product > worst) worst = insert(best, partner, k, product, j);
    }
}

// slice[h][r]: dimensions first..first+15 of 64 rows, transposed; zeros beyond the last row and dimension.
static __device__ __forceinline__ void load_slice(float slice[SLICE][TILE + 4], const float* x, int rows, int H, int row, int first) {
    for (int e = threadIdx.x; e < TILE * SLICE; e += SIDE * SIDE) {
        const int r = row + e / SLICE, h = first + e % SLICE;
        slice[e % SLICE][e / SLICE] = r < rows && h < H ? x[(size_t)r * H + h] : 0.0f;
    }
}

// scores, indices: (segments, n, k).  grid = (tiles of rows, segments), block = 256.
extern "C" __global__ void __launch_bounds__(256)
csls_v2(const float* __restrict__ x, const float* __restrict__ y, const float* __restrict__ a, const float* __restrict__ b,
        float* __restrict__ scores, long long* __restrict__ indices, int n, int m, int H, int k) {
    __shared__ float rows[SLICE][TILE + 4], columns[SLICE][TILE + 4];
    __shared__ float tile_scores[TILE][TILE + 1];                      // the odd row length avoids bank conflicts
    const int row = blockIdx.x * TILE, own = row + threadIdx.x;        // a thread below TILE selects for its own row
    const int i = threadIdx.x / SIDE * 4, j = threadIdx.x % SIDE * 4;
    const bool selects = threadIdx.x < TILE && own < n;
    float* best = scores + ((size_t)blockIdx.y * n + own) * k;
    long long* partner = indices + ((size_t)blockIdx.y * n + own) * k;
    if (selects) clear(best, partner, k);
    float worst = -INFINITE;
    const int tiles = (m + TILE - 1) / TILE, last = (int)((long long)tiles * (blockIdx.y + 1) / gridDim.y);
    for (int tile = (int)((long long)tiles * blockIdx.y / gridDim.y); tile < last; ++tile) {
        const int column = tile * TILE;
        float product[4][4] = {};
        for (int first = 0; first == 0 || first < H; first += SLICE) {     // at least one pair of barriers
            load_slice(rows, x, n, H, row, first);
            load_slice(columns, y, m, H, column, first);
            __syncthreads();                                           // both slices are loaded
#pragma unroll
            for (int h = 0; h < SLICE; ++h)
#pragma unroll
                for (int r = 0; r < 4; ++r)
#pragma unroll
                    for (int c = 0; c < 4; ++c) product[r][c] += rows[h][i + r] * columns[h][j + c];
            __syncthreads();                                           // before the slices are loaded again
        }
        for (int r = 0; r < 4; ++r)
            for (int c = 0; c < 4; ++c) {
                const bool inside = row + i + r < n && column + j + c < m;
                tile_scores[i + r][j + c] = inside ? product[r][c] - a[row + i + r] - b[column + j + c] : -INFINITE;
            }
        __syncthreads();                                               // the tile is complete
        for (int c = 0; selects && c < TILE; ++c) {
            const float score = tile_scores[threadIdx.x][c];
            if (score > worst) worst = insert(best, partner, k, score, column + c);
        }
    }                                                                  // the slices' barriers precede the next write of the tile
}

// from: (segments, n, k).  scores, indices: (n, k), means: (n,) of the first `counted` scores.  grid x block >= n.
extern "C" __global__
void csls_merge(const float* __restrict__ from, const long long* __restrict__ from_indices, float* __restrict__ scores,
                long long* __restrict__ indices, float* __restrict__ means, int n, int k, int segments, int counted) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float* best = scores + (size_t)i * k;
    long long* partner = indices + (size_t)i * k;
    clear(best, partner, k);
    float worst = -INFINITE;
    for (int s = 0; s < segments; ++s) {
        const size_t list = ((size_t)s * n + i) * k;
        for (int t = 0; t < k && from[list + t] > worst; ++t) worst = insert(best, partner, k, from[list + t], from_indices[list + t]);
    }
    float sum = 0.0f;
    for (int t = 0; t < counted; ++t) sum += best[t];
    means[i] = sum / counted;
}
