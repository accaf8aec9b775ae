"""The encoder of BERT and XLM-R on a packed batch, forward and backward.  Post-norm, exact gelu.

Devlin et al. 2019 (arXiv:1810.04805); Conneau et al. 2020 (arXiv:1911.02116), whose first position is pad_token_id + 1.

    embeddings   x₀ = dropout(LayerNorm(word[id] + position[first + p] + type[0] + shift))
    layer        a  = LayerNorm(x + dropout(output.dense(attention(query(x), key(x), value(x)))))
                 x' = LayerNorm(a + dropout(output.dense(gelu(intermediate.dense(a)))))

first is 0, in XLM-R pad_token_id + 1.
shift is 0 except for an adversarial perturbation of the embeddings (Dong et al. 2020).

Parameters carry the names of a Hugging Face BERT, also in an XLM-R.  The sentences of a batch lie one after another in (T, H)
arrays without padding: only attention knows where one ends.  layer_forward and layer_backward are pure functions; `Bert` chains
the layers and adds the gradients to its ParameterStore.
Checked against transformers in tests/models/test_bert.py and test_xlm_r.py.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minixl.backend import Array
from minixl.models.bert_config import BertConfig, encoder_shapes
from minixl.models.family import Keep
from minixl.ops.attention import AttentionCache, attention_backward, attention_forward
from minixl.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from minixl.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from minixl.ops.gelu import GeluCache, gelu_backward, gelu_forward
from minixl.ops.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.parameters import ParameterStore

WORD_TABLE = "bert.embeddings.word_embeddings.weight"

Params = dict[str, dict[str, Array]]


class ResidualCache(NamedTuple):
    """The cache of `LayerNorm(x + dropout(dense(inner)))`."""

    dense: LinearCache
    dropout: DropoutCache
    norm: LayerNormCache


class LayerCache(NamedTuple):
    query: LinearCache
    key: LinearCache
    value: LinearCache
    attention: AttentionCache
    attention_output: ResidualCache
    intermediate: LinearCache
    gelu: GeluCache
    output: ResidualCache


class EmbeddingsCache(NamedTuple):
    word: EmbeddingCache
    position: EmbeddingCache
    type: EmbeddingCache
    norm: LayerNormCache
    dropout: DropoutCache


class BertCache(NamedTuple):
    embeddings: EmbeddingsCache | None     # None here and for a layer: nothing was kept, as below the lowest trainable layer
    layers: tuple[LayerCache | None, ...]


def residual_forward(inner: Array, x: Array, dense: dict[str, Array], norm: dict[str, Array], config: BertConfig,
                     rng) -> tuple[Array, ResidualCache]:
    """LayerNorm(x + dropout(dense(inner))): inner (T, I), x (T, H) -> (T, H)."""
    delta, dense_cache = linear_forward(inner, **dense)                                 # (T, H)
    delta, dropout_cache = dropout_forward(delta, config.hidden_dropout_prob, rng=rng)
    delta += x                                                                          # in place: nobody else holds delta
    y, norm_cache = layernorm_forward(delta, **norm, eps=config.layer_norm_eps)
    return y, ResidualCache(dense_cache, dropout_cache, norm_cache)


def residual_backward(dy: Array, cache: ResidualCache, need_grads: bool = True) -> tuple[Array, Array, dict, dict]:
    """dy (T, H) -> dinner (T, I), dx (T, H) through the residual, and the gradients of dense and norm."""
    dsum, norm_grads = layernorm_backward(dy, cache.norm)
    ddelta, _ = dropout_backward(dsum, cache.dropout)
    dinner, dense_grads = linear_backward(ddelta, cache.dense, need_grads=need_grads)
    return dinner, dsum, dense_grads, norm_grads


def layer_forward(x: Array, params: Params, starts: np.ndarray, config: BertConfig, rng=None, *,
                  keep: bool = True) -> tuple[Array, LayerCache]:
    """x (T, H), starts (B+1,) -> (T, H).  rng draws the dropout masks; None turns dropout off.

    keep=False: the cache is not for a backward pass.
    """
    query, query_cache = linear_forward(x, **params["attention.self.query"])            # (T, H)
    key, key_cache = linear_forward(x, **params["attention.self.key"])
    value, value_cache = linear_forward(x, **params["attention.self.value"])
    context, attention = attention_forward(query, key, value, starts, heads=config.num_attention_heads,
                                           dropout=config.attention_probs_dropout_prob, rng=rng)
    attended, attention_output = residual_forward(context, x, params["attention.output.dense"],
                                                  params["attention.output.LayerNorm"], config, rng)
    hidden, intermediate = linear_forward(attended, **params["intermediate.dense"])     # (T, I)
    active, gelu = gelu_forward(hidden, need_slope=keep)
    y, output = residual_forward(active, attended, params["output.dense"], params["output.LayerNorm"], config, rng)
    return y, LayerCache(query_cache, key_cache, value_cache, attention, attention_output, intermediate, gelu, output)


def layer_backward(dy: Array, cache: LayerCache, *, need_dx: bool = True,
                   need_grads: bool = True) -> tuple[Array | None, dict[str, dict]]:
    """dy (T, H) -> dx (T, H) and the gradients by module name.  The lines of layer_forward in reverse order.

    need_grads=False, for a frozen layer: none of the dense layers, which take a third of the time.
    """
    grads = {}
    dactive, dattended, grads["output.dense"], grads["output.LayerNorm"] = residual_backward(dy, cache.output, need_grads)
    dhidden, _ = gelu_backward(dactive, cache.gelu)
    dinto, grads["intermediate.dense"] = linear_backward(dhidden, cache.intermediate, need_grads=need_grads)
    dattended += dinto                                                                  # both are fresh arrays
    dcontext, dx, grads["attention.output.dense"], grads["attention.output.LayerNorm"] = residual_backward(
        dattended, cache.attention_output, need_grads)
    dquery, others = attention_backward(dcontext, cache.attention)
    for name, dprojection, linear in (("query", dquery, cache.query), ("key", others["key"], cache.key),
                                      ("value", others["value"], cache.value)):
        dinto, grads[f"attention.self.{name}"] = linear_backward(dprojection, linear, need_dx=need_dx, need_grads=need_grads)
        if need_dx:
            dx += dinto
    return (dx if need_dx else None), grads


class Bert:
    """The encoder: its configuration and the ParameterStore that holds its parameters, among others."""

    def __init__(self, config: BertConfig, store: ParameterStore) -> None:
        self.config, self.store = config, store

    @staticmethod
    def shapes(config: BertConfig, *, pooler: bool = False) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every parameter."""
        return encoder_shapes(config, pooler=pooler)

    def lowest_trainable(self) -> int:
        """Return the lowest layer with a trainable parameter; -1 means the embeddings, num_hidden_layers no layer."""
        names = self.store.names(trainable=True)
        if any(name.startswith("bert.embeddings.") for name in names):
            return -1
        layers = [int(name.split(".")[3]) for name in names if name.startswith("bert.encoder.layer.")]
        return min(layers, default=self.config.num_hidden_layers)

    @property
    def bottom_size(self) -> int:
        """Numbers of a piece's state below the lowest trainable layer, H."""
        return self.config.hidden_size

    def embed(self, input_ids: Array, position_ids: Array, rng=None,
              shift: Array | None = None) -> tuple[Array, EmbeddingsCache]:
        """input_ids, position_ids (T,), counted from 0 -> (T, H).  shift (T, H) is added to the sum of the three embeddings."""
        params = self.store.under("bert.embeddings")
        if self.config.first_position:                 # XLM-R
            position_ids = position_ids + self.config.first_position
        x, word = embedding_forward(input_ids, **params["word_embeddings"])             # (T, H)
        position, position_cache = embedding_forward(position_ids, **params["position_embeddings"])
        kind, type_cache = embedding_forward(self.store.xp.zeros_like(input_ids), **params["token_type_embeddings"])
        x += position
        x += kind
        if shift is not None:
            x += shift
        x, norm = layernorm_forward(x, **params["LayerNorm"], eps=self.config.layer_norm_eps)
        x, dropout = dropout_forward(x, self.config.hidden_dropout_prob, rng=rng)
        return x, EmbeddingsCache(word, position_cache, type_cache, norm, dropout)

    def forward(self, input_ids: Array, position_ids: Array, starts: np.ndarray, *, rng=None, keep: Keep = True,
                bottom: Array | None = None, shift: Array | None = None) -> tuple[Array, BertCache]:
        """input_ids, position_ids (T,), starts (B+1,) -> last hidden states (T, H).

        keep=True keeps the caches from the lowest trainable layer upwards, keep="all" those of frozen layers as well, which
        backward needs for need_dembeddings, and keep=False none (prediction).
        bottom (T, H), never written to: what frozen_bottom returns for these pieces; embeddings and frozen layers are skipped.
        shift (T, H): added to the sum of word, position and type embeddings, before LayerNorm.
        """
        lowest, last = self.lowest_trainable(), self.config.num_hidden_layers
        keep_from = -1 if keep == "all" else lowest if keep else last
        if bottom is None:
            self._check_shift(shift, len(input_ids))
            x, embeddings = self.embed(input_ids, position_ids, rng, shift)
        else:
            self._check_bottom(bottom, len(input_ids), lowest, keep, shift)
            x, embeddings = bottom, None
        first = 0 if bottom is None else lowest
        x, caches = self._layers(x, starts, range(first, last), rng, keep_from)
        return x, BertCache(embeddings if keep_from < 0 else None, (None,) * first + caches)

    def frozen_bottom(self, input_ids: Array, position_ids: Array, starts: np.ndarray) -> Array:
        """input_ids, position_ids (T,) -> (T, H): the states that enter the lowest trainable layer, computed without dropout."""
        lowest = self.lowest_trainable()
        x, _ = self.embed(input_ids, position_ids)
        return self._layers(x, starts, range(lowest), None, lowest)[0]

    def _layers(self, x: Array, starts: np.ndarray, numbers: range, rng,
                lowest: int) -> tuple[Array, tuple[LayerCache | None, ...]]:
        """Run x (T, H) through the layers `numbers` -> (T, H), and the caches of those from `lowest` upwards."""
        caches: list[LayerCache | None] = []
        for i in numbers:
            keep = i >= lowest
            x, cache = layer_forward(x, self.store.under(f"bert.encoder.layer.{i}"), starts, self.config, rng, keep=keep)
            caches.append(cache if keep else None)
            del cache
        return x, tuple(caches)

    def _check_shift(self, shift: Array | None, pieces: int) -> None:
        if shift is not None and shift.shape != (pieces, self.config.hidden_size):
            raise ValueError(f"shift: expected shape {(pieces, self.config.hidden_size)}, got {shift.shape}")

    def _check_bottom(self, bottom: Array, pieces: int, lowest: int, keep: Keep, shift: Array | None) -> None:
        if shift is not None or keep == "all":
            name = "shift" if shift is not None else 'keep="all"'
            raise ValueError(f"{name}: expected no bottom states, since with them the embeddings are not computed; pass "
                             "bottom=None (the setting model.keep_frozen=false)")
        if lowest < 0:
            raise ValueError("bottom: the embeddings are trainable, so no layer can be skipped")
        if bottom.shape != (pieces, self.config.hidden_size):
            raise ValueError(f"bottom: expected shape {(pieces, self.config.hidden_size)}, got {bottom.shape}")

    def backward(self, dhidden: Array, cache: BertCache, *, need_dembeddings: bool = False) -> Array | None:
        """dhidden (T, H): add the gradient of every trainable parameter to the store, layer by layer.

        need_dembeddings: go down to the embeddings even where layers are frozen, and return the gradient (T, H) with respect
        to the sum of word, position and type embeddings, which is also that of shift.  forward must have had keep="all".
        """
        trainable = self.lowest_trainable()
        lowest = -1 if need_dembeddings else trainable
        if need_dembeddings and cache.embeddings is None:
            raise ValueError('need_dembeddings: expected the caches of all layers; call forward with keep="all"')
        dx: Array | None = dhidden
        for i in range(self.config.num_hidden_layers - 1, max(lowest, 0) - 1, -1):
            layer = cache.layers[i]
            assert layer is not None and dx is not None
            dx, grads = layer_backward(dx, layer, need_dx=i > lowest, need_grads=i >= trainable)
            self.store.accumulate(f"bert.encoder.layer.{i}", grads)
        if lowest >= 0:
            return None
        assert cache.embeddings is not None and dx is not None
        dsum, grads = embeddings_backward(dx, cache.embeddings, need_grads=trainable < 0)
        self.store.accumulate("bert.embeddings", grads)
        return dsum if need_dembeddings else None


def embeddings_backward(dy: Array, cache: EmbeddingsCache, *, need_grads: bool = True) -> tuple[Array, dict[str, dict]]:
    """dy (T, H) -> the gradient (T, H) of the sum of the embeddings; those of the three tables, row-sparse, and of LayerNorm."""
    grads = {}
    dnorm, _ = dropout_backward(dy, cache.dropout)
    dsum, norm_grads = layernorm_backward(dnorm, cache.norm)
    if need_grads:
        grads["LayerNorm"] = norm_grads
        for name, table in (("word", cache.word), ("position", cache.position), ("token_type", cache.type)):
            _, grads[f"{name}_embeddings"] = embedding_backward(dsum, table)
    return dsum, grads
