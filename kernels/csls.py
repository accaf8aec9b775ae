"""Launch kernels/csls.cu.  Same contract as minixl.ops.csls."""
from __future__ import annotations

import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import block_threads, blocks, check, float32_only, size
from minixl.ops import csls as op
from minixl.ops.csls import Best

TILE = 64             # rows per block in version 2
FILL = 512            # enough blocks for the largest devices (132 processors x 3 or 4 blocks at a time)
THREADS = 256


@float32_only(op.top_products)
def top_products(x: Array, y: Array, k: int, offsets: Array | None = None, *, version: int = 2, threads: int = THREADS) -> Best:
    """x (n, H), y (m, H), offsets b (m,) -> for every row of x the k largest x_i · y_j - b_j."""
    op.check_spaces(x, y, k, ("offsets", offsets, len(y)))
    return _search(x, y, k, None, offsets, version, threads)[0]


@float32_only(op.top_products_both_ways)
def top_products_both_ways(x: Array, y: Array, k: int, x_offsets: Array | None = None, y_offsets: Array | None = None, *,
                           version: int = 2, threads: int = THREADS) -> tuple[Best, Best]:
    """x (n, H), y (m, H), offsets a (n,), b (m,) -> the best of every row, and of every column, by a search of its own."""
    op.check_spaces(x, y, k, ("x_offsets", x_offsets, len(x)), ("y_offsets", y_offsets, len(y)))
    return (_search(x, y, k, x_offsets, y_offsets, version, threads)[0],
            _search(y, x, k, y_offsets, x_offsets, version, threads)[0])


@float32_only(op.mean_similarities)
def mean_similarities(x: Array, y: Array, k: int, *, version: int = 2, threads: int = THREADS) -> tuple[Array, Array]:
    """x (n, H), y (m, H) -> r(x) (n,) and r(y) (m,), means of the k largest products, or of all if there are fewer."""
    op.check_spaces(x, y, k)
    return _search(x, y, k, None, None, version, threads)[1], _search(y, x, k, None, None, version, threads)[1]


def _search(x: Array, y: Array, k: int, a: Array | None, b: Array | None, version: int, threads: int) -> tuple[Best, Array]:
    """Return the best of every row and their means.  `threads` is the block of all kernels except version 2 (256)."""
    xp, (n, hidden), m = array_module(x), x.shape, len(y)
    a, b = (xp.zeros(count, np.float32) if offset is None else offset for offset, count in ((a, n), (b, m)))
    for name, array, shape in (("x", x, (n, hidden)), ("y", y, (m, hidden)), ("x_offsets", a, (n,)), ("y_offsets", b, (m,))):
        check(name, array, shape)
    sizes = size("n", n), size("m", m), size("H", hidden), size("k", k)
    size("n + m", n + m + TILE)
    rows = blocks(n, TILE)
    segments = max(1, min(blocks(m, TILE), blocks(FILL, rows))) if version == 2 else 1
    parts = kernels.empty(x, (segments, n, k)), kernels.empty(x, (segments, n, k), np.int64)
    grid, block = ((rows, segments), (256,)) if version == 2 else ((blocks(n, threads),), block_threads(threads))
    kernels.load("csls.cu", f"csls_v{version}")(grid, block, (x, y, a, b, *parts, *sizes))
    best, means = Best(kernels.empty(x, (n, k)), kernels.empty(x, (n, k), np.int64)), kernels.empty(x, (n,))
    kernels.load("csls.cu", "csls_merge")((blocks(n, threads),), block_threads(threads),
                                          (*parts, *best, means, sizes[0], sizes[3], size("segments", segments),
                                           size("counted", min(k, m))))
    return best, means
