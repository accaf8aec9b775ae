"""The character LSTM, which sees every distinct word once, against a plain loop over all tokens."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.data.lexicon import Lexicon
from minixl.models import char_lstm
from tests.ops.lstm_by_hand import gradients, packed, plain_bilstm, random_weights
from tests.ops.mutants_lstm_crf import CHAR_LSTM, mutant

ALPHABET = {char: number for number, char in enumerate("?abcdefgh")}
TEXTS = {"repeated": "cab a cab face b a cab head cab".split(), "one letter": ["a"], "unknown": ["xyz", "a", "xyy"],
         "none": [], "an empty word": ["cab", "", "a", ""]}


def spelled(words):
    lexicon = Lexicon([], list(ALPHABET)[1:])
    return lexicon.spell(np.array([piece for [piece] in lexicon.pieces_batch([words])[0]], np.int64))


def by_token(words, table, weights, dy):
    """Every token on its own, spelled in full: y and the gradients of table and weights."""
    ids = np.array([ALPHABET.get(char, 0) for word in words for char in word], dtype=np.int64)
    starts = packed([len(word) for word in words])
    none = np.zeros((len(ids), dy.shape[1]))
    found = gradients(plain_bilstm, table[ids], weights, starts, none, dy)
    dtable = torch.zeros(*table.shape, dtype=torch.float64).index_add_(0, torch.tensor(ids), torch.tensor(found["x"]))
    return found["final"], {"table": dtable.numpy(), **{name: found[name] for name in weights}}


def check_char_lstm(module, rng, words, *, tied, xp=np, size=4):
    """y and every gradient, with random dy."""
    table, dy = rng.normal(size=(len(ALPHABET), 3)), rng.normal(size=(len(words), 2 * size))
    weights = random_weights(rng, 3, size, tied=tied, two_biases=False)
    y, expected = by_token(words, table, weights, dy)
    params = {"embedding": {"weight": xp.asarray(table)}, "lstm": {n: xp.asarray(v) for n, v in weights.items()}}
    ours, cache = module.char_lstm_forward(params, batch=spelled(words))
    _, grads = module.char_lstm_backward(xp.asarray(dy), cache)
    sparse = grads["embedding"]["weight"]
    dtable = np.zeros_like(table)
    dtable[to_numpy(sparse.rows)] = to_numpy(sparse.values)
    np.testing.assert_allclose(to_numpy(ours), y, rtol=1e-9, atol=1e-12)
    assert grads["lstm"].keys() == weights.keys()
    for name, value in {"table": dtable, **grads["lstm"]}.items():
        np.testing.assert_allclose(to_numpy(value), expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("words", TEXTS.values(), ids=TEXTS.keys())
def test_equals_a_plain_loop_over_all_tokens(xp, rng, words, tied):
    check_char_lstm(char_lstm, rng, words, tied=tied, xp=xp)


@pytest.mark.parametrize("mistake", CHAR_LSTM, ids=lambda case: case[0])
def test_planted_mistakes_are_caught(rng, mistake):
    module = mutant("minixl.models.char_lstm", *mistake[1:])
    with pytest.raises(AssertionError):
        check_char_lstm(module, rng, TEXTS["repeated"], tied=False)


def test_float32_stays_float32_and_dy_is_left_alone(rng):
    weights = {name: value.astype(np.float32)
               for name, value in random_weights(rng, 3, 4, tied=True, two_biases=False).items()}
    params = {"embedding": {"weight": rng.normal(size=(9, 3)).astype(np.float32)}, "lstm": weights}
    y, cache = char_lstm.char_lstm_forward(params, batch=spelled(TEXTS["repeated"]))
    dy = rng.normal(size=y.shape).astype(np.float32)
    before = dy.copy()
    _, grads = char_lstm.char_lstm_backward(dy, cache)
    np.testing.assert_array_equal(dy, before)
    assert {y.dtype, grads["embedding"]["weight"].values.dtype, *(g.dtype for g in grads["lstm"].values())} \
        == {np.dtype("float32")}
