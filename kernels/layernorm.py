"""Launch kernels/layernorm.cu.  Same contract and cache as minixl.ops.layernorm."""
import numpy as np

from minixl import kernels
from minixl.backend import Array
from minixl.kernels import block_threads, blocks, check, check_matrix, float32_only, size
from minixl.ops import layernorm as op
from minixl.ops.layernorm import LayerNormCache

THREADS = 256         # per row
ROWS = 64             # rows whose parts of dweight and dbias one block sums


@float32_only(op.layernorm_forward)
def layernorm_forward(x: Array, weight: Array, bias: Array, eps: float = 1e-12, *, version: int = 2,
                      threads: int = THREADS) -> tuple[Array, LayerNormCache]:
    """x (T, H), weight (H,), bias (H,) -> y (T, H)."""
    tokens, hidden = check_matrix("x", x)
    check("weight", weight, (hidden,))
    check("bias", bias, (hidden,))
    y, norm, rstd = (kernels.empty(x, shape) for shape in (x.shape, x.shape, (tokens, 1)))
    if tokens:
        grid = (tokens,) if version == 2 else (blocks(tokens, threads),)
        kernels.load("layernorm.cu", f"layernorm_forward_v{version}")(
            grid, block_threads(threads),
            (x, weight, bias, y, norm, rstd, size("T", tokens), size("H", hidden), np.float32(eps)))
    return y, LayerNormCache(norm, rstd, weight)


@float32_only(op.layernorm_backward)
def layernorm_backward(dy: Array, cache: LayerNormCache, *, version: int = 2,
                       threads: int = THREADS) -> tuple[Array, dict[str, Array]]:
    """dy (T, H) -> dx (T, H) and the gradients of weight and bias, (H,) each."""
    norm, rstd, weight = cache
    tokens, hidden = check_matrix("cache.norm", norm)
    check("dy", dy, norm.shape)
    check("cache.rstd", rstd, (tokens, 1))
    check("cache.weight", weight, (hidden,))
    rows = max(ROWS, blocks(tokens, kernels.MAX_GRID_YZ))
    stretches = blocks(tokens, rows)
    dx, dweight, dbias = (kernels.empty(dy, shape) for shape in (dy.shape, (hidden,), (hidden,)))
    partial = kernels.empty(dy, (2, stretches, hidden))
    sizes = size("T", tokens), size("H", hidden)
    if tokens and hidden:
        grid = (tokens,) if version == 2 else (blocks(tokens, threads),)
        kernels.load("layernorm.cu", f"layernorm_backward_v{version}")(
            grid, block_threads(threads), (dy, norm, rstd, weight, dx, *sizes))
        kernels.load("layernorm.cu", "layernorm_weights")(
            (blocks(hidden, 32), stretches), (32, 8), (dy, norm, partial, *sizes, size("rows", rows)))
    if hidden:
        kernels.load("layernorm.cu", "layernorm_weights_sum")(
            (blocks(hidden, threads),), block_threads(threads),
            (partial, dweight, dbias, sizes[1], size("stretches", stretches)))
    return dx, {"weight": dweight, "bias": dbias}
