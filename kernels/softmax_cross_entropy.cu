/* Softmax and cross-entropy in one op, float32.  Maths and names: minixl/ops/softmax_cross_entropy.py.

     softmax_cross_entropy_rows       one block per row     log-probabilities and the row's loss
     softmax_cross_entropy_mean       one block             sums the rows' losses in a fixed order, counts scored rows
     softmax_cross_entropy_backward   one block per row     dlogits from the log-probabilities

   A label of K or more is the caller's mistake: its loss and its gradient are NaN.

   launched by  kernels/softmax_cross_entropy.py
   test         pytest tests/kernels/test_softmax_cross_entropy.py
   benchmark    minixl bench kernels softmax_cross_entropy                results: kernels/README.md                      */
#include "reduce.cuh"

// logits, log_probs: (N, K).  labels: (N,).  losses: (N,).  grid = N, block = 32..1024 threads.
extern "C" __global__
void softmax_cross_entropy_rows(const float* __restrict__ logits, const long long* __restrict__ labels,
                                float* __restrict__ log_probs, float* __restrict__ losses, int K) {
    const size_t row = (size_t)blockIdx.x * K;
    float most = -INFINITE;
    for (int k = threadIdx.x; k < K; k += blockDim.x) most = fmaxf(most, logits[row + k]);
    most = block_max(most);
    float sum = 0.0f;
    for (int k = threadIdx.x; k < K; k += blockDim.x) sum += expf(logits[row + k] - most);
    const float log_sum = logf(block_sum(sum));
    for (int k = threadIdx.x; k < K; k += blockDim.x) log_probs[row + k] = logits[row + k] - most - log_sum;
    if (threadIdx.x == 0) {
        const long long label = labels[blockIdx.x];
        losses[blockIdx.x] = label < 0 ? 0.0f : label < K ? -(logits[row + label] - most - log_sum) : NOT_A_NUMBER;
    }
}

// losses, labels: (N,).  loss: (1,), unused in the backward pass (forward = 0).  scored: (1,).  grid = 1.
extern "C" __global__
void softmax_cross_entropy_mean(const float* __restrict__ losses, const long long* __restrict__ labels,
                                float* __restrict__ loss, float* __restrict__ scored, int N, int forward) {
    double sum = 0.0, count = 0.0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
        if (forward) sum += losses[n];
        count += labels[n] >= 0;
    }
    sum = block_sum_double(sum);
    count = block_sum_double(count);
    if (threadIdx.x == 0) {
        const double divisor = count > 0.0 ? count : 1.0;
        scored[0] = (float)divisor;
        if (forward) loss[0] = (float)(sum / divisor);
    }
}

// dloss, scored: (1,).  log_probs, dlogits: (N, K).  labels: (N,).  grid = N, block = 32..1024 threads.
extern "C" __global__
void softmax_cross_entropy_backward(const float* __restrict__ dloss, const float* __restrict__ scored,
                                    const float* __restrict__ log_probs, const long long* __restrict__ labels,
                                    float* __restrict__ dlogits, int K) {
    const size_t row = (size_t)blockIdx.x * K;
    const long long label = labels[blockIdx.x];
    const float scale = label < 0 ? 0.0f : label < K ? dloss[0] / scored[0] : NOT_A_NUMBER;
    for (int k = threadIdx.x; k < K; k += blockDim.x)
        dlogits[row + k] = scale * (expf(log_probs[row + k]) - (k == label ? 1.0f : 0.0f));
}
