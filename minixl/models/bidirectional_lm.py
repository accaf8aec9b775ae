"""A language model of several languages with two stacks of transformer blocks, left to right and right to left.

Bao et al. 2019 (MLMA), section 2.1.  Pre-norm blocks and the sinusoid are those of the paper's code.

    embedding   x₀ = dropout(√H · words[language][id] + sinusoid(position))
    block       a  = x + dropout(attention.output(attention(query(n), key(n), value(n)))),       n = LayerNorm(x)
                x' = a + dropout(output(dropout(relu(intermediate(LayerNorm(a))))))
    states      h_l = the n of block l,   h_L = LayerNorm(x after the last block)                L + 1 layers of each direction

The forward stack sees a word and those before it and predicts the next word from h_L, the backward stack sees a word and those
after it and predicts the one before; at its end, each predicts the end of the sentence.  The output layer is the word table
(ops/sampled_softmax.py).  All languages share both stacks; each has a word table of its own.

Sentences of a batch lie one after another, without padding, so no state depends on what else is in a batch.
Checked against PyTorch in tests/models/test_bidirectional_lm.py.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array
from minixl.models.bidirectional_lm_config import (BACKWARD, DIRECTIONS, EOS, FORWARD, LanguageModelConfig, initial_value,
                                                   language_model_shapes, word_table)
from minixl.ops.attention import AFTER, BEFORE, AttentionCache, attention_backward, attention_forward
from minixl.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from minixl.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from minixl.ops.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.ops.relu import ReluCache, relu_backward, relu_forward
from minixl.ops.sampled_softmax import all_words, sampled_softmax_forward
from minixl.parameters import ParameterStore

VISIBLE = {FORWARD: BEFORE, BACKWARD: AFTER}
LONGEST_WAVE = 1e4
SCORES = 1 << 25                       # of the full softmax at a time, 128 MiB in float32

Params = dict[str, dict[str, Array]]
States = dict[str, list[Array]]        # direction -> its L + 1 layers, (T, H) each
Gradients = Mapping[str, Sequence[Array | None]]       # the same of their gradients; None: none


class BlockCache(NamedTuple):
    norm: LayerNormCache
    query: LinearCache
    key: LinearCache
    value: LinearCache
    attention: AttentionCache
    attention_output: LinearCache
    attention_dropout: DropoutCache
    inner_norm: LayerNormCache
    intermediate: LinearCache
    relu: ReluCache
    inner_dropout: DropoutCache
    output: LinearCache
    dropout: DropoutCache


class LanguageModelCache(NamedTuple):
    words: EmbeddingCache
    dropout: DropoutCache
    blocks: dict[str, list[BlockCache]]        # by direction
    norms: dict[str, LayerNormCache]           # that of the output of each direction
    language: str


def block_forward(x: Array, params: Params, starts: np.ndarray, config: LanguageModelConfig, visible: str,
                  rng=None) -> tuple[Array, Array, BlockCache]:
    """x (T, H), starts (B+1,) -> the block's output (T, H), and its normalised input (T, H), a layer of states."""
    p = config.dropout
    normed, norm = layernorm_forward(x, **params["attention.LayerNorm"], eps=config.layer_norm_eps)      # (T, H)
    query, query_cache = linear_forward(normed, **params["attention.query"])
    key, key_cache = linear_forward(normed, **params["attention.key"])
    value, value_cache = linear_forward(normed, **params["attention.value"])
    context, attention = attention_forward(query, key, value, starts, heads=config.num_attention_heads, visible=visible, dropout=p,
                                           rng=rng)
    attended, attention_output = linear_forward(context, **params["attention.output"])
    attended, attention_dropout = dropout_forward(attended, p, rng=rng)
    attended += x                                                                       # in place: nobody else holds it
    inner, inner_norm = layernorm_forward(attended, **params["LayerNorm"], eps=config.layer_norm_eps)
    inner, intermediate = linear_forward(inner, **params["intermediate"])               # (T, I)
    inner, relu = relu_forward(inner)
    inner, inner_dropout = dropout_forward(inner, p, rng=rng)
    y, output = linear_forward(inner, **params["output"])                               # (T, H)
    y, dropout = dropout_forward(y, p, rng=rng)
    y += attended
    return y, normed, BlockCache(norm, query_cache, key_cache, value_cache, attention, attention_output, attention_dropout,
                                 inner_norm, intermediate, relu, inner_dropout, output, dropout)


