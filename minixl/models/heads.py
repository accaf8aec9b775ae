"""Classification heads on an encoder's last hidden states.

    token      logits_w = classifier(dropout(h_row(w)))              one row per word: its first piece
    mean       logits_b = classifier(dropout(mean_t h_t))            over all pieces of b, [CLS] and [SEP] included
    cls        logits_b = classifier(dropout(tanh(pooler(h_[CLS]))))     as BertForSequenceClassification

Checked against transformers in tests/models/test_heads.py.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.ops.mean_pooling import MeanPoolingCache, mean_pooling_backward, mean_pooling_forward

POOLINGS = ("token", "mean", "cls")


class RowsCache(NamedTuple):
    """The rows that were selected from (T, H)."""

    rows: Array
    tokens: int


class TanhPoolerCache(NamedTuple):
    picked: RowsCache
    dense: LinearCache
    pooled: Array          # (B, H)  tanh's output


class TransformerHeadCache(NamedTuple):
    pooling: RowsCache | MeanPoolingCache | TanhPoolerCache
    dropout: DropoutCache
    classifier: LinearCache


def head_forward(hidden: Array, params: dict, starts: np.ndarray, rows: Array, *, pooling: str, dropout: float = 0.0,
                 rng=None) -> tuple[Array, TransformerHeadCache]:
    """hidden (T, H) -> logits: (W, K) for pooling="token", (B, K) for "mean" and "cls".

    params: {"classifier": {"weight", "bias"}}, and "bert.pooler.dense" for "cls".
    """
    pooled: Array
    cache: RowsCache | MeanPoolingCache | TanhPoolerCache
    if pooling == "token":
        pooled, cache = hidden[rows], RowsCache(rows, len(hidden))
    elif pooling == "mean":
        pooled, cache = mean_pooling_forward(hidden, starts)
    else:
        pooled, cache = _tanh_pooler_forward(hidden, params["bert.pooler.dense"], starts)
    pooled, dropout_cache = dropout_forward(pooled, dropout, rng=rng)
    logits, classifier = linear_forward(pooled, **params["classifier"])
    return logits, TransformerHeadCache(cache, dropout_cache, classifier)


def head_backward(dlogits: Array, cache: TransformerHeadCache, *, need_dx: bool = True) -> tuple[Array | None, dict[str, dict]]:
    """dlogits -> dhidden (T, H) and the gradients by module name.  need_dx=False: the encoder is frozen."""
    grads = {}
    dpooled, grads["classifier"] = linear_backward(dlogits, cache.classifier,
                                                   need_dx=need_dx or isinstance(cache.pooling, TanhPoolerCache))
    if dpooled is None:
        return None, grads
    dpooled, _ = dropout_backward(dpooled, cache.dropout)
    if isinstance(cache.pooling, RowsCache):
        return _scatter(dpooled, cache.pooling), grads
    if isinstance(cache.pooling, MeanPoolingCache):
        return mean_pooling_backward(dpooled, cache.pooling)[0], grads
    xp = array_module(dpooled)
    dhead = dpooled * (1 - cache.pooling.pooled * cache.pooling.pooled)                # through tanh
    dfirst, grads["bert.pooler.dense"] = linear_backward(xp.ascontiguousarray(dhead), cache.pooling.dense)
    return _scatter(dfirst, cache.pooling.picked), grads


def _tanh_pooler_forward(hidden: Array, dense: dict, starts: np.ndarray) -> tuple[Array, TanhPoolerCache]:
    xp = array_module(hidden)
    first = xp.asarray(starts[:-1])                                                    # (B,)  rows of [CLS]
    linear, cache = linear_forward(hidden[first], **dense)
    pooled = xp.tanh(linear)
    return pooled, TanhPoolerCache(RowsCache(first, len(hidden)), cache, pooled)


def _scatter(dpicked: Array, cache: RowsCache) -> Array:
    """Put (W, H) back into (T, H); no row is selected twice, since a batch scores a word once."""
    xp = array_module(dpicked)
    dhidden = xp.zeros((cache.tokens, dpicked.shape[1]), dpicked.dtype)
    dhidden[cache.rows] = dpicked
    return dhidden
