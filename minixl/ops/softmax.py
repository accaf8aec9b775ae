"""Softmax and log-softmax over the last axis.

    softmax        p = exp(x - max x) / Σ exp(x - max x)          dx = p · (dp - Σ_k dp_k p_k)
    log-softmax    y = x - max x - log Σ exp(x - max x)           dx = dy - exp(y) · Σ_k dy_k

A score of -inf rules a class out: its probability and its gradient are exactly zero.  Callers must not pass a row that is
all -inf.  Checked in tests/ops/test_softmax.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op


class SoftmaxCache(NamedTuple):
    probs: Array      # (..., K)


class LogSoftmaxCache(NamedTuple):
    log_probs: Array  # (..., K)


@op
def softmax_forward(x: Array) -> tuple[Array, SoftmaxCache]:
    """x (..., K) -> probabilities (..., K)."""
    xp = array_module(x)
    probs = x - x.max(axis=-1, keepdims=True)
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
    xp = array_module(x)
    shifted = x - x.max(axis=-1, keepdims=True)
    log_probs = shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))
    return log_probs, LogSoftmaxCache(log_probs)


@op
def log_softmax_backward(dy: Array, cache: LogSoftmaxCache) -> tuple[Array, dict[str, Array]]:
    """dy (..., K) -> dx (..., K)."""
    xp = array_module(dy)
    return dy - xp.exp(cache.log_probs) * dy.sum(axis=-1, keepdims=True), {}
