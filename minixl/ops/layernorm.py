"""Layer normalisation over the last axis.  Ba et al. 2016 (arXiv:1607.06450), eq. 3-4; BERT sets eps=1e-12.

    forward    centered = x - mean(x)                        mean over the last axis, H
               rstd     = 1 / sqrt(mean(centered²) + eps)
               norm     = centered · rstd
               y        = norm · weight + bias
    backward   dnorm    = dy · weight
               dx       = rstd · (dnorm - mean(dnorm) - norm · mean(dnorm · norm))
               dweight  = Σ dy · norm,   dbias = Σ dy        sums over rows

CUDA version: kernels/layernorm.cu.  Checked against PyTorch in tests/ops/test_layernorm.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, by_rows, op


class LayerNormCache(NamedTuple):
    norm: Array    # (T, H)  normalised input, kept instead of x
    rstd: Array    # (T, 1)  reciprocal standard deviation
    weight: Array  # (H,)    a reference, not a copy


@op
def layernorm_forward(x: Array, weight: Array, bias: Array, eps: float = 1e-12) -> tuple[Array, LayerNormCache]:
    """x (T, H), weight (H,), bias (H,) -> y (T, H)."""
    xp = array_module(x, weight, bias)
    y, norm, rstd = xp.empty_like(x), xp.empty_like(x), xp.empty((len(x), 1), x.dtype)
    hidden = x.shape[1]

    def block(rows: slice) -> None:
        centered, out = norm[rows], y[rows]                                    # (t, H) views
        xp.subtract(x[rows], x[rows].mean(axis=1, keepdims=True), out=centered)
        xp.multiply(centered, centered, out=out)
        rstd[rows] = 1 / xp.sqrt(out.sum(axis=1, keepdims=True) / hidden + eps)
        centered *= rstd[rows]                                                 # now norm
        xp.multiply(centered, weight, out=out)
        out += bias

    by_rows(block, len(x), hidden, xp, passes=8)
    return y, LayerNormCache(norm, rstd, weight)


@op
def layernorm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, dict[str, Array]]:
    """dy (T, H) -> dx (T, H) and the gradients of weight and bias, (H,) each."""
    xp = array_module(dy)
    norm, rstd, weight = cache
    dx, product = xp.empty_like(dy), xp.empty_like(dy)                         # product: dy · norm
    mean = xp.full(dy.shape[1], 1 / dy.shape[1], dy.dtype)                     # multiplying by it gives a row's mean

    def block(rows: slice) -> None:
        dnorm, projection = dx[rows], product[rows]                            # (t, H) views
        xp.multiply(dy[rows], norm[rows], out=projection)
        slope = projection @ (weight * mean)                                   # (t,)  mean(dnorm · norm)
        xp.multiply(dy[rows], weight, out=dnorm)
        dnorm -= (dnorm @ mean)[:, None]
        dnorm -= norm[rows] * slope[:, None]
        dnorm *= rstd[rows]

    by_rows(block, len(dy), dy.shape[1], xp, passes=8)
    ones = xp.ones(len(dy), dy.dtype)
    return dx, {"weight": ones @ product, "bias": ones @ dy}
