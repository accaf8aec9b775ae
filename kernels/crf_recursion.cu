/* Sums over all tag sequences of a linear chain, float32.  Maths and names: minixl/ops/crf_recursion.py.

     crf_forward        one block per sentence, a thread per tag     log A, and log Z in float64
     crf_marginals      one block per sentence, a thread per tag     log B, from the last token to the first; nodes and edges
     crf_edges          one thread per pair of tags                  sums the edges of all sentences in order

   log A and log B grow with the sentence and would lose digits, so the largest entry of every token is subtracted: alpha and
   beta are at most 0.  Only log Z needs what was subtracted, summed in float64.  The marginals do not need it, because the
   nodes of a token sum to one:

     node_t(j)    = e^(alpha_t(j) + beta_t(j)) / S_t                      S_t = sum over j of the same
     edge_t(i, j) = e^(alpha_t-1(i) + transition_ij + x_tj - shift_t + beta_t(j)) / S_t      shift_t: subtracted from alpha_t

   Tokens are in step order: token t of sentence r (the r-th longest) is at bounds[t] + r.  K from 1 to 64.

   launched by  kernels/crf_recursion.py
   test         pytest tests/kernels/test_crf_recursion.py
   benchmark    minixl bench kernels crf_recursion                results: kernels/README.md                              */
#include "reduce.cuh"

#define MAX_TAGS 64

// The largest of v[0..K-1] in shared memory, to subtract it; 0 if all are minus infinity.
static __device__ __forceinline__ float largest(const float* v, int K) {
    float most = v[0];
    for (int k = 1; k < K; ++k) most = max_or_nan(most, v[k]);
    return most == -INFINITE ? 0.0f : most;
}

// emissions: (T, K) packed.  transitions: (K, K) [from, to].  begin, end: (K,).  rows: (T,) packed row of each token in step
// order.  bounds: (L+1,).  alpha: (T, K), shift: (T,) in step order.  log_partition: (R,).  grid = R, block = 32 or 64 >= K.
extern "C" __global__
void crf_forward(const float* __restrict__ emissions, const float* __restrict__ transitions, const float* __restrict__ begin,
                 const float* __restrict__ end, const long long* __restrict__ rows, const long long* __restrict__ bounds,
                 float* __restrict__ alpha, float* __restrict__ shift, double* __restrict__ log_partition, int L, int K) {
    __shared__ float moves[MAX_TAGS * MAX_TAGS], before[MAX_TAGS], now[MAX_TAGS];
    const int j = threadIdx.x, r = blockIdx.x;
    for (int e = j; e < K * K; e += blockDim.x) moves[e] = transitions[e];
    double taken = 0.0;
    for (int t = 0; t < L && bounds[t + 1] - bounds[t] > r; ++t) {
        const long long place = bounds[t] + r;
        __syncthreads();                                               // before (and moves, at first) are complete
        float value = 0.0f;
        if (j < K && t == 0) value = begin[j];
        if (j < K && t > 0) {
            float most = -INFINITE, sum = 0.0f;
            for (int i = 0; i < K; ++i) most = max_or_nan(most, before[i] + moves[i * K + j]);
            if (most != -INFINITE)
                for (int i = 0; i < K; ++i) sum += expf(before[i] + moves[i * K + j] - most);
            value = most != -INFINITE ? most + logf(sum) : -INFINITE;
        }
        if (j < K) now[j] = value + emissions[rows[place] * K + j];
        __syncthreads();                                               // now is complete, and before has been read
        const float most = largest(now, K);
        taken += most;
        if (j < K) alpha[place * K + j] = before[j] = now[j] - most;
        if (j == 0) shift[place] = most;
    }
    __syncthreads();                                                   // the last row is complete
    if (j > 0) return;
    float most = -INFINITE, sum = 0.0f;
    for (int k = 0; k < K; ++k) most = max_or_nan(most, before[k] + end[k]);
    for (int k = 0; k < K && most != -INFINITE; ++k) sum += expf(before[k] + end[k] - most);
    log_partition[r] = most != -INFINITE ? taken + most + log((double)sum) : (double)-INFINITE;
}

// alpha, shift, rows, bounds as above.  weight: (T,) packed.  node: (T, K) packed.  edges: (R, K, K), an output.
// grid = R, block = 32 or 64 >= K.
extern "C" __global__
void crf_marginals(const float* __restrict__ emissions, const float* __restrict__ transitions, const float* __restrict__ end,
                   const long long* __restrict__ rows, const long long* __restrict__ bounds,
                   const float* __restrict__ alpha, const float* __restrict__ shift, const float* __restrict__ weight,
                   float* __restrict__ node, float* __restrict__ edges, int L, int K) {
    __shared__ float moves[MAX_TAGS * MAX_TAGS], onward[MAX_TAGS], after[MAX_TAGS], own[MAX_TAGS], product[MAX_TAGS];
    const int j = threadIdx.x, r = blockIdx.x;
    int length = 0;
    while (length < L && bounds[length + 1] - bounds[length] > r) ++length;
    for (int e = j; e < K * K; e += blockDim.x) moves[e] = transitions[e];
    float* edge = edges + (size_t)r * K * K;                           // only thread j writes column j
    for (int i = 0; i < K && j < K; ++i) edge[i * K + j] = 0.0f;
    if (j < K) own[j] = end[j];                                        // log B before its largest entry is subtracted
    __syncthreads();                                                   // own and moves are complete
    for (int t = length - 1; t >= 0; --t) {
        const long long place = bounds[t] + r, row = rows[place];
        const float most = largest(own, K);
        const float beta = j < K ? own[j] - most : -INFINITE;
        if (j < K) product[j] = expf(alpha[place * K + j] + beta);
        if (j < K) onward[j] = emissions[row * K + j] + beta;
        __syncthreads();                                               // product and onward are complete
        float total = 0.0f;
        for (int k = 0; k < K; ++k) total += product[k];
        if (j < K) node[row * K + j] = product[j] / total;
        if (t == 0) break;
        const long long previous = bounds[t - 1] + r;
        if (j < K) after[j] = alpha[previous * K + j];
        float highest = -INFINITE, sum = 0.0f;                         // log B of the token before, for tag j
        for (int k = 0; k < K && j < K; ++k) highest = max_or_nan(highest, moves[j * K + k] + onward[k]);
        if (highest != -INFINITE)
            for (int k = 0; k < K; ++k) sum += expf(moves[j * K + k] + onward[k] - highest);
        if (j < K) own[j] = highest != -INFINITE ? highest + logf(sum) : -INFINITE;
        __syncthreads();                                               // after and own are complete
        for (int i = 0; i < K && j < K; ++i)
            edge[i * K + j] += weight[row] * expf(after[i] + moves[i * K + j] + onward[j] - shift[place]) / total;
    }
}

// edges: (R, K, K).  sums: (K, K).  grid x block >= K * K.
extern "C" __global__
void crf_edges(const float* __restrict__ edges, float* __restrict__ sums, int R, int K) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= K * K) return;
    float sum = 0.0f;
    for (int r = 0; r < R; ++r) sum += edges[(size_t)r * K * K + e];
    sums[e] = sum;
}
