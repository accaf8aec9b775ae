/* The best tag sequence of every sentence of a packed batch, float32, one launch.  Maths, names and the rule for ties:
   minixl/ops/viterbi.py (the tests compare with it: the results are equal bit for bit).

     viterbi_v1     one thread per sentence                    the plain formula; tags of a sentence one after another
     viterbi_v2     one block per sentence, a thread per tag   transitions in shared memory                    <- default

   Both keep the best scores (T, K) but no back pointers: following the path back takes the maximum again for the one tag on
   the path.  In v2 a step needs one barrier (best scores alternate between two rows), and one warp follows the path back.
   NaN anywhere in a sentence makes its path score NaN, as in the op; that is how kernels/viterbi.py finds it.
   Sentences of any length, K from 1 to 64; for more, kernels/viterbi.py uses the op's formula.

   Prediction does not call it so far: it decodes on the CPU, all sentences together.

   launched by  kernels/viterbi.py
   test         pytest tests/kernels/test_viterbi.py
   benchmark    minixl bench kernels viterbi                results: kernels/README.md                                    */
#include "reduce.cuh"

// scores: (T, K).  transitions: (K, K) [from, to].  start, end: (K,).  starts: (B+1,).  tags: (T,).  path_scores: (B,).
// best: (T, K), for following the path back.  grid x block >= B.
extern "C" __global__
void viterbi_v1(const float* __restrict__ scores, const float* __restrict__ transitions, const float* __restrict__ start,
                const float* __restrict__ end, const long long* __restrict__ starts, long long* __restrict__ tags,
                float* __restrict__ path_scores, float* __restrict__ best, int B, int K) {
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= B) return;
    const long long first = starts[b], after = starts[b + 1];
    if (first == after) { path_scores[b] = 0.0f; return; }
    for (long long t = first; t < after; ++t)
        for (int j = 0; j < K; ++j) {
            float most = t == first ? start[j] : -INFINITE;
            for (int i = 0; i < K && t > first; ++i) most = max_or_nan(most, best[(t - 1) * K + i] + transitions[i * K + j]);
            best[t * K + j] = scores[t * K + j] + most;
        }
    int tag = 0;
    for (long long t = after - 1; t >= first; --t) {
        const float* onward = t == after - 1 ? end : transitions + tag;              // scores of what follows this token
        const int step = t == after - 1 ? 1 : K;
        int highest = 0;
        float most = best[t * K] + onward[0];
        for (int i = 1; i < K; ++i) {
            const float sum = best[t * K + i] + onward[i * step];
            if (sum > most) highest = i;
            most = max_or_nan(most, sum);
        }
        if (t == after - 1) path_scores[b] = most;
        tags[t] = tag = highest;
    }
}

// The highest of v[i] + onward[i * step], i < K, or NaN if one of them is NaN, and the lowest i that has it; the same in every
// lane of a warp.
static __device__ __forceinline__ int warp_argmax(const float* v, const float* onward, int step, int K, float* highest) {
    float value = -INFINITE;
    int index = threadIdx.x;                                           // beyond K: never the result, lower ones win ties
    bool bad = false;
    for (int i = threadIdx.x; i < K; i += 32) {
        const float candidate = v[i] + onward[i * step];
        if (candidate > value) { value = candidate; index = i; }
        bad |= candidate != candidate;
    }
    for (int other = 16; other > 0; other /= 2) {
        const float their_value = __shfl_xor_sync(ALL_LANES, value, other);
        const int their_index = __shfl_xor_sync(ALL_LANES, index, other);
        if (their_value > value || (their_value == value && their_index < index)) { value = their_value; index = their_index; }
    }
    *highest = __any_sync(ALL_LANES, bad) ? NOT_A_NUMBER : value;
    return __shfl_sync(ALL_LANES, index, 0);                           // the same in all lanes, even with NaN
}

// As v1.  grid = B, block = 32 or 64 threads, at least K; (K + 2) * K floats of dynamic shared memory.
extern "C" __global__
void viterbi_v2(const float* __restrict__ scores, const float* __restrict__ transitions, const float* __restrict__ start,
                const float* __restrict__ end, const long long* __restrict__ starts, long long* __restrict__ tags,
                float* __restrict__ path_scores, float* __restrict__ best, int B, int K) {
    extern __shared__ float shared[];
    float* moves = shared;                                             // (K, K) [from, to]: thread j reads without conflicts
    float* row = shared + K * K;                                       // (2, K) best scores of this token and the one before
    const int j = threadIdx.x;
    const long long first = starts[blockIdx.x], after = starts[blockIdx.x + 1];
    if (first == after) { if (j == 0) path_scores[blockIdx.x] = 0.0f; return; }
    for (int e = j; e < K * K; e += blockDim.x) moves[e] = transitions[e];
    if (j < K) row[j] = best[first * K + j] = scores[first * K + j] + start[j];
    __syncthreads();
    for (long long t = first + 1; t < after; ++t) {
        const float* before = row + (t - first - 1) % 2 * K;
        if (j < K) {
            float most = before[0] + moves[j];
            for (int i = 1; i < K; ++i) most = max_or_nan(most, before[i] + moves[i * K + j]);
            row[(t - first) % 2 * K + j] = best[t * K + j] = scores[t * K + j] + most;
        }
        __syncthreads();                                               // this token's row is complete
    }
    if (j >= 32) return;
    float highest;
    int tag = warp_argmax(best + (after - 1) * K, end, 1, K, &highest);
    if (j == 0) { path_scores[blockIdx.x] = highest; tags[after - 1] = tag; }
    for (long long t = after - 2; t >= first; --t) {
        tag = warp_argmax(best + t * K, moves + tag, K, K, &highest);
        if (j == 0) tags[t] = tag;
    }
}
