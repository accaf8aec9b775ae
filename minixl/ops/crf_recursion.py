"""Sums over all tag sequences, for crf.py and crf_confidence.py, for all sentences of a batch together.

    A_1(j) = e^(start_j + x_1j)                      A_t(j) = Σ_i A_t-1(i) · e^(transition_ij) · e^(x_tj)
    B_n(i) = e^(end_i)                               B_t(i) = Σ_j e^(transition_ij) · e^(x_t+1,j) · B_t+1(j)
    Z      = Σ_j A_n(j) · e^(end_j)                  node_t(j) = A_t(j) · B_t(j) / Z
                                                     edge_t(i, j) = A_t-1(i) · e^(transition_ij + x_tj) · B_t(j) / Z

A and B overflow or underflow after a few tokens, so they are computed in one of two other ways:

scaled        each A_t is divided by its sum c_t (Rabiner 1989, section V.A), so that a step is one small matrix
              product, and all edges of a batch are one product too.  A term that underflows is below e^(-limit)³ of
              its sum as long as no two transition (start, end) scores differ by more than `limit`;
              the emissions may have any size.
logarithmic   log A and log B with log-sum-exp, for all other scores, including minus infinity (illegal moves).

Arrays are in step order (see steps.py).  CUDA version: kernels/crf_recursion.cu.
"""
from types import ModuleType
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op
from minixl.ops.steps import Steps


class Scores(NamedTuple):
    """One linear chain for all sentences of a packed batch."""

    emissions: Array      # (T, K)  x, in packed order
    transitions: Array    # (K, K)  [from, to]
    start: Array          # (K,)
    end: Array            # (K,)


class Scaled(NamedTuple):
    alpha: Array          # (T, K)  A divided by its sum
    emitted: Array        # (T, K)  e^(x - largest x of the token) / c
    moves: Array          # (K, K)  e^(transition - largest transition)
    finish: Array         # (K,)    e^(end - largest end)


class Logarithmic(NamedTuple):
    alpha: Array          # (T, K)  log A
    log_partition: Array  # (R,)    log Z of the sentences in step order


@op
def forward_sums(scores: Scores, steps: Steps, sentences: int) -> tuple[Array, Scaled | Logarithmic]:
    """Return log Z (B,) in float64, 0 for a sentence without tokens, and the state that `marginals` needs."""
    xp = array_module(scores.emissions)
    log_partition = xp.zeros(sentences, dtype=xp.float64)
    state: Scaled | Logarithmic
    if _fits_scaling(scores, xp):
        values, state = _scaled(scores, steps, xp)
    else:
        alpha = log_alpha(scores, steps)
        values = log_sum(alpha[steps.last] + scores.end, 1, xp)
        state = Logarithmic(alpha, values)
    log_partition[steps.order] = values
    return log_partition, state


@op
def marginals(scores: Scores, steps: Steps, state: Scaled | Logarithmic, weight: Array) -> tuple[Array, Array]:
    """Return node (T, K) in packed order, and the edges (K, K), summed over all tokens with weights (T,)."""
    xp = array_module(scores.emissions)
    in_order = weight[steps.rows]
    if isinstance(state, Scaled):
        in_steps, edges = _scaled_marginals(steps, state, in_order, xp)
    else:
        in_steps, edges = _logarithmic_marginals(scores, steps, state, in_order, xp)
    node = xp.empty_like(in_steps)
    node[steps.rows] = in_steps
    return node, edges


def log_alpha(scores: Scores, steps: Steps) -> Array:
    """log A, (T, K) in step order."""
    xp, bounds = array_module(scores.emissions), steps.bounds
    alpha = scores.emissions[steps.rows]
    moves = scores.transitions
    alpha[:len(steps.order)] += scores.start
    for before, now, after in zip(bounds, bounds[1:], bounds[2:]):
        into = alpha[before:before + after - now][:, :, None] + moves              # (n, from, to)
        alpha[now:after] += log_sum(into, 1, xp)
    return alpha


def log_beta(scores: Scores, steps: Steps) -> Array:
    """log B, (T, K) in step order."""
    xp, bounds = array_module(scores.emissions), steps.bounds
    emissions, moves = scores.emissions[steps.rows], scores.transitions
    beta = xp.empty_like(emissions)
    beta[steps.last] = scores.end
    for before, now, after in reversed(list(zip(bounds, bounds[1:], bounds[2:]))):
        onward = moves + (emissions[now:after] + beta[now:after])[:, None]         # (n, from, to)
        beta[before:before + after - now] = log_sum(onward, 2, xp)
    return beta


