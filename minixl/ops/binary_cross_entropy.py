"""Binary cross-entropy from a logit, mean over N.

    forward    loss = 1/N Σ  softplus(s) - t · s              softplus(s) = log(1 + exp(s)) = max(s, 0) + log1p(exp(-|s|))
    backward   ds   = dloss/N · (σ(s) - t)

The targets t may be soft.  With t it is a discriminator's loss, with 1 - t the generator's (Keung et al. 2019, alg. 1).
Checked in tests/ops/test_binary_cross_entropy.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op


class BinaryCrossEntropyCache(NamedTuple):
    logits: Array   # (N,)
    targets: Array  # (N,)


@op
def binary_cross_entropy_forward(logits: Array, targets: Array) -> tuple[Array, BinaryCrossEntropyCache]:
    """logits (N,), targets (N,) in [0, 1] -> loss, a scalar array."""
    xp = array_module(logits, targets)
    softplus = xp.maximum(logits, 0) + xp.log1p(xp.exp(-xp.abs(logits)))
    return (softplus - targets * logits).mean(), BinaryCrossEntropyCache(logits, targets)


@op
def binary_cross_entropy_backward(dloss: Array, cache: BinaryCrossEntropyCache) -> tuple[Array, dict[str, Array]]:
    """dloss scalar -> dlogits (N,)."""
    logits, targets = cache
    return (sigmoid(logits) - targets) * (dloss / logits.size), {}


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), computed with tanh, which never overflows."""
    xp = array_module(x)
    return 0.5 * (1 + xp.tanh(0.5 * x))
