"""Energy distance between two clouds of points, by average linkage.  Székely & Rizzo 2013; MLMA's domain loss.

    avl(a, b)  = mean over all pairs of d(a_i, b_j),       d = √clip(|a_i - b_j|², 1e-6, 1e6)
    forward    value = 2 avl(x, y) - avl(x, x) - avl(y, y)         with i = j: then value >= 0, and 0 iff x, y are equal
    backward   dx_i  = 2/(nm) Σ_j (x_i - y_j)/d_ij - 2/n² Σ_j (x_i - x_j)/d_ij      0 where clipped;  dy likewise

With z = x with y below it, and weights w = 1/n for rows of x and -1/m for rows of y, the three terms become one:

    value = -Σ_ij w_i w_j d_ij                 dz_i = -2 w_i Σ_j w_j (z_i - z_j)/d_ij
                                                    = -2 w_i (z_i Σ_j w_j R_ij - Σ_j w_j R_ij z_j),   R = 1/d

This is symmetric, so only tiles on and above the diagonal are computed, and each thread keeps only one in memory.
The forward pass already has R, so it computes the gradients too, and the backward pass only scales them: three
matrix products per tile instead of the four that a separate backward pass takes.  Tiles without common points are
computed in parallel, in rounds, so that threads never add to the same rows and the result is always the same.

|a - b|² = |a|² + |b|² - 2ab is one matrix product, but its rounding error is relative to |a|² + |b|².  To keep that small, the
centre of all points is subtracted first if it is far from the origin.  Pairs nearer than NEAR times |a|² + |b|² are
computed from their difference if there are few; a tile with many of them is computed in float64.
CUDA version: kernels/average_linkage.cu.  Checked against PyTorch in tests/ops/test_average_linkage.py.
"""
from collections.abc import Iterator
from math import fsum, sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, in_parallel, op
from minixl.blas import single_threaded

LOWEST, HIGHEST = 1e-6, 1e6               # the clip on squared distances
TILE = 512                                # points per side; smaller tiles make slower products, larger ones take more memory
STRIP = 128                               # rows of a product at a time, which keeps temporary arrays small
FEW = 1 / 64                              # largest share of a tile's pairs that is computed from differences
NEAR = {"float32": 1e-2, "float64": 1e-6}           # |a - b|² / (|a|² + |b|²) below which the product is inaccurate
NEAR_PROMOTED = 1e-9                      # the same for a tile of float32 points computed in float64
ROUNDINGS = 32                            # bound on the product's error, in units of eps · (|a|² + |b|²)


class AverageLinkageCache(NamedTuple):
    dx: Array      # (n, H)  gradients for dvalue = 1
    dy: Array      # (m, H)


class Tile(NamedTuple):
    """Points of equal weight w, and the sums for their gradient."""

    points: Array  # (t, H)  view of x or y
    grad: Array    # (t, H)  view of dx or dy: Σ_j w_j R_ij z_j until _finish
    pulls: Array   # (t,)    float64, Σ_j w_j R_ij
    norms: Array   # (t,)    float64, squared distance to the centre
    weight: float  # 1/n or -1/m


class Near(NamedTuple):
    """The p pairs of a tile to compute from their difference."""

    left: Array    # (p,)    row in the first tile
    right: Array   # (p,)    row in the second


@op
def average_linkage_forward(x: Array, y: Array) -> tuple[Array, AverageLinkageCache]:
    """x (n, H), y (m, H), at least one point each -> value, a scalar array."""
    xp = array_module(x, y)
    check_points(x, y)
    cache = AverageLinkageCache(xp.zeros_like(x), xp.zeros_like(y))
    centre = _centre(x, y)
    tiles = [*_tiles(x, cache.dx, 1 / len(x), centre), *_tiles(y, cache.dy, -1 / len(y), centre)]
    values: dict[tuple[int, int], float] = {}

    def pair(sides: tuple[int, int]) -> None:
        first, second = (tiles[side] for side in sides)
        distances = _pair(first, second, centre, x.dtype, NEAR[str(x.dtype)])
        values[sides] = -distances * first.weight * second.weight * (1 if first is second else 2)

    with single_threaded() as alone:
        for disjoint in rounds(len(tiles)):
            if alone and xp is np:
                in_parallel(pair, disjoint)
            else:
                for sides in disjoint:
                    pair(sides)
    for tile in tiles:
        _finish(tile, centre)
    return xp.asarray(fsum(values.values()), x.dtype), cache


