/* Softmax over the valid entries of each row, then dropout, in one kernel, float32.
   Maths and names: minixl/ops/masked_softmax_dropout.py (the tests compare with it).

     masked_softmax_dropout_forward     one warp per row   probs, y and the mask that it draws
     masked_softmax_dropout_backward    one warp per row   dx = probs · (dprobs - Σ dprobs · probs); dprobs is never in memory

   A row of attention scores is short enough for one warp, without shared memory or barriers.  The forward pass reads it three
   times, the second and third time from the cache.  Any number of warps covers any number of rows.

   launched by  kernels/masked_softmax_dropout.py
   test         pytest tests/kernels/test_masked_softmax_dropout.py
   benchmark    minixl bench kernels masked_softmax_dropout                results: kernels/README.md                     */
#include "dropout.cuh"
#include "reduce.cuh"

static __device__ __forceinline__ bool is_valid(const long long* lengths, const bool* valid, int use_lengths, long long row,
                                                size_t first, int k) {
    return use_lengths ? k < lengths[row] : valid[first + k];
}

// scores, probs: (rows, n).  lengths: (rows,) or (1,), unused.  valid: (rows, n) or (1,).  mask: (rows, n) or (1,).  seed: (1,).
// y, drawn: (rows, n), or (1,) and unwritten: y without dropout, drawn unless dropped > 0.  block = whole warps, any grid.
extern "C" __global__
void masked_softmax_dropout_forward(const float* __restrict__ scores, const long long* __restrict__ lengths,
                                    const bool* __restrict__ valid, const bool* __restrict__ mask,
                                    const long long* __restrict__ seed, float* __restrict__ probs, float* __restrict__ y,
                                    bool* __restrict__ drawn, long long rows, int n, int use_lengths, int use_mask,
                                    int dropped, float keep_scale) {
    const int lane = threadIdx.x % 32;
    const long long warps = (long long)gridDim.x * (blockDim.x / 32);
    for (long long row = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; row < rows; row += warps) {
        const size_t first = (size_t)row * n;
        float most = -INFINITE;
        for (int k = lane; k < n; k += 32)
            if (is_valid(lengths, valid, use_lengths, row, first, k)) most = fmaxf(most, scores[first + k]);
        most = warp_max(most);
        if (most == -INFINITE) most = 0.0f;                            // nothing is valid: every exponential is 0
        float sum = 0.0f;
        for (int k = lane; k < n; k += 32)
            if (is_valid(lengths, valid, use_lengths, row, first, k)) sum += expf(scores[first + k] - most);
        sum = warp_sum(sum);
        if (sum == 0.0f) sum = 1.0f;
        for (int k = lane; k < n; k += 32) {
            const bool inside = is_valid(lengths, valid, use_lengths, row, first, k);
            const float p = inside ? expf(scores[first + k] - most) / sum : 0.0f;
            probs[first + k] = p;
            if (!use_mask && !dropped) continue;
            const bool kept = keep(mask, seed, use_mask, dropped, first + k);
            if (!use_mask) drawn[first + k] = kept;
            y[first + k] = kept ? p * keep_scale : 0.0f;
        }
    }
}

// dy, probs, dx: (rows, n).  mask: (rows, n), or (1,) and unused.  block = whole warps, any grid.
extern "C" __global__
void masked_softmax_dropout_backward(const float* __restrict__ dy, const float* __restrict__ probs,
                                     const bool* __restrict__ mask, float* __restrict__ dx, long long rows, int n,
                                     int use_mask, float keep_scale) {
    const int lane = threadIdx.x % 32;
    const long long warps = (long long)gridDim.x * (blockDim.x / 32);
    for (long long row = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; row < rows; row += warps) {
        const size_t first = (size_t)row * n;
        float sum = 0.0f;
        for (int k = lane; k < n; k += 32)
            if (!use_mask || mask[first + k]) sum += keep_scale * dy[first + k] * probs[first + k];
        sum = warp_sum(sum);
        for (int k = lane; k < n; k += 32) {
            const float dprob = !use_mask || mask[first + k] ? keep_scale * dy[first + k] : 0.0f;
            dx[first + k] = probs[first + k] * (dprob - sum);
        }
    }
}
