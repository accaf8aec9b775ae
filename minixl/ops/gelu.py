"""The exact Gaussian error linear unit of BERT.  Hendrycks & Gimpel 2016 (arXiv:1606.08415).

    Φ(x) = (1 + erf(x/√2)) / 2            the normal distribution function,   φ(x) = exp(-x²/2) / √(2π)  its density
    forward    y  = x · Φ(x)
    backward   dx = dy · slope,           slope = Φ(x) + x · φ(x)

In float64, erf is SciPy's.  In float32 SciPy takes 15 ns per element on one core, more than the two matrix products
around the op, so with NumPy Φ comes from formula 7.1.26 of Abramowitz & Stegun.  Its error of 1.5e-7 is that of
float32 itself, and φ needs its exponential anyway (0.8 ns per element on two cores):

    t = 1 / (1 + p|z|),   1 - erf(|z|) = (a₁t + a₂t² + ... + a₅t⁵) · exp(-z²)          z = x/√2

Constant factors are part of the coefficients: u = t√2/p = 1 / (|x| + √2/p), and with bₖ = aₖ/2 · (√2/p)ᵏ the polynomial
b₁u + ... + b₅u⁵ is that of 1 - Φ(|x|).  Each pass over the elements costs a twentieth of the op.

The cache keeps the slope instead of x, so the backward pass is one product.
CUDA version: kernels/gelu.cu.  Checked against PyTorch in tests/ops/test_gelu.py.
"""
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, by_rows, op

P = 0.3275911
A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)      # Abramowitz & Stegun 7.1.26
B = [np.float32(a / 2 * (sqrt(2) / P) ** k) for k, a in enumerate(A, 1)]
SIGN = np.uint32(1 << 31)                                                    # the sign bit of a float32


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
    u = np.abs(x)
    u += np.float32(sqrt(2) / P)
    np.reciprocal(u, out=u)
    density = np.multiply(x, x, out=slope)
    density *= np.float32(-0.5)
    np.exp(density, out=density)                                       # √(2π) φ(x) = exp(-z²)
    tail = np.multiply(u, B[-1], out=y)
    for b in reversed(B[:-1]):                                         # Horner: ((b₅u + b₄)u + ...)u
        tail += b
        tail *= u
    tail *= density                                                    # 1 - Φ(|x|)
    tail -= np.float32(0.5)                                            # 1/2 - Φ(|x|), at most 0
    bits = np.bitwise_and(x.view(np.uint32), SIGN, out=u.view(np.uint32))
    bits ^= tail.view(np.uint32)                                       # u = 1/2 - Φ(x); np.copysign takes twice as long
    cdf = np.subtract(np.float32(0.5), u, out=u)                       # Φ(x)
    np.multiply(x, cdf, out=y)
    density *= np.float32(1 / sqrt(2 * pi))
    density *= x
    density += cdf                                                     # now the slope