@op
def average_linkage_backward(dvalue: Array, cache: AverageLinkageCache) -> tuple[Array, dict[str, Array]]:
    """dvalue scalar -> dx (n, H) and {"y": dy}, (m, H); for dvalue = 1 these are the cache's arrays: do not write to them."""
    if float(dvalue) == 1:
        return cache.dx, {"y": cache.dy}
    dvalue = array_module(cache.dx).asarray(dvalue, cache.dx.dtype)
    return cache.dx * dvalue, {"y": cache.dy * dvalue}


def check_points(x: Array, y: Array) -> None:
    """Raise ValueError unless x is (n, H) and y is (m, H), both float32 or both float64, n and m at least 1."""
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 2 or not len(points) or str(points.dtype) not in NEAR:
            raise ValueError(f"{name}: expected float32 or float64 of shape (points, H) with at least one point, "
                             f"got {points.dtype} {points.shape}")
    if y.shape[1] != x.shape[1] or y.dtype != x.dtype:
        raise ValueError(f"y: expected {x.dtype} with {x.shape[1]} columns as in x, got {y.dtype} {y.shape}")


def rounds(count: int) -> Iterator[list[tuple[int, int]]]:
    """Yield all pairs (i, j), i <= j < count, in rounds: no number occurs in two pairs of a round, so they can run in parallel.

    The first round pairs every number with itself; the others are those of a round-robin tournament (circle method).
    """
    yield [(i, i) for i in range(count)]
    chairs = [*range(count), *([count] if count % 2 else [])]          # an odd count: the partner of `count` sits out
    for _ in range(len(chairs) - 1):
        half = len(chairs) // 2
        couples = zip(chairs[:half], reversed(chairs[half:]), strict=True)
        yield [(min(couple), max(couple)) for couple in couples if max(couple) < count]
        chairs[1:] = [chairs[-1], *chairs[1:-1]]


def _centre(x: Array, y: Array) -> Array | None:
    """The centre (H,) of all points, or None if it is nearer to the origin than the points are to it.

    Then subtracting it would not help.
    """
    means = x.mean(axis=0), y.mean(axis=0)                                         # (H,)
    centre = (means[0] + means[1]) / 2
    spread = min(float((points.ravel() @ points.ravel()) / len(points) - mean @ mean)
                 for points, mean in zip((x, y), means, strict=True))
    return centre if float(centre @ centre) > spread else None


def _centred(points: Array, centre: Array | None) -> Array:
    return points if centre is None else points - centre


def _tiles(points: Array, grad: Array, weight: float, centre: Array | None) -> Iterator[Tile]:
    side = TILE if len(points) >= 2 * TILE else TILE // 2              # with few points, smaller tiles keep all threads busy
    for start in range(0, len(points), side):
        rows = slice(start, start + side)
        norms = _norms(points[rows], centre)
        yield Tile(points[rows], grad[rows], norms * 0, norms, weight)


def _strips(count: int) -> list[slice]:
    return [slice(start, start + STRIP) for start in range(0, count, STRIP)]


def _norms(points: Array, centre: Array | None) -> Array:
    """Squared distances (t,) to the centre in float64, STRIP points at a time."""
    xp, norms = array_module(points), []
    for rows in _strips(len(points)):
        centred = _centred(points[rows].astype(np.float64), centre)
        norms.append((centred * centred).sum(axis=1))
    return xp.concatenate(norms)


