"""Launch kernels/lstm_steps.cu.  Same contract as lstm_steps_forward and lstm_steps_backward of minixl.ops.lstm_steps."""
from __future__ import annotations

from types import ModuleType

import numpy as np

from minixl import kernels
from minixl.backend import Array
from minixl.kernels import block_threads, blocks, check, check_increasing, float32_only, size
from minixl.ops import lstm_steps as op
from minixl.ops.lstm_steps import RecurrentCache

THREADS = 256


@float32_only(op.lstm_steps_forward)
def lstm_steps_forward(gates: Array, recurrent: Array, halves: Array, bounds: list[int], states: tuple[Array, Array, Array],
                       xp: ModuleType, *, threads: int = THREADS) -> None:
    """Replace gates (D, T, 4H), the products of the inputs, by the gates; write states: cell, tanh(cell), hidden."""
    directions, tokens, hidden = states[0].shape
    check("gates", gates, (directions, tokens, 4 * hidden))
    for name, state in zip(("cell", "cell_tanh", "hidden"), states, strict=True):
        check(name, state, (directions, tokens, hidden))
    if recurrent.shape[1:] != (hidden, 4 * hidden) or recurrent.dtype != np.float32:   # a matrix product reads it, with any strides
        raise ValueError(f"recurrent: expected float32 of shape (1 or {directions}, {hidden}, {4 * hidden}), "
                         f"got {recurrent.dtype} {recurrent.shape}")
    check_increasing("bounds", bounds, tokens)
    sizes = size("D", directions), size("T", tokens), size("H", hidden)
    product, before = xp.zeros(1, np.float32), 0
    for step, (now, after) in enumerate(zip(bounds, bounds[1:])):
        running = after - now
        if step:
            product = xp.matmul(states[2][:, before:before + running], recurrent)      # (D, running, 4H)
        if running and hidden:
            kernels.load("lstm_steps.cu", "lstm_cell_forward")(
                (blocks(directions * running * hidden, threads),), block_threads(threads),
                (product, gates, *states, *sizes, size("now", now), size("before", before), size("running", running),
                 np.int32(step == 0)))
        before = now


@float32_only(op.lstm_steps_backward)
def lstm_steps_backward(dstates: Array, dgates: Array, carry: Array, cache: RecurrentCache, xp: ModuleType, *,
                        threads: int = THREADS) -> None:
    """Complete dstates (D, T, H), which becomes dh, and replace dgates (D, T, 4H), the factors, by the gates' gradients."""
    directions, tokens, hidden = dstates.shape
    for name, array, width in (("dstates", dstates, 1), ("dgates", dgates, 4), ("carry", carry, 1),
                               ("cache.gates", cache.gates, 4)):
        check(name, array, (directions, tokens, width * hidden))
    recurrent = xp.stack([cell.weight_hh for cell in cache.cells])                     # (1 or D, 4H, H)
    bounds, sizes = cache.steps[0].bounds, (size("D", directions), size("T", tokens), size("H", hidden))
    check_increasing("bounds", bounds, tokens)
    longest_row = bounds[1] if len(bounds) > 1 else 0
    dcell, product, following = xp.zeros((directions, longest_row, hidden), np.float32), xp.zeros(1, np.float32), 0
    for now, after in reversed(list(zip(bounds, bounds[1:]))):
        if following:
            product = xp.matmul(dgates[:, after:after + following], recurrent)         # (D, following, H)
        if hidden:
            kernels.load("lstm_steps.cu", "lstm_cell_backward")(
                (blocks(directions * (after - now) * hidden, threads),), block_threads(threads),
                (product, cache.gates, carry, dstates, dcell, dgates, *sizes, size("now", now),
                 size("running", after - now), size("following", following), size("rows", longest_row)))
        following = after - now
