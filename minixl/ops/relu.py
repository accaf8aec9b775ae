"""The rectifier of a transformer's feed-forward layer.  Vaswani et al. 2017, section 3.3.

    forward    y  = max(x, 0)
    backward   dx = dy where y > 0, else 0            at x = 0 the gradient is 0

Checked in tests/ops/test_relu.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op


class ReluCache(NamedTuple):
    y: Array    # (T, I)  a reference: the next layer keeps it, too


@op
def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """x (T, I) -> y (T, I)."""
    y = array_module(x).maximum(x, 0)
    return y, ReluCache(y)


@op
def relu_backward(dy: Array, cache: ReluCache) -> tuple[Array, dict[str, Array]]:
    """dy (T, I) -> dx (T, I)."""
    return dy * (cache.y > 0), {}
