"""Softmax over the valid entries of each row, followed by dropout: attention's probabilities as a separate op.

    forward    probs_k = exp(x_k - max x) / Σ_j exp(x_j - max x)     max and Σ over the valid entries; 0 for all others
               y       = probs · mask / (1 - p)
    backward   dprobs  = dy · mask / (1 - p)
               dx      = probs · (dprobs - Σ_k dprobs_k probs_k)

`valid` has the length of each row or a bool for each entry.  A row without valid entries (or whose valid scores are all
minus infinity) has probabilities and gradients of zero.  Invalid entries are never read.  Dropout is that of dropout.py:
Vaswani et al. 2017 apply it to attention's probabilities, after the softmax.

No model calls this op, because attention.py computes no scores for padding, and its kernel stores no scores at all.  It is
for code that has a matrix of scores, with padding.
CUDA version: kernels/masked_softmax_dropout.cu.  Checked in tests/ops/test_masked_softmax_dropout.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op
from minixl.ops.dropout import dropout_mask, dropout_scale


class MaskedSoftmaxDropoutCache(NamedTuple):
    probs: Array        # (rows, n)  before dropout
    mask: Array | None  # (rows, n)  bool: True is kept; None: no dropout
    scale: float        # 1 / (1 - p)


@op
def masked_softmax_dropout_forward(x: Array, valid: Array, p: float = 0.0, *, rng=None,
                                   mask: Array | None = None) -> tuple[Array, MaskedSoftmaxDropoutCache]:
    """x (rows, n), valid (rows,) int64 lengths or (rows, n) bool -> y (rows, n).

    rng or mask (rows, n) as in dropout_forward; without both, or with p = 0, y is probs.
    Raises ValueError for lengths outside 0 ... n and for masks that are not bool.
    """
    xp = array_module(x, valid, mask)
    check_arguments(x, valid, p, mask)
    if valid.ndim == 1:
        valid = xp.arange(x.shape[1]) < valid[:, None]                 # (rows, n)
    probs = xp.where(valid, x, -xp.inf).astype(x.dtype, copy=False)
    if probs.size:
        most = probs.max(axis=1, keepdims=True)                        # (rows, 1)
        probs -= xp.where(xp.isneginf(most), 0, most)
        xp.exp(probs, out=probs)
        total = probs.sum(axis=1, keepdims=True)                       # (rows, 1)
        probs /= xp.where(total == 0, 1, total)
    if p == 0 or (rng is None and mask is None):
        return probs, MaskedSoftmaxDropoutCache(probs, None, 1.0)
    if mask is None:
        mask = dropout_mask(x.shape, p, rng, xp)
    cache = MaskedSoftmaxDropoutCache(probs, mask, dropout_scale(p))
    return _dropout(probs, cache), cache


@op
def masked_softmax_dropout_backward(dy: Array, cache: MaskedSoftmaxDropoutCache) -> tuple[Array, dict[str, Array]]:
    """dy (rows, n) -> dx (rows, n)."""
    dx = _dropout(dy, cache) * cache.probs
    dx -= cache.probs * dx.sum(axis=1, keepdims=True)
    return dx, {}


def check_arguments(x: Array, valid: Array, p: float, mask: Array | None) -> None:
    """Raise ValueError unless shapes match, masks are bool, lengths are in 0 ... n (one pass over them) and 0 <= p < 1."""
    if x.ndim != 2:
        raise ValueError(f"x: expected shape (rows, n), got {x.shape}")
    rows, n = x.shape
    if (valid.shape, valid.dtype) not in (((rows,), np.dtype(np.int64)), ((rows, n), np.dtype(bool))):
        raise ValueError(f"valid: expected int64 lengths ({rows},) or bool ({rows}, {n}), got {valid.dtype} {valid.shape}")
    if valid.ndim == 1 and bool(((valid < 0) | (valid > n)).any()):
        raise ValueError(f"valid: expected lengths from 0 to {n}, got {int(valid.min())} to {int(valid.max())}")
    if mask is not None and (mask.shape, mask.dtype) != ((rows, n), np.dtype(bool)):
        raise ValueError(f"mask: expected bool ({rows}, {n}), got {mask.dtype} {mask.shape}")
    if not 0 <= p < 1:
        raise ValueError(f"dropout: expected 0 <= p < 1, got {p}")


def _dropout(x: Array, cache: MaskedSoftmaxDropoutCache) -> Array:
    return x if cache.mask is None else x * cache.mask * x.dtype.type(cache.scale)
