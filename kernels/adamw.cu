/* One AdamW step over a stretch of the flat parameter buffer, float32, in place.  Maths: minixl/ops/adamw.py.

     adamw_step      one pass: per parameter 16 bytes read, 12 written; with array operations it takes a dozen passes

   The launcher computes the factors that depend only on the step, in float64.

   launched by  kernels/adamw.py
   test         pytest tests/kernels/test_adamw.py
   benchmark    minixl bench kernels adamw                results: kernels/README.md                                      */

// value, m, v: (size,), updated in place.  grad: (size,).  any grid, any block.
//   keep = 1 - lr * decay,  step = lr / (1 - beta1^t),  debias = 1 / sqrt(1 - beta2^t),  new1 = 1 - beta1, new2 = 1 - beta2
extern "C" __global__
void adamw_step(float* __restrict__ value, const float* __restrict__ grad, float* __restrict__ m, float* __restrict__ v,
                float keep, float beta1, float new1, float beta2, float new2, float debias, float eps, float step,
                long long size) {
    for (long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x; e < size; e += (long long)gridDim.x * blockDim.x) {
        const float g = grad[e];
        const float m_now = beta1 * m[e] + new1 * g;
        const float v_now = beta2 * v[e] + new2 * g * g;
        m[e] = m_now;
        v[e] = v_now;
        value[e] = value[e] * keep - step * (m_now / (sqrtf(v_now) * debias + eps));
    }
}
