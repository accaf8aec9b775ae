"""D directions of an LSTM over packed sentences, computed together step by step.  Hochreiter & Schmidhuber 1997, with forget gates.

    a = [x, 1] · [weight_ih, bias]ᵀ + h' · weight_hhᵀ      h', c': state before;  a = (a_i, a_f, a_g, a_o), H each
    i, f, o = σ(a_i), σ(a_f), σ(a_o)      g = tanh(a_g)      c = f·c' + i·g      h = o·tanh(c)

    backward, from the last step to the first, dh = dhidden + da_next · weight_hh and dc starting from 0
        dc  += dh · o·(1 - tanh²(c))                           da_o = dh · tanh(c)·o·(1-o)
        da_i = dc · g·i·(1-i)     da_f = dc · c'·f·(1-f)       da_g = dc · i·(1-g²)     dc = dc · f

Only the product with h' and what depends on it must wait for the step before.  One product multiplies the inputs of all
steps (the bias is the weight of an input that is always 1), and the factors of dc and dh above are computed for
all steps before the loop.  One call of tanh computes all four gates, since σ(a) = ½ + ½·tanh(a/2): the weights are
multiplied by the halves beforehand.  Arrays are in step order (see steps.py), with the directions as first axis.
States before the first token are zero.  CUDA version: kernels/lstm_steps.cu.
Checked against torch.nn.LSTM and a plain loop in tests/ops/test_lstm_steps.py.
"""
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, by_rows, op
from minixl.ops.steps import Steps, time_steps


class Cell(NamedTuple):
    """The parameters of one LSTM cell, gates in PyTorch's order i, f, g, o."""

    weight_ih: Array         # (4H, I)
    weight_hh: Array         # (4H, H)
    bias: Array              # (4H,)
    bias_hh: Array | None    # (4H,)  PyTorch's second bias, or None


class RecurrentCache(NamedTuple):
    inputs: Array                # (D, T, I+1)  the last column is 1
    gates: Array                 # (D, T, 4H)   i, f, g, o
    cell: Array                  # (D, T, H)    c
    cell_tanh: Array             # (D, T, H)    tanh(c)
    hidden: Array                # (D, T, H)    h
    cells: tuple[Cell, ...]      # one for each direction, or one for all of them
    steps: tuple[Steps, ...]     # one for each direction
    sentences: int               # B


@op
def recurrent_forward(x: Array, cells: tuple[Cell, ...], reverse: Sequence[bool],
                      starts: np.ndarray) -> tuple[tuple[Array, Array], RecurrentCache]:
    """x (T, I) packed, one cell for each direction or one for all -> hidden (T, D·H), final (B, D·H), cache."""
    xp, directions, size = array_module(x), len(reverse), cells[0].weight_hh.shape[1]
    _check(x, cells, starts)
    steps = tuple(time_steps(starts, xp, reverse=right_to_left) for right_to_left in reverse)
    inputs = xp.ones((directions, len(x), x.shape[1] + 1), dtype=x.dtype)
    for d, step in enumerate(steps):
        inputs[d, :, :-1] = x[step.rows]
    halves = xp.ones((4, size, 1), x.dtype)
    halves[[0, 1, 3]] = 0.5
    halves = halves.reshape(-1, 1)                                                 # (4H, 1)
    both = xp.stack([xp.concatenate([c.weight_ih, _bias(c)[:, None]], axis=1) * halves for c in cells])
    recurrent = xp.stack([xp.ascontiguousarray((c.weight_hh * halves).T) for c in cells])     # (1 or D, H, 4H)
    gates = xp.matmul(inputs, both.swapaxes(1, 2))                                 # (D, T, 4H)
    cell, cell_tanh, hidden = xp.empty((3, directions, len(x), size), x.dtype)
    if len(x):
        lstm_steps_forward(gates, recurrent, halves[:, 0], steps[0].bounds, (cell, cell_tanh, hidden), xp)
    cache = RecurrentCache(inputs, gates, cell, cell_tanh, hidden, cells, steps, len(starts) - 1)
    return _to_packed(cache, xp), cache


