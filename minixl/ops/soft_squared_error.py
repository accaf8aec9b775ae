"""Mean squared error between softmax(logits) and target distributions: AdvPicker's distillation loss (eq. 8).

    forward    p = softmax(logits),   loss = 1/(N K) Σ (p - q)²
    backward   r = p - q,   dlogits = dloss · 2/(N K) · p · (r - Σ_k p_k r_k)

Checked in tests/ops/test_soft_squared_error.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op
from minixl.ops.softmax import SoftmaxCache, softmax_backward, softmax_forward


class SoftSquaredErrorCache(NamedTuple):
    difference: Array      # (N, K)  p - q
    softmax: SoftmaxCache


@op
def soft_squared_error_forward(logits: Array, targets: Array) -> tuple[Array, SoftSquaredErrorCache]:
    """logits (N, K), targets (N, K) distributions q -> loss, a scalar array."""
    array_module(logits, targets)
    probs, softmax = softmax_forward(logits)
    difference = probs - targets
    return (difference * difference).mean(), SoftSquaredErrorCache(difference, softmax)


@op
def soft_squared_error_backward(dloss: Array, cache: SoftSquaredErrorCache) -> tuple[Array, dict[str, Array]]:
    """dloss scalar -> dlogits (N, K)."""
    return softmax_backward(cache.difference * (2 * dloss / cache.difference.size), cache.softmax)
