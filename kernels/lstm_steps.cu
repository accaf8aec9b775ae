/* One time step of an LSTM after its matrix product, float32.  Maths and names: minixl/ops/lstm_steps.py.

     lstm_cell_forward     gates, cell, tanh(cell) and hidden of a step in one pass; array operations take nine
     lstm_cell_backward    the gates' gradients of a step from dh and the factors

   One thread per direction, sentence and hidden unit.  cuBLAS computes the product with the state before, between two launches.

   launched by  kernels/lstm_steps.py
   test         pytest tests/kernels/test_lstm_steps.py
   benchmark    minixl bench kernels lstm_steps                results: kernels/README.md                                 */

// gates: (D, T, 4H) products of the inputs, halved for i, f, o; replaced by the gates.  product: (D, running, 4H), h' weight_hh
// with the same halves, or (1,) at the first step.  cell, cell_tanh, hidden: (D, T, H).  The step is rows now..now+running-1,
// its predecessors are rows before...  grid x block >= D * running * H.
extern "C" __global__
void lstm_cell_forward(const float* __restrict__ product, float* __restrict__ gates, float* __restrict__ cell,
                       float* __restrict__ cell_tanh, float* __restrict__ hidden, int directions, int T, int H, int now,
                       int before, int running, int first_step) {
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= (long long)directions * running * H) return;
    const int h = (int)(e % H), row = (int)(e / H % running), d = (int)(e / H / running);
    const size_t place = (size_t)d * T + now + row;
    float* own = gates + place * 4 * H + h;
    float a[4];
    for (int k = 0; k < 4; ++k) {
        a[k] = own[k * H];
        if (!first_step) a[k] += product[((size_t)d * running + row) * 4 * H + k * H + h];
        a[k] = tanhf(a[k]);
        if (k != 2) a[k] = 0.5f + 0.5f * a[k];                         // i, f, o are sigmoids, g is a tanh
        own[k * H] = a[k];
    }
    float c = a[0] * a[2];
    if (!first_step) c += a[1] * cell[((size_t)d * T + before + row) * H + h];
    const float squashed = tanhf(c);
    cell[place * H + h] = c;
    cell_tanh[place * H + h] = squashed;
    hidden[place * H + h] = a[3] * squashed;
}

// product: (D, following, 4H -> H) later gradients times weight_hh, or (1,) when following is 0.  gates, carry: the forward
// gates (D, T, 4H) and (D, T, H).  dstates: (D, T, H) dh.  dcell: (D, rows, H).  dgates: (D, T, 4H) factors, replaced by gradients.
// grid x block >= D * running * H.
extern "C" __global__
void lstm_cell_backward(const float* __restrict__ product, const float* __restrict__ gates, const float* __restrict__ carry,
                        float* __restrict__ dstates, float* __restrict__ dcell, float* __restrict__ dgates, int directions,
                        int T, int H, int now, int running, int following, int rows) {
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= (long long)directions * running * H) return;
    const int h = (int)(e % H), row = (int)(e / H % running), d = (int)(e / H / running);
    const size_t place = (size_t)d * T + now + row;
    float dh = dstates[place * H + h];
    if (row < following) dh += product[((size_t)d * following + row) * H + h];
    dstates[place * H + h] = dh;
    float* dc = dcell + ((size_t)d * rows + row) * H + h;
    const float dc_now = *dc + dh * carry[place * H + h];
    float* own = dgates + place * 4 * H + h;
    for (int k = 0; k < 3; ++k) own[k * H] *= dc_now;
    own[3 * H] *= dh;
    *dc = dc_now * gates[place * 4 * H + H + h];
}
