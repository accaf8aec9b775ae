"""Launch kernels/average_linkage.cu.  Same contract and cache as minixl.ops.average_linkage."""
import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import block_threads, blocks, check, float32_only, size
from minixl.ops import average_linkage as op
from minixl.ops.average_linkage import AverageLinkageCache

TILE = 64             # rows per block in version 2
FILL = 512            # enough blocks for the largest devices (132 processors x 3 or 4 blocks at a time)
THREADS = 256


@float32_only(op.average_linkage_forward)
def average_linkage_forward(x: Array, y: Array, *, version: int = 2,
                            threads: int = THREADS) -> tuple[Array, AverageLinkageCache]:
    """x (n, H), y (m, H) -> value, a scalar array.  `threads` is the block of all kernels except version 2 (256)."""
    op.check_points(x, y)
    n, m, hidden = len(x), len(y), x.shape[1]
    check("x", x, (n, hidden))
    check("y", y, (m, hidden))
    sizes = size("n", n), size("m", m), size("H", hidden)
    size("n + m", n + m + TILE)
    dx, dy, value = (kernels.empty(x, shape) for shape in ((n, hidden), (m, hidden), (1,)))
    tiles = blocks(n + m, TILE)
    segments = max(1, min(tiles, blocks(FILL, tiles))) if version == 2 else 1
    pull = array_module(x).zeros((segments, n + m, hidden), np.float32)
    sums = kernels.empty(x, (segments * tiles if version == 2 else n + m,), np.float64)
    grid, block = ((tiles, segments), (256,)) if version == 2 else ((n + m,), block_threads(threads))
    _load(f"average_linkage_v{version}")(grid, block, (x, y, pull, sums, *sizes))
    if hidden:
        _load("average_linkage_grad")((blocks(dx.size + dy.size, threads),), block_threads(threads),
                                      (pull, dx, dy, *sizes, size("segments", segments)))
    _load("average_linkage_value")((1,), block_threads(threads), (sums, value, size("sums", len(sums))))
    return value.reshape(()), AverageLinkageCache(dx, dy)


def _load(function: str):
    return kernels.load("average_linkage.cu", function)