def log_sum(values: Array, axis: int, xp: ModuleType) -> Array:
    """log Σ e^values along one axis; minus infinity if all values are."""
    largest = values.max(axis=axis, keepdims=True)
    largest = xp.where(xp.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):                                             # log 0: there is no path
        return xp.log(xp.exp(values - largest).sum(axis=axis)) + largest.squeeze(axis)


def _fits_scaling(scores: Scores, xp: ModuleType) -> bool:
    """Whether underflow is negligible (see the top).  The limit is 29 in float32 and 236 in float64."""
    limit = -np.log(np.finfo(scores.emissions.dtype).tiny) / 3
    with np.errstate(invalid="ignore"):                                            # inf - inf: NaN, which is not <=
        return all(bool(xp.ptp(part) <= limit) for part in scores[1:])


def _scaled(scores: Scores, steps: Steps, xp: ModuleType) -> tuple[Array, Scaled]:
    """log Z (R,) of the sentences in step order, float64, and the scaled sums."""
    bounds = steps.bounds
    moves, begin, finish = (xp.exp(part - part.max()) for part in scores[1:])
    emissions = scores.emissions[steps.rows]
    largest = emissions.max(axis=1, keepdims=True)
    emitted = xp.exp(emissions - largest)
    alpha, total = xp.empty_like(emitted), xp.empty_like(largest)                  # total: c, (T, 1)
    previous = begin
    for t, (now, after) in enumerate(zip(bounds, bounds[1:])):
        here = alpha[now:after]
        if t:
            before = bounds[t - 1]
            previous = alpha[before:before + after - now] @ moves
        xp.multiply(previous, emitted[now:after], out=here)
        here /= here.sum(axis=1, keepdims=True, out=total[now:after])
    emitted /= total
    return _gather_scales(scores, steps, total, largest, alpha @ finish, xp), Scaled(alpha, emitted, moves, finish)


def _gather_scales(scores: Scores, steps: Steps, total: Array, largest: Array, finished: Array,
                   xp: ModuleType) -> Array:
    """Return log Z (R,) in float64: the sum of the logarithms of all scaling factors."""
    logs = xp.log(total[:, 0]).astype(xp.float64) + largest[:, 0]
    sums = xp.bincount(steps.sentence, weights=logs, minlength=len(steps.order))
    moves = xp.bincount(steps.sentence, minlength=len(steps.order)) - 1            # (R,) n - 1
    top, first, last = (float(part.max()) for part in scores[1:])
    return sums + moves * top + first + last + xp.log(finished[steps.last]).astype(xp.float64)


def _scaled_marginals(steps: Steps, state: Scaled, weight: Array, xp: ModuleType) -> tuple[Array, Array]:
    alpha, emitted, moves, finish = state
    bounds = steps.bounds
    beta, onward = xp.empty_like(alpha), xp.empty_like(alpha)                      # onward: emitted · beta
    beta[steps.last] = finish / (alpha[steps.last] @ finish)[:, None]
    back = xp.ascontiguousarray(moves.T)
    for before, now, after in reversed(list(zip(bounds, bounds[1:], bounds[2:]))):
        xp.multiply(emitted[now:after], beta[now:after], out=onward[now:after])
        xp.matmul(onward[now:after], back, out=beta[before:before + after - now])
    first = len(steps.order)
    edges = moves * (alpha[steps.before].T @ (onward[first:] * weight[first:, None]))
    return alpha * beta, edges


def _logarithmic_marginals(scores: Scores, steps: Steps, state: Logarithmic, weight: Array,
                           xp: ModuleType) -> tuple[Array, Array]:
    alpha, log_partition = state
    bounds, beta = steps.bounds, log_beta(scores, steps)
    onward = scores.emissions[steps.rows] + beta
    node, edges = xp.empty_like(alpha), xp.zeros_like(scores.transitions)
    for t, (now, after) in enumerate(zip(bounds, bounds[1:])):
        running = after - now
        node[now:after] = xp.exp(alpha[now:after] + beta[now:after] - log_partition[:running, None])
        if t:
            there = alpha[bounds[t - 1]:bounds[t - 1] + running] - log_partition[:running, None]
            edge = xp.exp(there[:, :, None] + scores.transitions + onward[now:after, None])   # (n, from, to)
            edges += xp.tensordot(weight[now:after], edge, axes=1)
    return node, edges