def block_backward(dy: Array, dstate: Array | None, cache: BlockCache) -> tuple[Array, dict[str, dict]]:
    """dy (T, H), dstate (T, H) of the normalised input -> dx (T, H) and the gradients by module name."""
    grads = {}
    doutput, _ = dropout_backward(dy, cache.dropout)
    dinner, grads["output"] = linear_backward(doutput, cache.output)
    dinner, _ = dropout_backward(dinner, cache.inner_dropout)
    dinner, _ = relu_backward(dinner, cache.relu)
    dinner, grads["intermediate"] = linear_backward(dinner, cache.intermediate)
    dattended, grads["LayerNorm"] = layernorm_backward(dinner, cache.inner_norm)
    dattended += dy                                                                     # through the residual
    doutput, _ = dropout_backward(dattended, cache.attention_dropout)
    dcontext, grads["attention.output"] = linear_backward(doutput, cache.attention_output)
    dquery, others = attention_backward(dcontext, cache.attention)
    dnormed, grads["attention.query"] = linear_backward(dquery, cache.query)
    for name, linear in (("key", cache.key), ("value", cache.value)):
        dinto, grads[f"attention.{name}"] = linear_backward(others[name], linear)
        dnormed += dinto
    if dstate is not None:
        dnormed += dstate
    dx, grads["attention.LayerNorm"] = layernorm_backward(dnormed, cache.norm)
    dx += dattended
    return dx, grads


