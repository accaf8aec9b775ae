"""Inverted dropout, replayable.  Srivastava et al. 2014.

    forward    y  = x · mask / (1 - p)         mask_i = 1 with probability 1 - p
    backward   dx = dy · mask / (1 - p)

With `rng`, a new mask is drawn; with `mask` (from an earlier cache), that step is replayed; with neither, nothing is dropped
(evaluation).  A mask takes 16 random bits per element, so p is rounded to a multiple of 2^-16, and the scale uses the
rounded p.  Checked in tests/ops/test_dropout.py.
"""
from math import prod
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, by_rows, op

LEVELS = 1 << 16


class DropoutCache(NamedTuple):
    mask: Array | None   # x's shape, bool: True is kept; None: no dropout
    scale: float         # 1 / (1 - p)


def dropout_mask(shape: tuple[int, ...], p: float, rng, xp) -> Array:
    """Draw a bool array, True with probability 1 - p, with `rng`, a Generator of numpy or cupy."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: expected 0 <= p < 1, got {p}")
    size = prod(shape)
    if xp is np and size % 4 == 0 and not rng.bit_generator.state.get("has_uint32", True):
        # whole words of 64 bits: the same bits in less than half the time, unless half a word is left from the draw before
        bits = rng.integers(0, 1 << 64, size // 4, dtype=np.uint64).view(np.uint16).reshape(shape)
    else:
        bits = rng.integers(0, LEVELS, shape, dtype=xp.uint16)
    return bits >= round(p * LEVELS)


def dropout_scale(p: float) -> float:
    """1 / (1 - p) for the rounded p of dropout_mask."""
    if round(p * LEVELS) >= LEVELS:
        raise ValueError(f"dropout: expected p of at most 1 - 1/{LEVELS}, got {p}: everything would be dropped")
    return LEVELS / (LEVELS - round(p * LEVELS))


@op
def dropout_forward(x: Array, p: float, *, rng=None, mask: Array | None = None) -> tuple[Array, DropoutCache]:
    """x (T, H) -> y (T, H).  Without rng and mask, or with p = 0, y is x."""
    if p == 0 or (rng is None and mask is None):
        return x, DropoutCache(None, 1.0)
    if mask is None:
        mask = dropout_mask(x.shape, p, rng, array_module(x))
    cache = DropoutCache(mask, dropout_scale(p))
    return _apply_mask(x, cache), cache


@op
def dropout_backward(dy: Array, cache: DropoutCache) -> tuple[Array, dict[str, Array]]:
    """dy (T, H) -> dx (T, H)."""
    return (dy if cache.mask is None else _apply_mask(dy, cache)), {}


def _apply_mask(x: Array, cache: DropoutCache) -> Array:
    xp = array_module(x)
    mask: Array = cache.mask
    y = xp.empty_like(x)

    def block(rows: slice) -> None:
        xp.multiply(x[rows], cache.scale, out=y[rows])
        y[rows] *= mask[rows]

    by_rows(block, len(x), x.size // max(len(x), 1), xp, passes=3)
    return y
