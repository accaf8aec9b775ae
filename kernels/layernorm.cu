/* Layer normalisation, float32.  Maths and names: minixl/ops/layernorm.py (the tests compare with it).

     layernorm_forward_v1    one thread per row     the plain formula; neighbouring threads read H floats apart
     layernorm_forward_v2    one block per row      two block reductions, coalesced reads                     <- default
     layernorm_backward_v1   one thread per row
     layernorm_backward_v2   one block per row      both reductions in one pass over the row                  <- default
     layernorm_weights       block: 32 columns of a stretch of rows         partial sums of dweight and dbias
     layernorm_weights_sum   one thread per column  sums the stretches in order

   launched by  kernels/layernorm.py
   test         pytest tests/kernels/test_layernorm.py
   benchmark    minixl bench kernels layernorm                results: kernels/README.md                                  */
#include "reduce.cuh"

#define COLUMNS 32           // a warp reads 32 neighbouring columns of a row
#define LANES 8              // rows a block of layernorm_weights reads at a time

// x, y, norm: (T, H).  weight, bias: (H,).  rstd: (T, 1).  grid x block >= T.
extern "C" __global__
void layernorm_forward_v1(const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
                          float* __restrict__ y, float* __restrict__ norm, float* __restrict__ rstd, int T, int H, float eps) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= T) return;
    const size_t row = (size_t)t * H;
    float sum = 0.0f, square = 0.0f;
    for (int h = 0; h < H; ++h) sum += x[row + h];
    const float mean = sum / H;
    for (int h = 0; h < H; ++h) { const float c = x[row + h] - mean; square += c * c; }
    const float r = 1.0f / sqrtf(square / H + eps);
    for (int h = 0; h < H; ++h) {
        const float n = (x[row + h] - mean) * r;
        norm[row + h] = n;
        y[row + h] = n * weight[h] + bias[h];
    }
    rstd[t] = r;
}

// As v1.  grid = T, block = 32..1024 threads.
extern "C" __global__
void layernorm_forward_v2(const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
                          float* __restrict__ y, float* __restrict__ norm, float* __restrict__ rstd, int T, int H, float eps) {
    const size_t row = (size_t)blockIdx.x * H;
    float sum = 0.0f;
    for (int h = threadIdx.x; h < H; h += blockDim.x) sum += x[row + h];
    const float mean = block_sum(sum) / H;
    float square = 0.0f;                                               // a second pass: E[x^2] - mean^2 would cancel
    for (int h = threadIdx.x; h < H; h += blockDim.x) { const float c = x[row + h] - mean; square += c * c; }
    const float r = 1.0f / sqrtf(block_sum(square) / H + eps);
    for (int h = threadIdx.x; h < H; h += blockDim.x) {
        const float n = (x[row + h] - mean) * r;
        norm[row + h] = n;
        y[row + h] = n * weight[h] + bias[h];
    }
    if (threadIdx.x == 0) rstd[blockIdx.x] = r;
}

// dy, norm, dx: (T, H).  rstd: (T, 1).  weight: (H,).  grid x block >= T.
extern "C" __global__
void layernorm_backward_v1(const float* __restrict__ dy, const float* __restrict__ norm, const float* __restrict__ rstd,
                           const float* __restrict__ weight, float* __restrict__ dx, int T, int H) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= T) return;
    const size_t row = (size_t)t * H;
    float mean = 0.0f, slope = 0.0f;
    for (int h = 0; h < H; ++h) { const float d = dy[row + h] * weight[h]; mean += d; slope += d * norm[row + h]; }
    mean /= H;
    slope /= H;
    for (int h = 0; h < H; ++h) dx[row + h] = rstd[t] * (dy[row + h] * weight[h] - mean - norm[row + h] * slope);
}

// As v1.  grid = T, block = 32..1024 threads.
extern "C" __global__
void layernorm_backward_v2(const float* __restrict__ dy, const float* __restrict__ norm, const float* __restrict__ rstd,
                           const float* __restrict__ weight, float* __restrict__ dx, int T, int H) {
    const size_t row = (size_t)blockIdx.x * H;
    float mean = 0.0f, slope = 0.0f;
    for (int h = threadIdx.x; h < H; h += blockDim.x) {
        const float dnorm = dy[row + h] * weight[h];
        mean += dnorm;
        slope += dnorm * norm[row + h];
    }
    mean = block_sum(mean) / H;
    slope = block_sum(slope) / H;
    const float r = rstd[blockIdx.x];
    for (int h = threadIdx.x; h < H; h += blockDim.x)
        dx[row + h] = r * (dy[row + h] * weight[h] - mean - norm[row + h] * slope);
}

// dy, norm: (T, H).  partial: (2, stretches, H), dweight then dbias.  grid = (H / 32, stretches), block = (32, 8).
extern "C" __global__
void layernorm_weights(const float* __restrict__ dy, const float* __restrict__ norm, float* __restrict__ partial,
                       int T, int H, int rows) {
    __shared__ float sums[2][LANES][COLUMNS + 1];
    const int h = blockIdx.x * COLUMNS + threadIdx.x, first = blockIdx.y * rows;
    const int after = first + rows < T ? first + rows : T;
    float dweight = 0.0f, dbias = 0.0f;
    if (h < H)
        for (int t = first + threadIdx.y; t < after; t += LANES) {
            const float d = dy[(size_t)t * H + h];
            dweight += d * norm[(size_t)t * H + h];
            dbias += d;
        }
    sums[0][threadIdx.y][threadIdx.x] = dweight;
    sums[1][threadIdx.y][threadIdx.x] = dbias;
    __syncthreads();                                                   // all sums are there
    if (h >= H || threadIdx.y > 1) return;
    float total = 0.0f;
    for (int lane = 0; lane < LANES; ++lane) total += sums[threadIdx.y][lane][threadIdx.x];
    partial[((size_t)threadIdx.y * gridDim.y + blockIdx.y) * H + h] = total;
}

// partial: (2, stretches, H).  dweight, dbias: (H,).  grid x block >= H.
extern "C" __global__
void layernorm_weights_sum(const float* __restrict__ partial, float* __restrict__ dweight, float* __restrict__ dbias,
                           int H, int stretches) {
    const int h = blockIdx.x * blockDim.x + threadIdx.x;
    if (h >= H) return;
    float weight_sum = 0.0f, bias_sum = 0.0f;
    for (int s = 0; s < stretches; ++s) {
        weight_sum += partial[(size_t)s * H + h];
        bias_sum += partial[(size_t)(stretches + s) * H + h];
    }
    dweight[h] = weight_sum;
    dbias[h] = bias_sum;
}
