"""The exact Gaussian error linear unit of BERT.  Hendrycks & Gimpel 2016 (arXiv:1606.08415).

    Φ(x) = (1 + erf(x/√2)) / 2            the normal distribution function,   φ(x) = exp(-x²/2) / √(2π)  its density
    forward    y  = x · Φ(x)
    backward   dx = dy · slope,           slope = Φ(x) + x · φ(x)

In float64, erf is SciPy's.  In float32 SciPy takes 15 ns per element on one core, more than the two matrix products
around the op, so with NumPy Φ comes from formula 7.1.26 of Abramowitz & Stegun.  Its error of 1.5e-7 is that of
float32 itself, and φ needs its exponential anyway:

    t = 1 / (1 + p|z|),   1 - erf(|z|) = (a₁t + a₂t² + ... + a₅t⁵) · exp(-z²)          z = x/√2

Each pass over the elements costs a twentieth of the op.  So constant factors are part of the coefficients: with
u = s / (|x| + √2/p), a multiple of t, 1 - Φ(|x|) = (b₁u + b₂u² + b₃u³ + b₄u⁴ + u⁵) · exp(-x²/2), and s makes b₅ = 1.
And y = max(x, 0) - |x| (1 - Φ(|x|)) needs no sign of x.

The cache keeps the slope instead of x, so the backward pass is one product.  Prediction needs no slope.
CUDA version: kernels/gelu.cu.  Checked against PyTorch in tests/ops/test_gelu.py.
"""
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, by_rows, op

P = 0.3275911
A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)      # Abramowitz & Stegun 7.1.26
OFFSET = sqrt(2) / P
SCALE = (A[-1] / 2) ** 0.2 * OFFSET                                          # s, which makes b₅ = 1
B = [np.float32(a / 2 * (OFFSET / SCALE) ** k) for k, a in enumerate(A[:-1], 1)]
SIGN = np.uint32(1 << 31)                                                    # the sign bit of a float32


class GeluCache(NamedTuple):
    slope: Array   # (T, I)  dy/dx; None: not computed


@op
def gelu_forward(x: Array, *, need_slope: bool = True) -> tuple[Array, GeluCache]:
    """x (T, I) -> y (T, I).  need_slope=False leaves out what only the backward pass needs."""
    xp = array_module(x)
    y: Array = xp.empty_like(x)
    slope: Array = xp.empty_like(x) if need_slope else None
    formula = _float32_block if xp is np and x.dtype == np.float32 else _exact_block
    by_rows(lambda rows: formula(xp, x[rows], y[rows], slope[rows] if need_slope else None), len(x), x.shape[1], xp, passes=24)
    return y, GeluCache(slope)


@op
def gelu_backward(dy: Array, cache: GeluCache) -> tuple[Array, dict[str, Array]]:
    """dy (T, I) -> dx (T, I)."""
    xp = array_module(dy)
    dx = xp.empty_like(dy)
    by_rows(lambda rows: xp.multiply(dy[rows], cache.slope[rows], out=dx[rows]), len(dy), dy.shape[1], xp, passes=1)
    return dx, {}


def _exact_block(xp, x: Array, y: Array, slope: Array | None) -> None:
    cdf = 0.5 * (1 + _erf(xp)(x / sqrt(2)))
    y[...] = x * cdf
    if slope is not None:
        slope[...] = cdf + x * xp.exp(-0.5 * x * x) / sqrt(2 * pi)


def _erf(xp):
    if xp is np:
        from scipy.special import erf                                  # takes longer to import than NumPy: only for float64
        return erf
    from cupyx.scipy.special import erf as cupy_erf                    # the same function on the GPU
    return cupy_erf


def _float32_block(xp, x: Array, y: Array, slope: Array | None) -> None:
    """The same in float32 with formula 7.1.26, on blocks that fit the CPU cache; `y` serves as scratch."""
    size = np.abs(x)
    u = size + np.float32(OFFSET)
    np.divide(np.float32(SCALE), u, out=u)
    density = np.multiply(x, x, out=y)
    density *= np.float32(-0.5)
    np.exp(density, out=density)                                       # √(2π) φ(x) = exp(-z²)
    tail = u + B[-1]
    for b in reversed(B[:-1]):                                         # Horner: (((u + b₄)u + b₃)u + ...)u
        tail *= u
        tail += b
    tail *= u
    tail *= density                                                    # 1 - Φ(|x|)
    if slope is not None:
        np.multiply(density, np.float32(1 / sqrt(2 * pi)), out=slope)
        slope *= x
        np.subtract(np.float32(0.5), tail, out=u)                      # Φ(|x|) - 1/2, at least 0
        bits = np.bitwise_and(x.view(np.uint32), SIGN, out=y.view(np.uint32))
        bits ^= u.view(np.uint32)                                      # Φ(x) - 1/2; np.copysign takes twice as long
        slope += y
        slope += np.float32(0.5)
    tail *= size
    np.maximum(x, 0, out=y)
    y -= tail
