"""Kept states of the frozen layers against computing them in every step: forward, gradients, streams, memory, mistakes."""
import errno
import os

import numpy as np
import pytest

from minixl.data.batching import OnHost, Stream, length_batches, pack
from minixl.data.encoding import encode_sentences
from minixl.data.examples import Sentence
from minixl.errors import UserError
from minixl.models import frozen_bottom
from minixl.models.bert import WORD_TABLE, Bert
from minixl.models.bert_config import BertConfig
from minixl.models.frozen_bottom import FrozenBottom
from minixl.parameters import ParameterStore
from tests.data.piece_tokenizer import LetterTokenizer
from tests.models.hugging_face import random_examples

CONFIG = BertConfig(vocab_size=47, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=33,
                    max_position_embeddings=15)
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
PLENTY = 1 << 30


def frozen_bert(rng, layers: int | None, dtype=np.float64, xp=np) -> Bert:
    """Random weights; embeddings and this many layers frozen (None: nothing is)."""
    store = ParameterStore(Bert.shapes(CONFIG), tables=[WORD_TABLE], dtype=dtype, xp=xp)
    for parameter in store:
        parameter.value[...] = xp.asarray(0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name))
    if layers is not None:
        store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(layers))])
    return Bert(CONFIG, store)


def run(bert: Bert, batch, **options):
    return bert.forward(batch.input_ids, batch.position_ids, batch.starts, **options)


@pytest.fixture
def examples(rng):
    return random_examples(rng, rng.integers(1, 13, 25).tolist())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_forward_and_gradients_are_those_without(rng, xp, examples, layers, dtype, many_steps):
    """Every batch of one epoch, and of the next, in which no states are computed."""
    bert = frozen_bert(rng, layers, dtype, xp)
    bottom = FrozenBottom(bert, examples, memory_bytes=PLENTY)
    stream = Stream(examples, 4, 1, xp, bottom)
    for _ in range(2 * stream.batches_per_epoch):
        batch = next(stream)
        hidden, cache = run(bert, batch, bottom=batch.bottom)
        expected, other = run(bert, batch)
        xp.testing.assert_allclose(hidden, expected, rtol=0, atol=TOLERANCE[dtype] * 10)
        assert hidden.dtype == dtype and cache.embeddings is None
        assert [layer is None for layer in cache.layers] == [layer is None for layer in other.layers]
        xp.testing.assert_array_equal(run(bert, batch, bottom=batch.bottom, keep=False)[0], hidden)
        dhidden = xp.asarray(rng.normal(size=hidden.shape), dtype)
        found, wanted = gradients(bert, dhidden, cache), gradients(bert, dhidden, other)
        assert len(found) == 16 * (3 - layers)
        # a key's bias has no effect, so its gradient is rounding alone, of the size that the query's gradient sets
        sizes = {name: float(abs(wanted[name.replace("key.bias", "query.bias")]).max()) for name in wanted}
        for name, grad in wanted.items():
            xp.testing.assert_allclose(found[name], grad, rtol=0, atol=TOLERANCE[dtype] * 10 * sizes[name], err_msg=name)
    assert bottom.computed.all()


def gradients(bert: Bert, dhidden, cache) -> dict:
    bert.store.zero_grad()
    bert.backward(dhidden, cache)
    return {p.name: p.grad.copy() for p in bert.store if p.trainable and p.name.startswith("bert.encoder.")}


def test_a_wrong_state_is_seen(rng, examples):
    """The comparison above can fail: one wrong element of one state changes the result."""
    bert = frozen_bert(rng, 2)
    bottom = FrozenBottom(bert, examples, memory_bytes=PLENTY)
    batch = next(Stream(examples, 4, 1, np, bottom))
    batch.bottom[3, 5] += 1e-3
    assert abs(run(bert, batch, bottom=batch.bottom)[0] - run(bert, batch)[0]).max() > 1e-5


def test_nothing_is_written_to_the_kept_states(rng, examples):
    bert = frozen_bert(rng, 1)
    bottom = FrozenBottom(bert, examples, memory_bytes=PLENTY)
    batch = next(Stream(examples, len(examples), 1, np, bottom))
    kept, before = bottom.states.copy(), batch.bottom.copy()
    hidden, cache = run(bert, batch, bottom=batch.bottom, rng=np.random.default_rng(0))
    bert.backward(rng.normal(size=hidden.shape), cache)
    np.testing.assert_array_equal(batch.bottom, before)
    batch.bottom[...] = 7
    np.testing.assert_array_equal(bottom.states, kept)


