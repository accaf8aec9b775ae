"""Both directions of an LSTM over packed sentences, their states side by side.

    hidden_t = [left-to-right state after token t,  right-to-left state after token t]
    final    = [left-to-right state after the last token,  right-to-left state after the first]

Untied, each direction has its own cell.  Tied (Bari et al. 2020, "Cross-Shared"), one cell reads in both directions and
its gradient is the sum of the two.  One loop over the steps computes both directions: see lstm_steps.py.
Checked against torch.nn.LSTM, and the tied cell against a plain loop, in tests/ops/test_bilstm.py.
"""
import numpy as np

from minixl.backend import Array, op
from minixl.ops.lstm_steps import Cell, RecurrentCache, recurrent_backward, recurrent_forward


@op
def bilstm_forward(x: Array, weight_ih: Array, weight_hh: Array, bias: Array,
                   weight_ih_reverse: Array | None = None, weight_hh_reverse: Array | None = None,
                   bias_reverse: Array | None = None, bias_hh: Array | None = None,
                   bias_hh_reverse: Array | None = None, *,
                   starts: np.ndarray) -> tuple[tuple[Array, Array], RecurrentCache]:
    """x (T, I) packed, weight_ih (4H, I), weight_hh (4H, H), bias (4H,) -> hidden (T, 2H), final (B, 2H), cache.

    The directions are tied if the parameters of the reverse direction are None.  bias_hh is PyTorch's second bias.
    """
    cells: tuple[Cell, ...] = (Cell(weight_ih, weight_hh, bias, bias_hh),)
    untied = [value is not None for value in (weight_ih_reverse, weight_hh_reverse, bias_reverse)]
    if any(untied) != all(untied) or (bias_hh_reverse is not None and not all(untied)):
        raise ValueError("bilstm: expected weight_ih_reverse, weight_hh_reverse and bias_reverse, or none of them "
                         "(tied directions), got only some")
    if all(untied):
        cells += (Cell(weight_ih_reverse, weight_hh_reverse, bias_reverse, bias_hh_reverse),)
    return recurrent_forward(x, cells, (False, True), starts)


@op
def bilstm_backward(dy: tuple[Array | None, Array | None], cache: RecurrentCache) -> tuple[Array, dict[str, Array]]:
    """dy = (dhidden (T, 2H), dfinal (B, 2H)), either may be None -> dx (T, I) and the gradients of the weights."""
    dx, grads = recurrent_backward(*dy, cache)
    reverse = {f"{name}_reverse": value for name, value in grads[1].items()} if len(grads) > 1 else {}
    return dx, grads[0] | reverse
