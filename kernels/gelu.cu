/* The exact Gaussian error linear unit, float32.  Maths and names: minixl/ops/gelu.py.

     gelu_forward      y and its slope in one pass: per element 4 bytes read, 8 written
     gelu_backward     dx = dy * slope

   Both have a grid-stride loop: any number of blocks covers any size.

   launched by  kernels/gelu.py
   test         pytest tests/kernels/test_gelu.py
   benchmark    minixl bench kernels gelu                results: kernels/README.md                                       */

// x, y, slope: (size,).  any grid, any block.
extern "C" __global__
void gelu_forward(const float* __restrict__ x, float* __restrict__ y, float* __restrict__ slope, long long size) {
    for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += (long long)gridDim.x * blockDim.x) {
        const float v = x[e];
        const float cdf = 0.5f * erfcf(-0.70710678f * v);              // 1 + erf would cancel for negative v
        y[e] = v * cdf;
        slope[e] = cdf + v * 0.39894228f * expf(-0.5f * v * v);
    }
}

// dy, slope, dx: (size,).  any grid, any block.
extern "C" __global__
void gelu_backward(const float* __restrict__ dy, const float* __restrict__ slope, float* __restrict__ dx, long long size) {
    for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += (long long)gridDim.x * blockDim.x)
        dx[e] = dy[e] * slope[e];
}
