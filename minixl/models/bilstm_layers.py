"""The layers of BiLSTM taggers: from word vectors to states, from states to emissions.  Bari et al. 2020, eq. 1-2.

    encoder    x_t       = [word_t,  last states of the character BiLSTM over the spelling of w_t]
               hidden    = dropout(BiLSTM(dropout(x)))                    over the words of a sentence
    head       emissions = classifier(tanh(dense(hidden)))                of the scored words, (W, K);  or classifier(hidden)
    backward   of the ops in reverse; through tanh  dx = dy · (1 - tanh²);  dx is split into its two halves

The encoder takes word vectors from any source, so that other taggers can use it, too.
Parameters are named as in torch.nn.LSTM.  Checked against PyTorch in tests/models/test_bilstm_crf.py.
"""
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.lexicon import CharBatch
from minixl.models.char_lstm import CharLSTMCache, char_lstm_backward, char_lstm_forward
from minixl.ops.bilstm import bilstm_backward, bilstm_forward
from minixl.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.ops.lstm_steps import RecurrentCache
from minixl.ops.variational_dropout import (VariationalDropoutCache, variational_dropout_backward,
                                            variational_dropout_forward)

Modules = Mapping[str, Mapping[str, Array]]                               # module -> parameter -> value
AnyDropout = DropoutCache | VariationalDropoutCache

ARGUMENTS = {f"{theirs}_l0{side}": f"{ours}{side}"                        # torch.nn.LSTM's names -> those of bilstm_forward
             for side in ("", "_reverse")
             for theirs, ours in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias_ih", "bias"),
                                  ("bias_hh", "bias_hh"))}
NAMES = {argument: name for name, argument in ARGUMENTS.items()}


class BilstmEncoderCache(NamedTuple):
    chars: CharLSTMCache | None
    word_size: int                 # number of columns of x that hold the word vector
    before: AnyDropout
    lstm: RecurrentCache
    after: AnyDropout


class BilstmHeadCache(NamedTuple):
    rows: Array | None             # (W,)    rows of the scored words; None: all T
    tokens: int                    # T
    dense: LinearCache | None      # None: no tanh layer
    active: Array                  # (W, D)  tanh's output; without the layer, hidden
    classifier: LinearCache


def encoder_forward(words: Array, params: Modules, *, chars: CharBatch | None, starts: np.ndarray, dropout: float,
                    variational: bool = False, rng=None) -> tuple[Array, BilstmEncoderCache]:
    """words (T, I), packed word vectors -> hidden (T, 2H).

    params: "word_lstm" and, with chars, "char_embeddings" and "char_lstm", named as in torch.nn.LSTM.
    """
    x, char_cache = words, None
    if chars is not None:
        char_params = {"embedding": params["char_embeddings"], "lstm": _arguments(params["char_lstm"])}
        spelled, char_cache = char_lstm_forward(char_params, batch=chars)               # (T, 2 char_hidden)
        x = array_module(words).concatenate([words, spelled], axis=1)                   # (T, I + 2 char_hidden)
    x, before = _drop(x, dropout, variational, starts, rng)
    (hidden, _), lstm = bilstm_forward(x, **_arguments(params["word_lstm"]), starts=starts)      # (T, 2H)
    hidden, after = _drop(hidden, dropout, variational, starts, rng)
    return hidden, BilstmEncoderCache(char_cache, words.shape[1], before, lstm, after)


def encoder_backward(dhidden: Array, cache: BilstmEncoderCache) -> tuple[Array, dict[str, Any]]:
    """dhidden (T, 2H) -> dwords (T, I) and gradients by module, row-sparse for the character table."""
    xp = array_module(dhidden)
    grads: dict[str, Any] = {}
    dx, lstm = bilstm_backward((_drop_backward(dhidden, cache.after), None), cache.lstm)
    grads["word_lstm"] = _names(lstm)
    dx = _drop_backward(dx, cache.before)
    if cache.chars is not None:
        _, chars = char_lstm_backward(xp.ascontiguousarray(dx[:, cache.word_size:]), cache.chars)
        grads |= {"char_embeddings": chars["embedding"], "char_lstm": _names(chars["lstm"])}
    return xp.ascontiguousarray(dx[:, :cache.word_size]), grads


def head_forward(hidden: Array, params: Modules, rows: Array) -> tuple[Array, BilstmHeadCache]:
    """hidden (T, 2H), rows (W,) of the scored words -> emissions (W, K).  params: "classifier" and perhaps "dense"."""
    picked = None if len(rows) == len(hidden) else rows                   # rows ascend: as many rows as words are all of them
    active, dense = hidden if picked is None else hidden[picked], None                           # (W, 2H)
    if "dense" in params:
        x, dense = linear_forward(active, **params["dense"])                                     # (W, D)
        active = array_module(x).tanh(x)
    emissions, classifier = linear_forward(active, **params["classifier"])                       # (W, K)
    return emissions, BilstmHeadCache(picked, len(hidden), dense, active, classifier)


def head_backward(demissions: Array, cache: BilstmHeadCache) -> tuple[Array, dict[str, Any]]:
    """demissions (W, K) -> dhidden (T, 2H) and gradients by module."""
    grads: dict[str, Any] = {}
    dpicked, grads["classifier"] = linear_backward(demissions, cache.classifier)
    if cache.dense is not None:
        dpicked, grads["dense"] = linear_backward(dpicked * (1 - cache.active * cache.active), cache.dense)
    if cache.rows is None:
        return dpicked, grads
    dhidden = array_module(dpicked).zeros((cache.tokens, dpicked.shape[1]), dpicked.dtype)
    dhidden[cache.rows] = dpicked                                         # no word is scored twice
    return dhidden, grads


def _arguments(module: Mapping[str, Array]) -> dict[str, Array]:
    return {ARGUMENTS[name]: value for name, value in module.items()}


def _names(grads: Mapping[str, Array]) -> dict[str, Array]:
    return {NAMES[argument]: grad for argument, grad in grads.items()}


def _drop(x: Array, p: float, variational: bool, starts: np.ndarray, rng) -> tuple[Array, AnyDropout]:
    if variational:
        return variational_dropout_forward(x, p, starts=starts, rng=rng)
    return dropout_forward(x, p, rng=rng)


def _drop_backward(dy: Array, cache: AnyDropout) -> Array:
    if isinstance(cache, VariationalDropoutCache):
        return variational_dropout_backward(dy, cache)[0]
    return dropout_backward(dy, cache)[0]
