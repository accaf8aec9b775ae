"""Word representations from characters: a bidirectional LSTM over each word.  Lample et al. 2016; Bari et al. 2020.

    word   w = c_1 ... c_n      ->  [left-to-right state after c_n,  right-to-left state after c_1]

A batch repeats its frequent words, and equal words have equal representations.  So each DISTINCT word is computed
once, all its tokens share the result, and its gradient is the sum over these tokens: on newspaper text this saves half of
the work.  Checked against a plain loop over all tokens in tests/models/test_char_lstm.py.
"""
from collections.abc import Mapping
from typing import Any, NamedTuple

from minixl.backend import Array, array_module
from minixl.data.lexicon import CharBatch
from minixl.ops.bilstm import bilstm_backward, bilstm_forward
from minixl.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward, sum_rows
from minixl.ops.lstm_steps import RecurrentCache


class CharLSTMCache(NamedTuple):
    embedding: EmbeddingCache
    lstm: RecurrentCache       # its sentences are the distinct words
    word_of: Array             # (T,)


def char_lstm_forward(params: Mapping[str, Mapping[str, Array]], *, batch: CharBatch) -> tuple[Array, CharLSTMCache]:
    """params["embedding"] {"weight": (C, E)}, params["lstm"]: the parameters of bilstm_forward -> y (T, 2H)."""
    table = params["embedding"]["weight"]
    xp = array_module(table)
    x, embedding = embedding_forward(xp.asarray(batch.chars), table)               # (N, E)
    (_, final), lstm = bilstm_forward(x, **params["lstm"], starts=batch.starts)    # (W, 2H)
    word_of = xp.asarray(batch.word_of)
    return final[word_of], CharLSTMCache(embedding, lstm, word_of)


def char_lstm_backward(dy: Array, cache: CharLSTMCache) -> tuple[None, dict[str, dict[str, Any]]]:
    """dy (T, 2H) -> None (words have no gradient) and gradients named as in params, row-sparse for the embedding."""
    xp = array_module(dy)
    dfinal = xp.zeros((cache.lstm.sentences, dy.shape[1]), dy.dtype)
    tokens = sum_rows(cache.word_of, dy)
    dfinal[tokens.rows] = tokens.values                                            # of a word: the sum over its tokens
    dx, grads = bilstm_backward((None, dfinal), cache.lstm)
    return None, {"embedding": embedding_backward(dx, cache.embedding)[1], "lstm": grads}
