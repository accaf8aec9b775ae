/* Average linkage (energy distance), float32, forward and backward in one pass over the pairs.
   Maths and names: minixl/ops/average_linkage.py (the tests compare with it).  z is x with y below it,
   N = n + m rows, weight w = 1/n for a row of x and -1/m for a row of y.  No N x N matrix is in memory.

     average_linkage_v1      one block per row i           the plain formula: a block reduction for each pair
     average_linkage_v2      one block per 64 rows         64 x 64 tiles in shared memory, 4 x 4 pairs per thread <- default
     average_linkage_grad    one thread per element        adds the segments in order: dx, dy
     average_linkage_value   one block                     adds the blocks' sums in order: the value

   Each block owns its rows and loops over all the others, so there are no atomics and the result is always the same.
   That computes each distance twice, (i, j) and (j, i); sharing them would need atomics or a second N x N pass.
   Distances and gradients come from differences z_i - z_j, not from |z_i|² + |z_j|² - 2 z_i z_j: one more instruction per
   pair and dimension, but no cancellation for points that coincide.
   The columns are cut into `segments` (grid.y) so that even few rows fill the device; each segment has its own pull.

   launched by  kernels/average_linkage.py
   test         pytest tests/kernels/test_average_linkage.py
   benchmark    minixl bench kernels average_linkage                results: kernels/README.md                            */
#include "reduce.cuh"

#define TILE 64              // rows and columns of a tile; also the width of a slice of H in the second half
#define SIDE 16              // threads along each side; each computes 4 x 4 pairs
#define SLICE 16             // dimensions of z in shared memory at a time, first half
#define LOWEST 1e-6f
#define HIGHEST 1e6f

static __device__ __forceinline__ const float* row_of(const float* x, const float* y, int n, int H, int i) {
    return i < n ? x + (size_t)i * H : y + (size_t)(i - n) * H;
}

// The distance of a clipped square.  NaN stays NaN, although fminf and fmaxf would replace it by a number.
static __device__ __forceinline__ float distance_of(float square) {
    return square != square ? square : sqrtf(fminf(fmaxf(square, LOWEST), HIGHEST));
}

static __device__ __forceinline__ float weight_of(int n, int m, int i) { return i < n ? 1.0f / n : -1.0f / m; }

// x: (n, H), y: (m, H).  pull: (N, H), row i: sum_j w_j (z_i - z_j) / d_ij.  sums: (N,).  grid = N, block = 32..1024.
extern "C" __global__
void average_linkage_v1(const float* __restrict__ x, const float* __restrict__ y, float* __restrict__ pull,
                        double* __restrict__ sums, int n, int m, int H) {
    const int i = blockIdx.x;
    const float* a = row_of(x, y, n, H, i);
    float* g = pull + (size_t)i * H;
    for (int h = threadIdx.x; h < H; h += blockDim.x) g[h] = 0.0f;
    double total = 0.0;
    for (int j = 0; j < n + m; ++j) {
        const float* b = row_of(x, y, n, H, j);
        float square = 0.0f;
        for (int h = threadIdx.x; h < H; h += blockDim.x) { const float c = a[h] - b[h]; square += c * c; }
        square = block_sum(square);
        const float distance = distance_of(square);
        total += weight_of(n, m, j) * distance;
        if (square < LOWEST || square > HIGHEST) continue;             // clipped: no gradient (same in every thread)
        const float scale = weight_of(n, m, j) / distance;
        for (int h = threadIdx.x; h < H; h += blockDim.x) g[h] += scale * (a[h] - b[h]);
    }
    if (threadIdx.x == 0) sums[i] = weight_of(n, m, i) * total;
}

// slice[h][r]: dimensions first..first+15 of 64 rows, transposed; zeros beyond the last row and dimension.
static __device__ __forceinline__ void load_slice(float slice[SLICE][TILE + 4], const float* x, const float* y,
                                                  int n, int m, int H, int row, int first) {
    for (int e = threadIdx.x; e < TILE * SLICE; e += SIDE * SIDE) {
        const int r = row + e / SLICE, h = first + e % SLICE;
        slice[e % SLICE][e / SLICE] = r < n + m && h < H ? row_of(x, y, n, H, r)[h] : 0.0f;
    }
}

// square[r][c]: squared distances of rows i + r and j + c.  4 + 4 reads of shared memory for 16 pairs.
static __device__ __forceinline__ void squared_distances(float square[4][4], const float* x, const float* y,
                                                         int n, int m, int H, int row, int column) {
    __shared__ float rows[SLICE][TILE + 4], columns[SLICE][TILE + 4];
    const int i = threadIdx.x / SIDE * 4, j = threadIdx.x % SIDE * 4;
    for (int r = 0; r < 4; ++r) for (int c = 0; c < 4; ++c) square[r][c] = 0.0f;
    for (int first = 0; first < H; first += SLICE) {
        load_slice(rows, x, y, n, m, H, row, first);
        load_slice(columns, x, y, n, m, H, column, first);
        __syncthreads();                                               // both slices are loaded
#pragma unroll
        for (int h = 0; h < SLICE; ++h) {
            float a[4], b[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) { a[k] = rows[h][i + k]; b[k] = columns[h][j + k]; }
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) { const float d = a[r] - b[c]; square[r][c] += d * d; }
        }
        __syncthreads();                                               // before the slices are loaded again
    }
}