@op
def recurrent_backward(dhidden: Array | None, dfinal: Array | None,
                       cache: RecurrentCache) -> tuple[Array, list[dict[str, Array]]]:
    """dhidden (T, D·H), dfinal (B, D·H), either may be None -> dx (T, I) and the gradients of each cell."""
    xp = array_module(cache.gates)
    dstates = xp.zeros_like(cache.hidden)                                          # dh without the later steps' part
    for d, (step, own) in enumerate(zip(cache.steps, _columns(cache))):
        if dhidden is not None:
            dstates[d] = dhidden[step.rows, own]
        if dfinal is not None:
            dstates[d, step.last] += dfinal[step.order, own]
    before, first = cache.steps[0].before, len(cache.steps[0].order)         # first: number of tokens without a predecessor
    dgates, carry = _local_factors(cache, before, first, xp)
    if first:
        lstm_steps_backward(dstates, dgates, carry, cache, xp)
    return _gradients(dgates, cache.hidden[:, before], first, cache, xp)


@op
def lstm_steps_forward(gates: Array, recurrent: Array, halves: Array, bounds: list[int], states: tuple[Array, Array, Array],
                       xp: ModuleType) -> None:
    """Replace gates (D, T, 4H), the products of the inputs, by the gates; write states: cell, tanh(cell), hidden."""
    cell, cell_tanh, hidden = states
    size, shift = cell.shape[2], 1 - halves                                        # σ = ½ + ½·tanh;  tanh = 0 + 1·tanh
    product = xp.empty_like(gates[:, :bounds[1]])
    kept = xp.empty_like(cell[:, :bounds[1]])
    for t, (now, after) in enumerate(zip(bounds, bounds[1:])):
        running, here = after - now, slice(now, after)
        there = slice(bounds[t - 1], bounds[t - 1] + running) if t else here
        gate = gates[:, here]
        if t:
            gate += xp.matmul(hidden[:, there], recurrent, out=product[:, :running])
        xp.tanh(gate, out=gate)
        gate *= halves
        gate += shift
        i, f, g, o = (gate[..., k * size:(k + 1) * size] for k in range(4))
        c = xp.multiply(i, g, out=cell[:, here])
        if t:
            c += xp.multiply(f, cell[:, there], out=kept[:, :running])
        xp.multiply(o, xp.tanh(c, out=cell_tanh[:, here]), out=hidden[:, here])


def _local_factors(cache: RecurrentCache, before: Array, first: int, xp: ModuleType) -> tuple[Array, Array]:
    """The factors of dc and dh in the equations above: (D, T, 4H) of the four gates, (D, T, H) of dh in dc."""
    directions, tokens, size = cache.hidden.shape
    factors, carry = xp.empty_like(cache.gates), xp.empty_like(cache.hidden)
    cell_before = xp.zeros_like(cache.cell)                                        # (D, T, H)  c'
    cell_before[:, first:] = cache.cell[:, before]

    def block(rows: slice) -> None:
        i, f, g, o = (cache.gates[:, rows, k * size:(k + 1) * size] for k in range(4))
        to_i, to_f, to_g, to_o = (factors[:, rows, k * size:(k + 1) * size] for k in range(4))
        squashed = cache.cell_tanh[:, rows]
        xp.multiply(g, i * (1 - i), out=to_i)
        xp.multiply(cell_before[:, rows], f * (1 - f), out=to_f)
        xp.multiply(i, 1 - g * g, out=to_g)
        xp.multiply(squashed, o * (1 - o), out=to_o)
        xp.multiply(o, 1 - squashed * squashed, out=carry[:, rows])

    by_rows(block, tokens, 4 * size * directions, xp)
    return factors, carry