class BidirectionalLm:
    """The language model: its configuration and the store with its parameters, perhaps among others.

    prefix: of the names of its parameters in the store.
    """

    def __init__(self, config: LanguageModelConfig, store: ParameterStore | None = None, *, prefix: str = "",
                 dtype: Any = np.float32, xp: Any = np) -> None:
        self.config, self.prefix = config, prefix
        self.names = [prefix + name for name in language_model_shapes(config)]
        self.tables = [prefix + word_table(language) for language in config.languages]
        self.store = store or ParameterStore(language_model_shapes(config), tables=self.tables, dtype=dtype, xp=xp)

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw all parameters: see bidirectional_lm_config.py."""
        for name in self.names:
            value = self.store[name].value
            value[...] = self.store.xp.asarray(initial_value(name.removeprefix(self.prefix), value.shape, rng), value.dtype)

    def table(self, language: str) -> Array:
        """Return the word table (V, H) of a language."""
        return self.store[self.prefix + word_table(language)].value

    def states(self, language: str, ids: Array, starts: np.ndarray, *, rng=None) -> tuple[States, LanguageModelCache]:
        """ids (T,) rows of the language's word table, starts (B+1,) on the CPU -> the states of both directions.

        rng draws the dropout masks; None turns dropout off.
        """
        words, word_cache = embedding_forward(ids, self.table(language))                # (T, H)
        x, dropout = dropout_forward(self.placed(words, starts), self.config.dropout, rng=rng)
        states, blocks, norms = {}, {}, {}
        for direction in DIRECTIONS:
            states[direction], blocks[direction], norms[direction] = self._stack(direction, x, starts, rng)
        return states, LanguageModelCache(word_cache, dropout, blocks, norms, language)

    def placed(self, words: Array, starts: np.ndarray) -> Array:
        """Return √H · words + sinusoid, (T, H)."""
        hidden, lengths = words.shape[1], np.diff(starts)
        places = np.arange(int(starts[-1])) - np.repeat(starts[:-1], lengths)
        waves = self.store.xp.asarray(sinusoid(int(lengths.max(initial=0)), hidden), words.dtype)
        return words * words.dtype.type(sqrt(hidden)) + waves[self.store.xp.asarray(places)]

    def fixed_states(self, words: Array, starts: np.ndarray) -> States:
        """words (T, H), vectors of words of any languages, starts (B+1,) -> the states of both directions, without dropout."""
        x = self.placed(words, starts)
        return {direction: self._stack(direction, x, starts, None, keep=False)[0] for direction in DIRECTIONS}

    def _stack(self, direction: str, x: Array, starts: np.ndarray, rng, *, keep: bool = True) -> tuple[list[Array], list, Any]:
        states: list[Array] = []
        caches: list[BlockCache] = []
        for i in range(self.config.num_hidden_layers):
            x, state, cache = block_forward(x, self.store.under(f"{self.prefix}{direction}.layer.{i}"), starts, self.config,
                                            VISIBLE[direction], rng)
            states.append(state)
            caches += [cache] if keep else []
        last, norm = layernorm_forward(x, **self.store.under(self.prefix + direction)["LayerNorm"], eps=self.config.layer_norm_eps)
        return [*states, last], caches, norm

    def states_backward(self, dstates: Gradients, cache: LanguageModelCache) -> None:
        """Add the gradients of all parameters to the store.  dstates: of the states of both directions."""
        dx = None
        for direction in DIRECTIONS:
            *inputs, last = dstates[direction]
            assert last is not None, "the loss of the language model always reads the last layer"
            dblock, norm = layernorm_backward(last, cache.norms[direction])
            self.store.accumulate(f"{self.prefix}{direction}.LayerNorm", norm)
            for i in range(self.config.num_hidden_layers - 1, -1, -1):
                dblock, grads = block_backward(dblock, inputs[i], cache.blocks[direction][i])
                self.store.accumulate(f"{self.prefix}{direction}.layer.{i}", grads)
            dx = dblock if dx is None else dx + dblock
        dwords, _ = dropout_backward(dx, cache.dropout)
        _, of_table = embedding_backward(dwords * dwords.dtype.type(sqrt(dwords.shape[1])), cache.words)
        self.store.accumulate(f"{self.prefix}words.{cache.language}", of_table)

    def surprisal(self, language: str, ids: Array, starts: np.ndarray) -> dict[str, float]:
        """Return the sum of -log p over all predictions of each direction, by the full softmax without dropout."""
        table, xp = self.table(language), self.store.xp
        states = self.fixed_states(table[ids], starts)
        rows, sums = max(1, SCORES // len(table)), {}
        for direction in DIRECTIONS:
            expected = xp.asarray(targets_of(ids, starts, direction, xp))
            sums[direction] = sum(float(sampled_softmax_forward(
                states[direction][-1][i:i + rows], table, targets=expected[i:i + rows], candidates=all_words(len(table)))[0])
                * len(expected[i:i + rows]) for i in range(0, len(expected), rows))
        return sums


def targets_of(ids: Array, starts: np.ndarray, direction: str, xp: Any = np) -> Array:
    """ids (T,), starts (B+1,) -> what each word predicts, (T,): its neighbour, or at the end of the direction EOS."""
    targets = xp.empty_like(ids)
    nonempty = np.diff(starts) > 0
    if direction == FORWARD:
        targets[:-1] = ids[1:]
        targets[xp.asarray(starts[1:][nonempty] - 1)] = EOS
    else:
        targets[1:] = ids[:-1]
        targets[xp.asarray(starts[:-1][nonempty])] = EOS
    return targets


def sinusoid(length: int, hidden: int) -> np.ndarray:
    """Return the positions (length, H): all sines, then all cosines, of wavelengths from 2π to 2π · 10,000."""
    waves = np.exp(-np.arange(hidden // 2) * log(LONGEST_WAVE) / max(hidden // 2 - 1, 1))
    angles = np.arange(length)[:, None] * waves
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
