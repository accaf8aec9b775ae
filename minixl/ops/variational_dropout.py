"""Variational dropout: one mask per sentence, the same for all of its tokens.  Gal & Ghahramani 2016.

    forward    y_t  = x_t · mask_b / (1 - p)        for every token t of sentence b; mask = 1 with probability 1 - p
    backward   dx_t = dy_t · mask_b / (1 - p)

rng and mask as in dropout.py.  Checked in tests/ops/test_variational_dropout.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op
from minixl.ops.dropout import dropout_mask, dropout_scale
from minixl.packing import owner_of


class VariationalDropoutCache(NamedTuple):
    mask: Array | None    # (B, H) bool: True is kept; None: no dropout
    owner: Array          # (T,)   sentence of each token
    scale: float          # 1 / (1 - p)


@op
def variational_dropout_forward(x: Array, p: float, *, starts: np.ndarray, rng=None,
                                mask: Array | None = None) -> tuple[Array, VariationalDropoutCache]:
    """x (T, H) packed, starts (B+1,) -> y (T, H).  Without rng and mask (B, H), or with p = 0, y is x."""
    xp = array_module(x, mask)
    owner = xp.asarray(owner_of(starts))
    if p == 0 or (rng is None and mask is None):
        return x, VariationalDropoutCache(None, owner, 1.0)
    if mask is None:
        mask = dropout_mask((len(starts) - 1, x.shape[1]), p, rng, xp)
    cache = VariationalDropoutCache(mask, owner, dropout_scale(p))
    return _apply_mask(x, cache), cache


@op
def variational_dropout_backward(dy: Array, cache: VariationalDropoutCache) -> tuple[Array, dict[str, Array]]:
    """dy (T, H) -> dx (T, H); there are no parameters."""
    return (dy if cache.mask is None else _apply_mask(dy, cache)), {}


def _apply_mask(x: Array, cache: VariationalDropoutCache) -> Array:
    return x * (cache.mask * x.dtype.type(cache.scale))[cache.owner]
