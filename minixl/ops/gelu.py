"""The exact Gaussian error linear unit of BERT.  Hendrycks & Gimpel 2016 (arXiv:1606.08415).

    Φ(x) = (1 + erf(x/√2)) / 2            the normal distribution function,   φ(x) = exp(-x²/2) / √(2π)  its density
    forward    y  = x · Φ(x)
    backward   dx = dy · slope,           slope = Φ(x) + x · φ(x)

In float64, erf is SciPy's.  In float32 SciPy takes 15 ns per element on one core, more than the two matrix products
around the op, so with NumPy Φ comes from formula 7.1.26 of Abramowitz & Stegun.  Its error of 1.5e-7 is that of
float32 itself, and φ needs its exponential anyway (0.8 ns per element on two cores):

    t = 1 / (1 + p|z|),   1 - erf(|z|) = (a₁t + a₂t² + ... + a₅t⁵) · exp(-z²)          z = x/√2

The cache keeps the slope instead of x, so the backward pass is one product.
CUDA version: kernels/gelu.cu.  Checked against PyTorch in tests/ops/test_gelu.py.
"""
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, by_rows, op

P = 0.3275911
A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)      # Abramowitz & Stegun 7.1.26


class GeluCache(NamedTuple):
    slope: Array   # (T, I)  dy/dx


@op
def gelu_forward(x: Array) -> tuple[Array, GeluCache]:
    """x (T, I) -> y (T, I)."""
    xp = array_module(x)
    y, slope = xp.empty_like(x), xp.empty_like(x)
    formula = _float32_block if xp is np and x.dtype == np.float32 else _exact_block
    by_rows(lambda rows: formula(xp, x[rows], y[rows], slope[rows]), len(x), x.shape[1], xp, passes=24)
    return y, GeluCache(slope)


@op
def gelu_backward(dy: Array, cache: GeluCache) -> tuple[Array, dict[str, Array]]:
    """dy (T, I) -> dx (T, I)."""
    xp = array_module(dy)
    dx = xp.empty_like(dy)
    by_rows(lambda rows: xp.multiply(dy[rows], cache.slope[rows], out=dx[rows]), len(dy), dy.shape[1], xp, passes=1)
    return dx, {}


def _exact_block(xp, x: Array, y: Array, slope: Array) -> None:
    cdf = 0.5 * (1 + _erf(xp)(x / sqrt(2)))
    y[...] = x * cdf
    slope[...] = cdf + x * xp.exp(-0.5 * x * x) / sqrt(2 * pi)


def _erf(xp):
    if xp is np:
        from scipy.special import erf                                  # takes longer to import than NumPy: only for float64
        return erf
    from cupyx.scipy.special import erf as cupy_erf                    # the same function on the GPU
    return cupy_erf


def _float32_block(xp, x: Array, y: Array, slope: Array) -> None:
    """The same in float32 with formula 7.1.26, on blocks that fit the CPU cache; `slope` and `y` serve as scratch."""
    t = np.abs(x)
    t *= np.float32(P / sqrt(2))
    t += np.float32(1)
    np.reciprocal(t, out=t)
    density = np.multiply(x, x, out=slope)
    density *= np.float32(-0.5)
    np.exp(density, out=density)                                       # √(2π) φ(x) = exp(-z²)
    tail = np.multiply(t, np.float32(A[-1]), out=y)
    for a in reversed(A[:-1]):                                         # Horner: ((a₅t + a₄)t + ...)t
        tail += np.float32(a)
        tail *= t
    tail *= density
    tail *= np.float32(0.5)                                            # 1 - Φ(|x|)
    cdf = np.subtract(np.float32(0.5), tail, out=t)
    np.copysign(cdf, x, out=cdf)
    cdf += np.float32(0.5)                                             # Φ(x)
    np.multiply(x, cdf, out=y)
    density *= np.float32(1 / sqrt(2 * pi))
    density *= x
    density += cdf                                                     # now the slope