def test_dropout_above_the_cut_differs_from_step_to_step(rng, examples):
    bert = frozen_bert(rng, 1)
    batch = next(Stream(examples, 4, 1, np, FrozenBottom(bert, examples, memory_bytes=PLENTY)))
    first, again, second = (run(bert, batch, bottom=batch.bottom, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all() and (first != second).mean() > 0.9


def test_a_first_epoch_has_the_bits_of_computing_each_batch(rng, examples):
    bert = frozen_bert(rng, 2, np.float32)
    stream = Stream(examples, 4, 1, np, FrozenBottom(bert, examples, memory_bytes=PLENTY))
    for _ in range(stream.batches_per_epoch):
        batch = next(stream)
        np.testing.assert_array_equal(batch.bottom, bert.frozen_bottom(batch.input_ids, batch.position_ids, batch.starts))
        assert batch.bottom.dtype == np.float32


@pytest.mark.parametrize("tokens", [1, 20, 1024])
def test_attach_for_prediction(rng, examples, tokens, monkeypatch):
    """Batches of similar length, whichever examples are computed together."""
    monkeypatch.setattr(frozen_bottom, "TOKENS", tokens)
    bert = frozen_bert(rng, 2)
    bottom = FrozenBottom(bert, examples, memory_bytes=PLENTY)
    for indices in length_batches(examples, 30):
        batch = bottom.attach(pack([examples[i] for i in indices]), indices)
        expected = bert.frozen_bottom(batch.input_ids, batch.position_ids, batch.starts)
        np.testing.assert_allclose(batch.bottom, expected, rtol=0, atol=1e-12)
    assert all(sum(len(examples[i].input_ids) for i in group) <= max(tokens, 12) for group in bottom.groups)


def test_windows_of_a_long_sentence(rng):
    """The same word has other states in each window that it is in."""
    sentences = [Sentence(tuple("abcdefghijklmnopqrstuvwxyz"), None, 1), Sentence(("a", "b"), None, 2)]
    examples = encode_sentences(sentences, LetterTokenizer(), None, max_length=10).examples
    examples = [type(e)(e.input_ids % 47, e.rows, e.labels, e.source, e.first_word) for e in examples]
    assert len(examples) > 3
    bert = frozen_bert(rng, 2)
    indices = [2, 0, 4, 1]
    batch = pack([examples[i] for i in indices])
    batch = FrozenBottom(bert, examples, memory_bytes=PLENTY).attach(batch, indices)
    np.testing.assert_allclose(run(bert, batch, bottom=batch.bottom)[0], run(bert, batch)[0], rtol=0, atol=1e-11)


def test_only_what_is_used_is_computed(rng, examples):
    bert = frozen_bert(rng, 1)
    computed = []
    original = bert.frozen_bottom
    bert.frozen_bottom = lambda ids, *rest: computed.append(len(ids)) or original(ids, *rest)
    stream = Stream(examples, 4, 1, np, FrozenBottom(bert, examples, memory_bytes=PLENTY))
    read = sum(next(stream).tokens for _ in range(3))
    assert sum(computed) == read
    for _ in range(20):
        next(stream)
    assert sum(computed) == sum(len(e.input_ids) for e in examples)
    next(Stream(examples, 7, 2, np, stream.bottom))                    # groups are those of the first stream
    assert sum(computed) == sum(len(e.input_ids) for e in examples)


def arrays_of(batch):
    return [array for field in batch for array in (field if isinstance(field, OnHost) else [field])]


def test_a_resumed_stream_reads_the_same_bits(rng, examples):
    """In the middle of the second epoch, with states computed again; two streams share them."""
    bert = frozen_bert(rng, 2, np.float32)

    def streams():
        bottom = FrozenBottom(bert, examples, memory_bytes=PLENTY)
        return [Stream(examples, 4, seed, np, bottom) for seed in (1, 2)]

    first = streams()
    for _ in range(10):
        for stream in first:
            next(stream)
    resumed = streams()
    for stream, other in zip(first, resumed, strict=True):
        other.load_state_dict(stream.state_dict())
    assert resumed[0].bottom.groups == first[0].bottom.groups
    for _ in range(10):
        for stream, other in zip(first, resumed, strict=True):
            for a, b in zip(arrays_of(next(stream)), arrays_of(next(other)), strict=True):
                np.testing.assert_array_equal(a, b)


def test_beyond_the_limit_states_are_in_a_file_without_a_name(rng, examples, tmp_path):
    bert = frozen_bert(rng, 1, np.float32)
    size = sum(len(e.input_ids) for e in examples) * 24 * 4
    within = FrozenBottom(bert, examples, memory_bytes=size, folder=tmp_path)
    beyond = FrozenBottom(bert, examples, memory_bytes=size - 1, folder=tmp_path)
    assert not isinstance(within.states, np.memmap) and isinstance(beyond.states, np.memmap)
    assert within.states.nbytes == beyond.states.nbytes == size
    assert list(tmp_path.iterdir()) == []
    indices, order = rng.permutation(len(examples)), rng.permutation(len(examples))
    np.testing.assert_array_equal(within.rows(indices, order), beyond.rows(indices, order))
    np.testing.assert_array_equal(within.states, beyond.states)
    assert np.shares_memory(beyond.states, beyond._of(0)) and type(beyond.rows([1], np.array([0]))) is np.ndarray


def test_no_room(rng, examples, tmp_path, monkeypatch):
    bert = frozen_bert(rng, 1)
    with pytest.raises(UserError, match=r"0.0 GiB, .* in .*/missing \(No such file or directory\); make room"):
        FrozenBottom(bert, examples, memory_bytes=0, folder=tmp_path / "missing")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"^model.keep_frozen: .* \(No space left on device\); make room, or --set .*=false$"):
        FrozenBottom(bert, examples, memory_bytes=0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_errors(rng, examples):
    bert = frozen_bert(rng, None)
    with pytest.raises(UserError, match="^model.keep_frozen: expected frozen embeddings, found trainable ones"):
        FrozenBottom(bert, examples, memory_bytes=PLENTY)
    bert = frozen_bert(rng, 1)
    bottom = FrozenBottom(bert, examples, memory_bytes=PLENTY)
    with pytest.raises(ValueError, match="^stream: 24 examples, but states are kept for 25$"):
        Stream(examples[1:], 4, 1, np, bottom)
    bert.store.freeze(["bert.encoder.layer.1.*"])
    with pytest.raises(ValueError, match="^states were kept for layer 1, but now the lowest trainable layer is 2$"):
        bottom.rows([0], np.array([0]))
