"""Launch kernels/masked_softmax_dropout.cu.  Same contract and cache as minixl.ops.masked_softmax_dropout.

The kernel draws the mask, from one number of `rng`: with the same seed it differs from the op's mask.
"""
import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import block_threads, capped_grid, check, check_matrix, dropout_seed, float32_only, size
from minixl.ops import masked_softmax_dropout as op
from minixl.ops.dropout import LEVELS, dropout_scale
from minixl.ops.masked_softmax_dropout import MaskedSoftmaxDropoutCache

THREADS = 256         # eight rows at a time


@float32_only(op.masked_softmax_dropout_forward)
def masked_softmax_dropout_forward(x: Array, valid: Array, p: float = 0.0, *, rng=None, mask: Array | None = None,
                                   threads: int = THREADS) -> tuple[Array, MaskedSoftmaxDropoutCache]:
    """x (rows, n), valid (rows,) int64 lengths or (rows, n) bool -> y (rows, n)."""
    xp, shape = array_module(x, valid, mask), check_matrix("x", x)
    op.check_arguments(x, valid, p, mask)
    check("valid", valid, valid.shape, valid.dtype)
    if mask is not None:
        check("mask", mask, shape, bool)
    has_mask, draws_mask = p > 0 and mask is not None, p > 0 and mask is None and rng is not None
    seed = dropout_seed(rng if draws_mask else None, xp)
    unused = xp.zeros(1, bool)
    probs, drawn = kernels.empty(x, shape), kernels.empty(x, shape if draws_mask else (1,), bool)
    y = kernels.empty(x, shape if has_mask or draws_mask else (1,))
    lengths, each = (valid, unused) if valid.ndim == 1 else (xp.zeros(1, np.int64), valid)
    scale = dropout_scale(p) if has_mask or draws_mask else 1.0
    _launch("forward", threads, shape, x, lengths, each, mask if has_mask else unused, seed, probs, y, drawn,
            numbers=(np.int32(valid.ndim == 1), np.int32(has_mask), np.int32(round(p * LEVELS) if draws_mask else 0),
                     np.float32(scale)))
    if not (has_mask or draws_mask):
        return probs, MaskedSoftmaxDropoutCache(probs, None, scale)
    return y, MaskedSoftmaxDropoutCache(probs, mask if has_mask else drawn, scale)


@float32_only(op.masked_softmax_dropout_backward)
def masked_softmax_dropout_backward(dy: Array, cache: MaskedSoftmaxDropoutCache, *,
                                    threads: int = THREADS) -> tuple[Array, dict[str, Array]]:
    """dy (rows, n) -> dx (rows, n)."""
    shape = check_matrix("cache.probs", cache.probs)
    check("dy", dy, shape)
    if cache.mask is not None:
        check("cache.mask", cache.mask, shape, bool)
    dx, has_mask = kernels.empty(dy, shape), cache.mask is not None
    mask = cache.mask if has_mask else array_module(dy).zeros(1, bool)
    _launch("backward", threads, shape, dy, cache.probs, mask, dx, numbers=(np.int32(has_mask), np.float32(cache.scale)))
    return dx, {}


def _launch(part: str, threads: int, shape: tuple[int, int], *arrays: Array, numbers: tuple[np.generic, ...]) -> None:
    (rows, n), block = shape, block_threads(threads)
    if rows and n:
        kernels.load("masked_softmax_dropout.cu", f"masked_softmax_dropout_{part}")(
            capped_grid(rows, threads // 32), block, (*arrays, np.int64(rows), size("n", n), *numbers))