@op
def lstm_steps_backward(dstates: Array, dgates: Array, carry: Array, cache: RecurrentCache, xp: ModuleType) -> None:
    """Complete dstates (D, T, H), which becomes dh, and replace dgates (D, T, 4H), the factors, by the gates' gradients."""
    bounds, size = cache.steps[0].bounds, dstates.shape[2]
    recurrent = xp.stack([cell.weight_hh for cell in cache.cells])                 # (1 or D, 4H, H)
    split = dgates.reshape(*dgates.shape[:2], 4, size)                             # (D, T, 4, H), a view
    dcell, product = xp.zeros_like(dstates[:, :bounds[1]]), xp.empty_like(dstates[:, :bounds[1]])
    following = 0                                                                  # sentences running at step t + 1
    for now, after in reversed(list(zip(bounds, bounds[1:]))):
        running, here = after - now, slice(now, after)
        dh, dc, spare = dstates[:, here], dcell[:, :running], product[:, :running]
        if following:
            later = dgates[:, after:after + following]
            dh[:, :following] += xp.matmul(later, recurrent, out=product[:, :following])
        dc += xp.multiply(dh, carry[:, here], out=spare)
        split[:, here, :3] *= dc[:, :, None]
        split[:, here, 3] *= dh
        dc *= cache.gates[:, here, size:2 * size]
        following = running


def _gradients(dgates: Array, hidden_before: Array, first: int, cache: RecurrentCache,
               xp: ModuleType) -> tuple[Array, list[dict[str, Array]]]:
    """dgates (D, T, 4H) -> dx (T, I) and a dictionary of gradients per cell, each from one product over all steps."""
    weights = xp.stack([cell.weight_ih for cell in cache.cells])                   # (1 or D, 4H, I)
    spread = xp.matmul(dgates, weights)                                            # (D, T, I) step order
    dx = xp.zeros(spread.shape[1:], spread.dtype)
    for step, part in zip(cache.steps, spread):
        dx[step.rows] += part                                                      # each row occurs once
    grads = []
    for number, cell in enumerate(cache.cells):
        own = [number] if len(cache.cells) > 1 else range(len(cache.steps))        # directions that use this cell
        both = sum(dgates[d].T @ cache.inputs[d] for d in own)                     # (4H, I+1)
        recurrent = sum(dgates[d, first:].T @ hidden_before[d] for d in own)       # (4H, H)
        grads.append({"weight_ih": both[:, :-1], "weight_hh": recurrent, "bias": both[:, -1]})
        if cell.bias_hh is not None:
            grads[-1]["bias_hh"] = both[:, -1].copy()                              # same gradient as the first bias
    return dx, grads


def _to_packed(cache: RecurrentCache, xp: ModuleType) -> tuple[Array, Array]:
    """Hidden states of all tokens (T, D·H) in packed order, and of the last step of each sentence (B, D·H)."""
    directions, tokens, size = cache.hidden.shape
    hidden = xp.empty((tokens, directions * size), cache.hidden.dtype)
    final = xp.zeros((cache.sentences, directions * size), cache.hidden.dtype)     # 0 for a sentence without tokens
    for step, own, states in zip(cache.steps, _columns(cache), cache.hidden):
        hidden[step.rows, own] = states
        final[step.order, own] = states[step.last]
    return hidden, final


def _columns(cache: RecurrentCache) -> list[slice]:
    """The columns of each direction in the concatenated states."""
    directions, _, size = cache.hidden.shape
    return [slice(d * size, (d + 1) * size) for d in range(directions)]


def _bias(cell: Cell) -> Array:
    return cell.bias if cell.bias_hh is None else cell.bias + cell.bias_hh


def _check(x: Array, cells: tuple[Cell, ...], starts: np.ndarray) -> None:
    """Raise ValueError, naming the argument, if shapes do not match."""
    if int(starts[-1]) != len(x):
        raise ValueError(f"starts: the last entry must be the number of rows of x, {len(x)}, got {int(starts[-1])}")
    for cell in cells:
        size = cell.weight_hh.shape[1]
        for name, shape in (("weight_ih", (4 * size, x.shape[1])), ("weight_hh", (4 * size, size)),
                            ("bias", (4 * size,)), ("bias_hh", (4 * size,))):
            value = getattr(cell, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name}: expected shape {shape} for {size} hidden units, got {value.shape}")
