"""Affine map of the last axis.

    forward    y = x · weightᵀ + bias                    weight as in PyTorch and Hugging Face: (out, in)
    backward   dx = dy · weight,   dweight = dyᵀ · x,   dbias = Σ dy

BLAS computes the products; they are most of a transformer's work.  Checked in tests/ops/test_linear.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, by_rows, op


class LinearCache(NamedTuple):
    x: Array       # (T, in)     a reference, not a copy
    weight: Array  # (out, in)   a reference, not a copy


@op
def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, LinearCache]:
    """x (T, in), weight (out, in), bias (out,) -> y (T, out)."""
    xp = array_module(x, weight, bias)
    y = x @ weight.T                                                   # (T, out)

    def add_bias(rows: slice) -> None:
        y[rows] += bias

    by_rows(add_bias, len(y), y.shape[1], xp, passes=1)
    return y, LinearCache(x, weight)


@op
def linear_backward(dy: Array, cache: LinearCache, *, need_dx: bool = True,
                    need_grads: bool = True) -> tuple[Array, dict[str, Array]]:
    """dy (T, out) -> dx (T, in) and the gradients of weight (out, in) and bias (out,).

    need_dx=False skips the product for dx, which nothing needs above frozen layers; dx is then None.  need_grads=False skips
    those for weight and bias, which nothing needs in a frozen layer that a gradient passes through; there are then none.
    """
    xp = array_module(dy)
    x, weight = cache
    dx = dy @ weight if need_dx else None                              # (T, in)
    if not need_grads:
        return dx, {}
    ones = xp.ones(len(dy), dy.dtype)
    return dx, {"weight": dy.T @ x, "bias": ones @ dy}                 # a sum over rows as a product, because BLAS is faster
