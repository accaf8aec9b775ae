/* The row-sparse gradient of a table, float32.  Maths and names: minixl/ops/embedding.py, sum_rows.

     embedding_sum_rows      one block per distinct id     sums its rows in their order, without atomics

   The launcher sorts the ids (with CuPy's stable argsort), so the rows of an id are order[first[s]] ... order[first[s+1]-1].

   launched by  kernels/embedding.py
   test         pytest tests/kernels/test_embedding.py
   benchmark    minixl bench kernels embedding                results: kernels/README.md                                  */

// values: (T, H).  order: (T,).  first: (n + 1,).  sums: (n, H).  grid = n, any block.
extern "C" __global__
void embedding_sum_rows(const float* __restrict__ values, const long long* __restrict__ order,
                        const long long* __restrict__ first, float* __restrict__ sums, int H) {
    const long long after = first[blockIdx.x + 1];
    for (int h = threadIdx.x; h < H; h += blockDim.x) {
        float sum = 0.0f;
        for (long long e = first[blockIdx.x]; e < after; ++e) sum += values[(size_t)order[e] * H + h];
        sums[(size_t)blockIdx.x * H + h] = sum;
    }
}