def _pair(first: Tile, second: Tile, centre: Array | None, dtype: np.dtype, near: float) -> float:
    """Return Σ d_ij over a tile (s, t); add Σ_j w_j R_ij and Σ_j w_j R_ij z_j to the sums of both sides."""
    xp, same = array_module(first.points), first is second
    a = _centred(first.points.astype(dtype, copy=False), centre)                   # (s, H)
    b = a if same else _centred(second.points.astype(dtype, copy=False), centre)   # (t, H)
    square = a @ b.T                                                               # (s, t)
    square *= dtype.type(-2)
    square += first.norms.astype(dtype)[:, None]
    square += second.norms.astype(dtype)
    if same:
        xp.fill_diagonal(square, xp.inf)                                           # leave out a point and itself
    lowest = float(square.min())
    pairs = _near_pairs(square, lowest, first, second, near)
    if pairs and dtype == np.float32 and len(pairs.left) > FEW * square.size:
        return _pair(first, second, centre, np.dtype(np.float64), NEAR_PROMOTED)
    if pairs:
        _set_exactly(square, pairs, first, second)
    if same:
        xp.fill_diagonal(square, 1)
    any_clipped = pairs is not None or lowest < LOWEST or float(square.max()) > HIGHEST
    clipped = (square < LOWEST) | (square > HIGHEST) if any_clipped else None      # (s, t)  these have no gradient
    if clipped is not None:
        xp.clip(square, LOWEST, HIGHEST, out=square)
    distances = xp.sqrt(square, out=square)
    sums = distances @ xp.ones(len(b), dtype)                                      # (s,)
    inverse = xp.reciprocal(distances, out=distances)                              # R
    if clipped is not None:
        inverse[clipped] = 0
    if same:
        xp.fill_diagonal(inverse, 0)
    if pairs:
        _pull_exactly(inverse, pairs, first, second)
    inverse *= dtype.type(second.weight)                                           # scale R, which is smaller than its products
    _pull(inverse, b, first)
    if not same:
        if first.weight != second.weight:
            inverse *= dtype.type(first.weight / second.weight)
        _pull(inverse.T, a, second)
    diagonal = len(a) * (sqrt(LOWEST) - 1) if same else 0                          # it was computed as 1
    return float(sums.sum(dtype=np.float64)) + diagonal


def _pull(weighted: Array, b: Array, tile: Tile) -> None:
    """Add wR b to the tile's gradient (s, H) and Σ_j wR_ij to its pulls; wR (s, t), b (t, H)."""
    tile.pulls[...] += weighted @ array_module(b).ones(len(b), b.dtype)
    for rows in _strips(len(weighted)):
        tile.grad[rows] += weighted[rows] @ b


def _finish(tile: Tile, centre: Array | None) -> None:
    """Replace the second sum in tile.grad by the gradient, -2w (z Σ_j w_j R_ij - Σ_j w_j R_ij z_j)."""
    scale = tile.grad.dtype.type(2 * tile.weight)
    for rows in _strips(len(tile.points)):
        tile.grad[rows] -= _centred(tile.points[rows], centre) * tile.pulls[rows].astype(tile.grad.dtype)[:, None]
    tile.grad[...] *= scale


def _near_pairs(square: Array, lowest: float, first: Tile, second: Tile, near: float) -> Near | None:
    """Pairs i != j too near for the product, except those that are certainly clipped."""
    xp = array_module(square)
    if lowest >= near * float(first.norms.max() + second.norms.max()):
        return None                                                                # the usual case
    scale = first.norms[:, None] + second.norms                                    # (s, t)
    error = ROUNDINGS * float(np.finfo(square.dtype).eps) * scale
    return Near(*xp.nonzero((square < near * scale) & (square + error > LOWEST)))


def _differences(pairs: Near, first: Tile, second: Tile) -> Iterator[tuple[slice, Array]]:
    """Yield the differences (p, H) of the near pairs in float64, TILE² numbers at a time."""
    step = max(1, (TILE * TILE) // max(1, first.points.shape[1]))
    for start in range(0, len(pairs.left), step):
        part = slice(start, start + step)
        yield part, (first.points[pairs.left[part]].astype(np.float64) - second.points[pairs.right[part]])


def _set_exactly(square: Array, pairs: Near, first: Tile, second: Tile) -> None:
    for part, difference in _differences(pairs, first, second):
        square[pairs.left[part], pairs.right[part]] = (difference * difference).sum(axis=1)


def _pull_exactly(inverse: Array, pairs: Near, first: Tile, second: Tile) -> None:
    """Remove the near pairs from R and add (z_j - z_i) R to the gradients: added separately, the two terms would cancel."""
    xp = array_module(inverse)
    for part, difference in _differences(pairs, first, second):
        left, right = pairs.left[part], pairs.right[part]
        pull = (difference * inverse[left, right][:, None]).astype(first.grad.dtype)           # (p, H)
        xp.add.at(first.grad, left, first.grad.dtype.type(-second.weight) * pull)      # CuPy subtracts only whole numbers
        if first is not second:                                                    # otherwise (j, i) is a pair too
            xp.add.at(second.grad, right, first.grad.dtype.type(first.weight) * pull)
    inverse[pairs.left, pairs.right] = 0
