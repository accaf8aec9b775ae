"""Softmax and log-softmax over the last axis.

    softmax        p = exp(x - max x) / Σ exp(x - max x)          dx = p · (dp - Σ_k dp_k p_k)
    log-softmax    y = x - max x - log Σ exp(x - max x)           dx = dy - exp(y) · Σ_k dy_k

A score of -inf rules a class out: its probability and its gradient are exactly zero.  Callers must not pass a row that is
all -inf.  Checked in tests/ops/test_softmax.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, by_rows, op

SHORT = 96     # classes: NumPy finds the largest of shorter rows faster in columns, the copy included


class SoftmaxCache(NamedTuple):
    probs: Array      # (..., K)


class LogSoftmaxCache(NamedTuple):
    log_probs: Array  # (..., K)


@op
def softmax_forward(x: Array) -> tuple[Array, SoftmaxCache]:
    """x (..., K) -> probabilities (..., K)."""
    xp = array_module(x)
    probs = x - row_maxima(x)
    xp.exp(probs, out=probs)
    probs /= probs.sum(axis=-1, keepdims=True)
    return probs, SoftmaxCache(probs)


@op
def softmax_backward(dprobs: Array, cache: SoftmaxCache) -> tuple[Array, dict[str, Array]]:
    """dprobs (..., K) -> dx (..., K)."""
    probs = cache.probs
    dx = dprobs * probs
    dx -= probs * dx.sum(axis=-1, keepdims=True)
    return dx, {}


@op
def log_softmax_forward(x: Array) -> tuple[Array, LogSoftmaxCache]:
    """x (..., K) -> log-probabilities (..., K)."""
    xp, classes = array_module(x), x.shape[-1]
    log_probs = xp.empty(x.shape, x.dtype)
    scores, results = x.reshape(-1, classes), log_probs.reshape(-1, classes)           # views

    def block(rows: slice) -> None:
        shifted = xp.subtract(scores[rows], row_maxima(scores[rows]), out=results[rows])
        shifted -= xp.log(xp.einsum("nk->n", xp.exp(shifted)))[:, None]

    by_rows(block, len(scores), classes, xp, passes=6)
    return log_probs, LogSoftmaxCache(log_probs)


@op
def log_softmax_backward(dy: Array, cache: LogSoftmaxCache) -> tuple[Array, dict[str, Array]]:
    """dy (..., K) -> dx (..., K)."""
    xp = array_module(dy)
    return dy - xp.exp(cache.log_probs) * dy.sum(axis=-1, keepdims=True), {}


def row_maxima(x: Array) -> Array:
    """x (..., K) -> the largest of each row (..., 1)."""
    xp, classes = array_module(x), x.shape[-1]
    if xp is np and classes < SHORT:
        return np.ascontiguousarray(x.reshape(-1, classes).T).max(axis=0).reshape(*x.shape[:-1], 1)
    return x.max(axis=-1, keepdims=True)
