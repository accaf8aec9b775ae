"""One direction of an LSTM over packed sentences of any lengths.  Hochreiter & Schmidhuber 1997, with forget gates.

The maths, and how the steps are arranged, are in lstm_steps.py.  Gates lie in PyTorch's order i, f, g, o.  There is
one bias vector; PyTorch's second one can be given as `bias_hh`.  States before the first token are zero.  Checked
against torch.nn.LSTM and against a plain loop in tests/ops/test_lstm.py.
"""
import numpy as np

from minixl.backend import Array, op
from minixl.ops.lstm_steps import Cell, RecurrentCache, recurrent_backward, recurrent_forward


@op
def lstm_forward(x: Array, weight_ih: Array, weight_hh: Array, bias: Array, bias_hh: Array | None = None, *,
                 starts: np.ndarray, reverse: bool = False) -> tuple[tuple[Array, Array], RecurrentCache]:
    """x (T, I) packed, weight_ih (4H, I), weight_hh (4H, H), bias (4H,) -> hidden (T, H), final (B, H), cache.

    starts (B+1,) says where each sentence begins.  With reverse=True it is read from right to left, and its final
    state is the one at its first token.  The final state of a sentence without tokens is zero.
    """
    return recurrent_forward(x, (Cell(weight_ih, weight_hh, bias, bias_hh),), (reverse,), starts)


@op
def lstm_backward(dy: tuple[Array | None, Array | None], cache: RecurrentCache) -> tuple[Array, dict[str, Array]]:
    """dy = (dhidden (T, H), dfinal (B, H)), either may be None -> dx (T, I) and the gradients of the weights."""
    dx, grads = recurrent_backward(*dy, cache)
    return dx, grads[0]
