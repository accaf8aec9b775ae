"""Launch kernels/gelu.cu.  Same contract and cache as minixl.ops.gelu."""
import numpy as np

from minixl import kernels
from minixl.backend import Array
from minixl.kernels import block_threads, capped_grid, check, float32_only
from minixl.ops import gelu as op
from minixl.ops.gelu import GeluCache

THREADS = 256


@float32_only(op.gelu_forward)
def gelu_forward(x: Array, *, need_slope: bool = True, threads: int = THREADS) -> tuple[Array, GeluCache]:
    """x (T, I) -> y (T, I).  The kernel computes the slope in any case."""
    check("x", x, x.shape)
    y, slope = kernels.empty(x, x.shape), kernels.empty(x, x.shape)
    _launch("gelu_forward", threads, x, y, slope)
    return y, GeluCache(slope)


@float32_only(op.gelu_backward)
def gelu_backward(dy: Array, cache: GeluCache, *, threads: int = THREADS) -> tuple[Array, dict[str, Array]]:
    """dy (T, I) -> dx (T, I)."""
    check("dy", dy, cache.slope.shape)
    check("cache.slope", cache.slope, cache.slope.shape)
    dx = kernels.empty(dy, dy.shape)
    _launch("gelu_backward", threads, dy, cache.slope, dx)
    return dx, {}


def _launch(function: str, threads: int, *arrays: Array) -> None:
    if arrays[0].size:
        kernels.load("gelu.cu", function)(capped_grid(arrays[0].size, threads), block_threads(threads),
                                          (*arrays, np.int64(arrays[0].size)))
