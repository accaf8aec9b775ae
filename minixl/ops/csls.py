"""The nearest words in another space by cross-domain similarity local scaling (CSLS).  Conneau et al. 2018, section 2.3.

    cos(x, y)  = x · y for rows of unit length
    r(x_i)     = mean of the k largest cos(x_i, y_j) over j                          likewise r(y_j) over i
    CSLS(i, j) = 2 cos(x_i, y_j) - r(x_i) - r(y_j)                                   low for y_j that are near everything

Both steps are the same search, the k largest of  x_i · y_j - a_i - b_j  in each row, and in each column if needed: r with
a = b = 0, then the translations with a = r(x) / 2 and b = r(y) / 2, where the score is half of CSLS.

    top_products            the best columns of every row
    top_products_both_ways  the same, and the best rows of every column, from one matrix product
    mean_similarities       r(x) and r(y)

The n-by-m matrix never exists: it is computed in tiles, on all threads.  Sorting a tile would take longer than computing
it.  So each row keeps its k best products and the last of them as a threshold; a comparison finds the few products of the
next tile above it, k/t per row in tile t on average, and only these are merged.  For the first tile a threshold is the k-th
largest of the maxima of GROUPS groups of columns, since k products are at least that large.  Columns have their own best
and thresholds, one set per thread, which are merged at the end.  Equal products keep the order of their indices, so the
result does not depend on threads.  A product that is NaN is never among the best.
CUDA version: kernels/csls.cu.  Test: tests/ops/test_csls.py.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, in_parallel, op, threads
from minixl.blas import single_threaded

TILE = 1024                 # rows and columns: a tile stays in the cache, and the product is near its full rate
GROUPS = 64                 # of a first tile, if k is smaller
GPU_PRODUCTS = 1 << 26      # of the formula on a GPU at a time
DTYPES = ("float32", "float64")


class Best(NamedTuple):
    """The best partners of every row, the best first; where there are fewer than k: score -inf and index -1."""

    scores: Array    # (n, k)  x_i · y_j - a_i - b_j
    indices: Array   # (n, k)  int64, j


@op
def top_products(x: Array, y: Array, k: int, offsets: Array | None = None) -> Best:
    """x (n, H), y (m, H), offsets b (m,) -> for every row of x the k largest x_i · y_j - b_j."""
    return _search(x, y, k, None, offsets, columns=False)[0]


@op
def top_products_both_ways(x: Array, y: Array, k: int, x_offsets: Array | None = None,
                           y_offsets: Array | None = None) -> tuple[Best, Best]:
    """x (n, H), y (m, H), offsets a (n,), b (m,) -> the k largest x_i · y_j - a_i - b_j of every row, and of every column."""
    return _search(x, y, k, x_offsets, y_offsets, columns=True)


@op
def mean_similarities(x: Array, y: Array, k: int) -> tuple[Array, Array]:
    """x (n, H), y (m, H) -> r(x) (n,) and r(y) (m,), means of the k largest products, or of all if there are fewer."""
    rows, columns = _search(x, y, k, None, None, columns=True)
    return rows.scores[:, :len(y)].mean(axis=1), columns.scores[:, :len(x)].mean(axis=1)


def check_spaces(x: Array, y: Array, k: int, *offsets: tuple[str, Array | None, int]) -> None:
    """Raise ValueError unless x is (n, H) and y (m, H) of one float dtype, at least one row each, and k at least 1."""
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 2 or not len(points) or str(points.dtype) not in DTYPES:
            raise ValueError(f"{name}: expected float32 or float64 of shape (words, H) with at least one word, "
                             f"got {points.dtype} {points.shape}")
    if y.shape[1] != x.shape[1] or y.dtype != x.dtype:
        raise ValueError(f"y: expected {x.dtype} with {x.shape[1]} columns as in x, got {y.dtype} {y.shape}")
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    for name, offset, size in offsets:
        if offset is not None and (offset.shape != (size,) or offset.dtype != x.dtype):
            raise ValueError(f"{name}: expected {x.dtype} of shape ({size},), got {offset.dtype} {offset.shape}")


def _search(x: Array, y: Array, k: int, a: Array | None, b: Array | None, *, columns: bool) -> tuple[Best, Best]:
    """Return the best of every row and, if `columns`, of every column (otherwise an empty Best)."""
    check_spaces(x, y, k, ("x_offsets", a, len(x)), ("y_offsets" if columns else "offsets", b, len(y)))
    if array_module(x, y, a, b) is not np:
        return _sorted_strips(x, y, k, a, b), _sorted_strips(y, x, k, b, a) if columns else _no_best(x, 0, k)
    rows = _no_best(x, len(x), k)
    strips = iter(range(0, len(x), TILE))                              # shared by the threads: each takes the next one
    of_threads = [_no_best(x, len(y) if columns else 0, k) for _ in range(min(threads(), -(-len(x) // TILE)))]

    def work(best_of_columns: Best) -> None:
        tile = np.empty((TILE, TILE), x.dtype)
        for start in strips:
            _strip(x, y, a, b, slice(start, start + TILE), tile, rows, best_of_columns if columns else None)

    with single_threaded() as alone:
        if alone:
            in_parallel(work, of_threads)
        else:
            work(of_threads[0])
    return rows, _joined(of_threads, k)


def _strip(x: Array, y: Array, a: Array | None, b: Array | None, strip: slice, tile: Array, rows: Best,
           best_of_columns: Best | None) -> None:
    """Search TILE rows of x in all of y, tile by tile."""
    offsets = a is not None or b is not None
    points, mine = x[strip], Best(*(array[strip] for array in rows))
    if offsets:
        points = _with_two_columns(points, None if a is None else -a[strip], 1)
    for start in range(0, len(y), TILE):
        part = slice(start, start + TILE)
        others = y[part]
        if offsets:
            others = _with_two_columns(others, 1, None if b is None else -b[part])
        products = np.matmul(points, others.T, out=tile.reshape(-1)[:len(points) * len(others)].reshape(len(points), -1))
        _update(mine, products, start)
        if best_of_columns is not None:
            _update(Best(*(array[part] for array in best_of_columns)), products.T, strip.start)


def _with_two_columns(points: Array, first: Array | int | None, second: Array | int | None) -> Array:
    """Append two columns, None for zeros: (x, -a, 1) · (y, 1, -b) = x · y - a - b without a pass over the products."""
    wider = np.zeros((len(points), points.shape[1] + 2), points.dtype)
    wider[:, :-2] = points
    for column, values in ((-2, first), (-1, second)):
        if values is not None:
            wider[:, column] = values
    return wider


def _update(best: Best, products: Array, first: int) -> None:
    """Merge a tile (r, c), a matrix or its transpose, into the best of its r rows; its columns are first, first + 1, ..."""
    threshold = best.scores[:, -1]                                                     # (r,)
    if (threshold == -np.inf).any():
        above = products >= np.maximum(threshold, _bound(products, best.scores.shape[1]))[:, None]
    else:
        above = products > threshold[:, None]
    rows, columns, values = _survivors(products, above)
    if not len(rows):
        return
    begins = np.flatnonzero(np.diff(rows, prepend=-1))
    counts = np.diff(begins, append=len(rows))
    touched, k = rows[begins], best.scores.shape[1]
    number = np.repeat(np.arange(len(begins)), counts)
    scores = np.full((len(touched), k + counts.max()), -np.inf, products.dtype)
    indices = np.full(scores.shape, -1, np.int64)
    scores[:, :k], indices[:, :k] = best.scores[touched], best.indices[touched]
    place = k + np.arange(len(rows)) - begins[number]
    scores[number, place], indices[number, place] = values, columns + first
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]          # stable: of equals the lower index stays first
    best.scores[touched] = np.take_along_axis(scores, order, 1)
    best.indices[touched] = np.take_along_axis(indices, order, 1)


def _bound(products: Array, k: int) -> Array:
    """(r, c) -> (r,): at least k products of the row are that large; -inf if there are too few columns to tell."""
    groups = max(GROUPS, 2 * k)
    width = products.shape[1] // groups
    if not width:
        return np.full(len(products), -np.inf, products.dtype)
    if products.flags.c_contiguous:
        maxima = products[:, :groups * width].reshape(-1, width, groups).max(axis=1)   # (r, groups)
    else:                                                                              # a transposed matrix
        maxima = products.T[:groups * width].reshape(width, groups, -1).max(axis=0).T
    return np.partition(maxima, groups - k, axis=1)[:, groups - k]


def _survivors(products: Array, above: Array) -> tuple[Array, Array, Array]:
    """Return row, column and value of the marked products, by row, then by column; the tile may be a transposed matrix."""
    if above.flags.c_contiguous:
        flat = np.flatnonzero(above)
        rows, columns = np.divmod(flat, above.shape[1])
        return rows, columns, products.reshape(-1)[flat]
    columns, rows, values = _survivors(products.T, above.T)
    order = np.argsort(rows, kind="stable")
    return rows[order], columns[order], values[order]


def _joined(parts: list[Best], k: int) -> Best:
    """Return the best of several searches, equal scores in the order of their indices."""
    if len(parts) == 1:
        return parts[0]
    scores, indices = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    order = np.lexsort((indices, -scores))[:, :k]
    return Best(np.take_along_axis(scores, order, 1), np.take_along_axis(indices, order, 1))


def _no_best(like: Array, count: int, k: int) -> Best:
    xp = array_module(like)
    return Best(xp.full((count, k), -np.inf, like.dtype), xp.full((count, k), -1, np.int64))


def _sorted_strips(x: Array, y: Array, k: int, a: Array | None, b: Array | None) -> Best:
    """The formula on a GPU, when its kernel is turned off or has no such k: sorts whole rows, a strip at a time."""
    xp, best = array_module(x), _no_best(x, len(x), k)
    most, step = min(k, len(y)), max(1, GPU_PRODUCTS // len(y))
    for start in range(0, len(x), step):
        strip = slice(start, start + step)
        products = x[strip] @ y.T                                                      # (step, m)
        if a is not None:
            products -= a[strip, None]
        if b is not None:
            products -= b
        order = xp.argsort(-products, axis=1)[:, :most]                                # (step, most)
        best.scores[strip, :most] = xp.take_along_axis(products, order, 1)
        best.indices[strip, :most] = order
    return best
