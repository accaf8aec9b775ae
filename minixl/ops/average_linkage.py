"""Energy distance between two clouds of points, by average linkage.  Bao et al. 2019, "Low-resource ... MLMA", section 3.

    avl(a, b)  = mean over all pairs of d(a_i, b_j),       d = √clip(|a_i - b_j|², 1e-6, 1e6)
    forward    value = 2 avl(x, y) - avl(x, x) - avl(y, y)         pairs with itself included: value >= 0, 0 iff equal
    backward   dx_i  = 2/(nm) Σ_j (x_i - y_j)/d_ij - 2/n² Σ_j (x_i - x_j)/d_ij      0 where clipped;  dy likewise

With z = x and y one under the other, and the weights w = 1/n for rows of x and -1/m for rows of y, the three terms are one:

    value = -Σ_ij w_i w_j d_ij                 dz_i = -2 w_i Σ_j w_j (z_i - z_j)/d_ij
                                                    = -2 w_i (z_i Σ_j w_j R_ij - Σ_j w_j R_ij z_j),   R = 1/d

This is symmetric, so only tiles on and above the diagonal are computed, and no more than one tile is in memory.
The forward pass has R in its hands and computes the gradient at once; the backward pass only scales it.  That takes 3
matrix products a tile where computing it later would take 4; a value alone would need 1.

|a - b|² = |a|² + |b|² - 2ab is one matrix product, but wrong by some roundings of |a|² + |b|².  Subtracting the centre
of all points first makes that small.  Where the points still lie nearer than NEAR times it, few such pairs are computed
from their difference, and a tile with many of them in float64.
CUDA version: kernels/average_linkage.cu.  Checked against PyTorch in tests/ops/test_average_linkage.py.
"""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, has_kernel

LOWEST, HIGHEST = 1e-6, 1e6           # the clip on squared distances
TILE = 512                            # points a side: the fastest of 128 ... 1024 at 2048 x 512
FEW = 64                              # a tile of n by m points has few near pairs when they are at most nm/FEW
NEAR = {"float32": 1e-3, "float64": 1e-6}      # squared distance over |a|² + |b|² below which a product is too coarse
NEAR_AGAIN = 1e-10                    # the same for a tile of float32 points that is computed in float64


class AverageLinkageCache(NamedTuple):
    dx: Array      # (n, H)  gradient for dvalue = 1
    dy: Array      # (m, H)


class Tile(NamedTuple):
    """Points that share a weight, and where their gradient is added up."""

    points: Array  # (t, H)  view of x or y
    grad: Array    # (t, H)  view of dx or dy
    weight: float


@has_kernel
def average_linkage_forward(x: Array, y: Array) -> tuple[Array, AverageLinkageCache]:
    """x (n, H), y (m, H), n and m at least 1 -> value, a scalar array."""
    xp = array_module(x, y)
    check_points(x, y)
    cache = AverageLinkageCache(xp.zeros_like(x), xp.zeros_like(y))
    centre = (x.mean(axis=0) + y.mean(axis=0)) / 2                                     # (H,)
    tiles = [*_tiles(x, cache.dx, 1 / len(x)), *_tiles(y, cache.dy, -1 / len(y))]
    value = 0.0
    for i, first in enumerate(tiles):
        a = first.points - centre                                                      # (t, H)
        value += _pair(a, a, first, first, xp)
        for second in tiles[i + 1:]:
            value += 2 * _pair(a, second.points - centre, first, second, xp)
    for tile in tiles:
        tile.grad[...] *= -2 * tile.weight
    return xp.asarray(-value, dtype=x.dtype), cache


@has_kernel
def average_linkage_backward(dvalue: Array, cache: AverageLinkageCache) -> tuple[Array, dict[str, Array]]:
    """dvalue scalar -> dx (n, H) and {"y": dy (m, H)}."""
    scale = cache.dx.dtype.type(1) * dvalue
    return cache.dx * scale, {"y": cache.dy * scale}


def check_points(x: Array, y: Array) -> None:
    """ValueError unless x and y are (n, H) and (m, H) floats of one dtype, with at least one point each."""
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 2 or not len(points) or str(points.dtype) not in NEAR:
            raise ValueError(f"{name}: expected float32 or float64 of shape (points, H) with at least one point, "
                             f"got {points.dtype} {points.shape}")
    if y.shape[1] != x.shape[1] or y.dtype != x.dtype:
        raise ValueError(f"y: expected {x.dtype} of shape (points, {x.shape[1]}) like x, got {y.dtype} {y.shape}")


def _tiles(points: Array, grad: Array, weight: float) -> Iterator[Tile]:
    for start in range(0, len(points), TILE):
        yield Tile(points[start:start + TILE], grad[start:start + TILE], weight)


def _pair(a: Array, b: Array, first: Tile, second: Tile, xp, near: float | None = None) -> float:
    """Σ w_i w_j d_ij of one tile; adds Σ_j w_j (z_i - z_j)/d_ij to both gradients.  a (s, H), b (t, H) are centred."""
    square, size = _squares(a, b, xp), None                                            # (s, t)
    if a is b:
        xp.fill_diagonal(square, xp.inf)                                               # coincides; no need to look at it
    near = near or NEAR[str(a.dtype)]
    left = right = None
    if len(a) > 0 and float(square.min()) < near * (_largest(a, xp) + _largest(b, xp)):
        left, right = _near_pairs(square, a, b, near, xp)                              # (p,) rows and columns
        if a.dtype == np.float32 and len(left) > square.size // FEW:
            a64 = a.astype(np.float64)
            return _pair(a64, a64 if a is b else b.astype(np.float64), first, second, xp, NEAR_AGAIN)
    if a is b:
        xp.fill_diagonal(square, 0)
    total = 0.0
    if left is not None and len(left):
        total = _exact_pairs(left, right, square, a, b, first, second, xp)
    inverse, size = _distances(square, xp)                                             # (s, t), Σ d
    row_sums = inverse.sum(axis=1)[:, None]                                            # (s, 1)
    product = inverse @ b                                                              # (s, H)
    xp.subtract(row_sums * a, product, out=product)
    product *= product.dtype.type(second.weight)
    first.grad[...] += product
    if a is not b:
        product = inverse.T @ a                                                        # (t, H)
        xp.subtract(inverse.sum(axis=0)[:, None] * b, product, out=product)
        product *= product.dtype.type(first.weight)
        second.grad[...] += product
    return (size + total) * first.weight * second.weight
