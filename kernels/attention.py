"""Launch kernels/attention.cu.  Same contract as minixl.ops.attention, but the cache has no probabilities.

The op keeps (S,) probabilities, S = Σ heads · length²; the kernels keep one number per row and head and compute them again.
float64 and heads of more than MAX_HEAD_SIZE dimensions use the op's formula and its cache.
"""
from __future__ import annotations

import functools
from math import sqrt
from types import ModuleType
from typing import NamedTuple

import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import check, check_increasing, check_matrix, dropout_seed, float32_only, size
from minixl.ops import attention as op
from minixl.ops.dropout import LEVELS, dropout_scale
from minixl.packing import starts_of

MAX_HEAD_SIZE = 64
ROWS = 32             # queries or keys per block
THREADS = (256,)


class PackedAttentionCache(NamedTuple):
    query: Array      # (T, H)
    key: Array        # (T, H)
    value: Array      # (T, H)
    context: Array    # (T, H)   Σ probs · dprobs is dcontext · context
    log_sum: Array    # (T, A)   log Σ exp(scores): a probability is exp(score - log_sum)
    tiles: Array      # (n, 4)   first row of the sentence, its length, offset of its scores, first row of the tile within it
    mask: Array       # (S,)     bool, dropout on probs; (1,) if unused
    seed: Array       # (1,)     int64, for dropout without a mask
    visible: int      # 0: a word sees all words, 1: those up to itself, 2: those from itself on
    dropout: tuple[int, int, float]   # whether to use the mask; how many of 65536 values drop; 1 / (1 - p)
    heads: int


@float32_only(op.attention_forward)
def attention_forward(query: Array, key: Array, value: Array, starts: np.ndarray, *, heads: int, visible: str = op.ALL,
                      dropout: float = 0.0, rng=None, mask: Array | None = None
                      ) -> tuple[Array, op.AttentionCache | PackedAttentionCache]:
    """query, key, value (T, H), starts (B+1,) on the CPU -> context (T, H)."""
    xp, (tokens, hidden) = array_module(query, key, value), check_matrix("query", query)
    if heads < 1 or hidden % heads:
        raise ValueError(f"heads: expected a divisor of {hidden}, got {heads}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected 0 <= p < 1, got {dropout}")
    op.check_visible(visible)
    if hidden // heads > MAX_HEAD_SIZE:
        return kernels.formula(op.attention_forward)(query, key, value, starts, heads=heads, visible=visible, dropout=dropout,
                                                     rng=rng, mask=mask)
    for name, array in (("key", key), ("value", value)):
        check(name, array, (tokens, hidden))
    tiles, scores = _plan_on_device(np.asarray(starts, np.int64).tobytes(), heads, tokens, xp)
    if mask is not None:
        check("mask", mask, (scores,), bool)
    draws_mask = mask is None and rng is not None and dropout > 0
    seed = dropout_seed(rng if draws_mask else None, xp)
    settings = int(mask is not None), round(dropout * LEVELS) if draws_mask else 0, 1.0
    if mask is not None or draws_mask:
        settings = *settings[:2], dropout_scale(dropout)
    cache = PackedAttentionCache(query, key, value, kernels.empty(query, query.shape),
                                 kernels.empty(query, (tokens, heads)), tiles,
                                 xp.zeros(1, bool) if mask is None else mask, seed, op.VISIBLE.index(visible), settings,
                                 heads)
    _launch("forward", cache, (query, key, value, cache.tiles, cache.mask, seed, cache.context, cache.log_sum))
    return cache.context, cache


@float32_only(op.attention_backward)
def attention_backward(dcontext: Array, cache: op.AttentionCache | PackedAttentionCache) -> tuple[Array, dict[str, Array]]:
    """dcontext (T, H) -> dquery (T, H) and {"key": dkey, "value": dvalue}, (T, H) each."""
    if isinstance(cache, op.AttentionCache):
        return kernels.formula(op.attention_backward)(dcontext, cache)
    check("dcontext", dcontext, cache.query.shape)
    dquery, dkey, dvalue = (kernels.empty(dcontext, dcontext.shape) for _ in range(3))
    delta = kernels.empty(dcontext, cache.log_sum.shape)
    inputs, random = (cache.query, cache.key, cache.value), (cache.tiles, cache.mask, cache.seed)
    _launch("backward_query", cache, (*inputs, cache.context, cache.log_sum, dcontext, *random, dquery, delta))
    _launch("backward_key", cache, (*inputs, cache.log_sum, delta, dcontext, *random, dkey, dvalue))
    return dquery, {"key": dkey, "value": dvalue}


@functools.lru_cache(maxsize=1)
def _plan_on_device(starts: bytes, heads: int, tokens: int, xp: ModuleType) -> tuple[Array, int]:
    """Copy the plan to the device once for all layers of a batch."""
    tiles, scores = plan(np.frombuffer(starts, np.int64), heads, tokens)
    return xp.asarray(tiles), scores


def plan(starts: np.ndarray, heads: int, tokens: int) -> tuple[np.ndarray, int]:
    """Return the tiles (n, 4), longest sentences first so that no block starts long work at the end, and S."""
    check_increasing("starts", starts, tokens)
    lengths = np.diff(starts)
    offsets = starts_of(heads * lengths * lengths)
    order = np.argsort(-lengths, kind="stable")
    counts = -(-lengths[order] // ROWS)                                        # tiles of each sentence
    sentence = np.repeat(order, counts)                                        # (n,)
    first = (np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)) * ROWS
    tiles = np.stack([starts[sentence], lengths[sentence], offsets[sentence], first], axis=1)
    return np.ascontiguousarray(tiles, np.int64), int(offsets[-1])


def _launch(part: str, cache: PackedAttentionCache, arrays: tuple[Array, ...]) -> None:
    head_size = cache.query.shape[1] // cache.heads
    if len(cache.tiles) and head_size:
        use_mask, dropped, scale = cache.dropout
        kernels.load("attention.cu", f"attention_{part}")(
            (len(cache.tiles), cache.heads), THREADS,
            (*arrays, size("heads", cache.heads), size("head size", head_size), np.int32(cache.visible),
             np.float32(1 / sqrt(head_size)), np.int32(use_mask), np.int32(dropped), np.float32(scale)))