// pull row i += sum_j inverse[i][j] (z_i - z_j), 64 dimensions at a time.  No other thread writes to a thread's 4 x 4 elements.
static __device__ __forceinline__ void add_pull(const float inverse[TILE][TILE + 1], const float* x, const float* y,
                                                float* pull, int n, int m, int H, int row, int column) {
    __shared__ float points[TILE][TILE];
    const int i = threadIdx.x / SIDE * 4, lane = threadIdx.x % SIDE;   // columns lane, lane + 16, ...: neighbours coalesce
    for (int first = 0; first < H; first += TILE) {
        for (int e = threadIdx.x; e < TILE * TILE; e += SIDE * SIDE) {
            const int j = column + e / TILE, h = first + e % TILE;
            points[e / TILE][e % TILE] = j < n + m && h < H ? row_of(x, y, n, H, j)[h] : 0.0f;
        }
        __syncthreads();                                               // points and inverse are complete
        float own[4][4], sum[4][4];
        for (int r = 0; r < 4; ++r)
            for (int c = 0; c < 4; ++c) {
                const int h = first + lane + SIDE * c;
                const bool inside = row + i + r < n + m && h < H;
                own[r][c] = inside ? row_of(x, y, n, H, row + i + r)[h] : 0.0f;
                sum[r][c] = inside ? pull[(size_t)(row + i + r) * H + h] : 0.0f;
            }
        for (int j = 0; j < TILE; ++j) {
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[r][c] += inverse[i + r][j] * (own[r][c] - points[j][lane + SIDE * c]);
        }
        for (int r = 0; r < 4; ++r)
            for (int c = 0; c < 4; ++c) {
                const int h = first + lane + SIDE * c;
                if (row + i + r < n + m && h < H) pull[(size_t)(row + i + r) * H + h] = sum[r][c];
            }
        __syncthreads();                                               // before points is loaded again
    }
}

// x: (n, H), y: (m, H).  pull: (segments, N, H), zeros.  sums: (segments, tiles).  grid = (tiles, segments), block = 256.
extern "C" __global__ void __launch_bounds__(256)
average_linkage_v2(const float* __restrict__ x, const float* __restrict__ y, float* __restrict__ pull,
                   double* __restrict__ sums, int n, int m, int H) {
    __shared__ float inverse[TILE][TILE + 1];                          // w_j / d_ij; the odd row length avoids bank conflicts
    const int row = blockIdx.x * TILE, tiles = gridDim.x, segment = blockIdx.y;
    const int i = threadIdx.x / SIDE * 4, j = threadIdx.x % SIDE * 4;
    const int last = (int)((long long)tiles * (segment + 1) / gridDim.y);
    double total = 0.0;
    for (int tile = (int)((long long)tiles * segment / gridDim.y); tile < last; ++tile) {
        const int column = tile * TILE;
        float square[4][4], part = 0.0f;
        squared_distances(square, x, y, n, m, H, row, column);
        for (int r = 0; r < 4; ++r)
            for (int c = 0; c < 4; ++c) {
                const bool inside = row + i + r < n + m && column + j + c < n + m;
                const float s = square[r][c], distance = distance_of(s);
                const float weight = inside ? weight_of(n, m, column + j + c) : 0.0f;
                part += (inside ? weight_of(n, m, row + i + r) : 0.0f) * weight * distance;
                inverse[i + r][j + c] = s < LOWEST || s > HIGHEST ? 0.0f : weight / distance;
            }
        total += part;
        add_pull(inverse, x, y, pull + (size_t)segment * (n + m) * H, n, m, H, row, column);
    }
    total = block_sum_double(total);
    if (threadIdx.x == 0) sums[(size_t)segment * tiles + blockIdx.x] = total;
}

// pull: (segments, N, H).  dx: (n, H), dy: (m, H).  grid x block >= N * H.
extern "C" __global__
void average_linkage_grad(const float* __restrict__ pull, float* __restrict__ dx, float* __restrict__ dy,
                          int n, int m, int H, int segments) {
    const size_t e = (size_t)blockIdx.x * blockDim.x + threadIdx.x, own = (size_t)n * H, all = own + (size_t)m * H;
    if (e >= all) return;
    float sum = 0.0f;
    for (int s = 0; s < segments; ++s) sum += pull[s * all + e];
    if (e < own) dx[e] = -2.0f / n * sum; else dy[e - own] = 2.0f / m * sum;
}

// sums: (count,).  value: (1,).  grid = 1, block = 32..1024.
extern "C" __global__
void average_linkage_value(const double* __restrict__ sums, float* __restrict__ value, int count) {
    double total = 0.0;
    for (int e = threadIdx.x; e < count; e += blockDim.x) total += sums[e];
    total = block_sum_double(total);
    if (threadIdx.x == 0) value[0] = (float)-total;
}
