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
    mean = xp.full(hidden, 1 / hidden, x.dtype)                                # multiplying by it gives a row's mean

    def block(rows: slice) -> None:
        centered, out = norm[rows], y[rows]                                    # (t, H) views
        xp.subtract(x[rows], xp.einsum("th,h->t", x[rows], mean)[:, None], out=centered)
        squares = xp.einsum("th,th->t", centered, centered)                    # (t,)  in one pass, without an array of squares
        rstd[rows] = 1 / xp.sqrt(squares[:, None] / hidden + eps)
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
    dx = xp.empty_like(dy)
    mean = xp.full(dy.shape[1], 1 / dy.shape[1], dy.dtype)

    def block(rows: slice) -> None:
        dnorm = dx[rows]                                                       # (t, H) view
        xp.multiply(dy[rows], weight, out=dnorm)
        slope = xp.einsum("th,th->t", dnorm, norm[rows]) / dy.shape[1]         # (t,)  mean(dnorm · norm)
        dnorm -= xp.einsum("th,h->t", dnorm, mean)[:, None]
        dnorm -= norm[rows] * slope[:, None]
        dnorm *= rstd[rows]

    by_rows(block, len(dy), dy.shape[1], xp, passes=8)
    return dx, {"weight": xp.einsum("th,th->h", dy, norm), "bias": xp.ones(len(dy), dy.dtype) @ dy}
