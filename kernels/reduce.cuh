/* Sums and maxima over a warp and over a block, in a fixed order: the same input gives the same bits.

     warp_sum(v), warp_max(v)      over the 32 lanes, the result in every lane
     block_sum(v), block_max(v)    over the block, the result in every thread
     max_or_nan(a, b)              the larger one, as in NumPy: NaN if either is NaN (fmaxf returns the other one)

   The block is one-dimensional and a multiple of 32 threads.  Every thread must call these functions; a block_ function
   has its own barriers, so it can be called again at once. */
#pragma once

#define ALL_LANES 0xffffffffu
#define INFINITE (__int_as_float(0x7f800000))
#define NOT_A_NUMBER (__int_as_float(0x7fc00000))

static __device__ __forceinline__ float max_or_nan(float a, float b) { return a > b || a != a ? a : b; }

template <class T> static __device__ __forceinline__ T warp_sum(T v) {
    for (int other = 16; other > 0; other /= 2) v += __shfl_xor_sync(ALL_LANES, v, other);
    return v;
}

static __device__ __forceinline__ float warp_max(float v) {
    for (int other = 16; other > 0; other /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, other));
    return v;
}

static __device__ __forceinline__ float block_sum(float v) {
    __shared__ float of_warp[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    v = warp_sum(v);
    if (lane == 0) of_warp[warp] = v;
    __syncthreads();
    v = warp_sum(lane < blockDim.x / 32 ? of_warp[lane] : 0.0f);       // in every warp: no second broadcast
    __syncthreads();                                                   // now of_warp may be written again
    return v;
}

// No template shared with block_sum: GCC would put its shared array outside the section that the tests' host shim watches.
static __device__ __forceinline__ double block_sum_double(double v) {
    __shared__ double of_warp[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    v = warp_sum(v);
    if (lane == 0) of_warp[warp] = v;
    __syncthreads();
    v = warp_sum(lane < blockDim.x / 32 ? of_warp[lane] : 0.0);
    __syncthreads();
    return v;
}

static __device__ __forceinline__ float block_max(float v) {
    __shared__ float of_warp[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    v = warp_max(v);
    if (lane == 0) of_warp[warp] = v;
    __syncthreads();
    v = warp_max(lane < blockDim.x / 32 ? of_warp[lane] : -INFINITE);
    __syncthreads();
    return v;
}
