"""Packing, cutting, batches by length, and a stream that yields every example once per epoch and continues exactly."""
import json

import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.data.batching import LEAST, Stream, batch_results, length_batches, pack, split
from minixl.data.encoding import Example
from minixl.methods.languages import join
from tests.models.hugging_face import make_batch


def example(length: int, number: int = 0, rows=(), labels=None) -> Example:
    """`length` pieces: 100 * number, 100 * number + 1, ..."""
    labels = rows if labels is None else labels
    return Example(100 * number + np.arange(length), np.array(rows, int), np.array(labels, int), number, 0)


def test_pack_sorts_by_length_and_keeps_ties_in_order():
    examples = [example(4, 0, (1, 3), (7, 8)), example(1, 1, (0,), (9,)), example(4, 2, (), ()), example(2, 3, (1,), (-100,))]
    batch = pack(examples)
    np.testing.assert_array_equal(batch.order, [1, 3, 0, 2])
    np.testing.assert_array_equal(batch.starts, [0, 1, 3, 7, 11])
    np.testing.assert_array_equal(batch.input_ids, [100, 300, 301, 0, 1, 2, 3, 200, 201, 202, 203])
    np.testing.assert_array_equal(batch.position_ids, [0, 0, 1, 0, 1, 2, 3, 0, 1, 2, 3])
    np.testing.assert_array_equal(batch.rows, [0, 2, 4, 6])
    np.testing.assert_array_equal(batch.labels, [9, -100, 7, 8])
    assert batch.tokens == 11


def test_pack_of_documents():
    batch = pack([example(3, 0, (), (5,)), example(2, 1, (), (6,))])
    assert not len(batch.rows)
    np.testing.assert_array_equal(batch.labels, [6, 5])


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("documents", [False, True], ids=["tagger", "classifier"])
def test_parts_join_to_the_batch(rng, documents, parts):
    batch = make_batch(rng, documents=documents)
    pieces = split(batch, parts)
    assert len(pieces) == min(parts, 8) and max(len(p.order) for p in pieces) - min(len(p.order) for p in pieces) <= 1
    begins = np.cumsum([0, *(p.tokens for p in pieces)])
    for name in ("input_ids", "position_ids", "labels", "order"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in pieces]), getattr(batch, name), err_msg=name)
    np.testing.assert_array_equal(np.concatenate([p.rows + b for p, b in zip(pieces, begins, strict=False)]), batch.rows)
    assert all(p.starts[0] == 0 and len(p.starts) == len(p.order) + 1 for p in pieces)
    joined = np.concatenate([p.starts[:-1] + b for p, b in zip(pieces, begins, strict=False)])
    np.testing.assert_array_equal(joined, batch.starts[:-1])


@pytest.mark.parametrize("tokens", [1, 10, 64, 10**6])
def test_length_batches_hold_every_example_once(rng, tokens):
    examples = [example(n) for n in rng.integers(1, 30, 57)]
    batches = list(length_batches(examples, tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(57))
    lengths = [len(examples[i].input_ids) for batch in batches for i in batch]
    assert lengths == sorted(lengths)
    for batch in batches:
        assert len(batch) == 1 or sum(len(examples[i].input_ids) for i in batch) <= tokens
    assert len(batches) == {1: 57, 10**6: 1}.get(tokens, len(batches))
    assert list(length_batches([], tokens)) == []


@pytest.mark.parametrize("count, expected", [(5, [50]), (25, [250]), (60, [250, 250, 100]), (160, [400] * 4),
                                             (1000, [1020] * 9 + [820])])
def test_batches_of_prediction_depend_on_the_text_alone(monkeypatch, count, expected):
    """Little text makes smaller batches, so that several threads have some, whatever their number."""
    examples = [example(10, i) for i in range(count)]
    found = {}
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("MINIXL_THREADS", threads)
        found[threads] = [(batch.tokens, indices.tolist(), total) for batch, indices, total in
                          batch_results(lambda batch: int(batch.input_ids.sum()), examples, 1024)]
    assert [tokens for tokens, _, _ in found["1"]] == expected and LEAST == 256
    assert found["1"] == found["2"] == found["3"]
    for _, indices, total in found["1"]:
        assert total == sum(int(examples[i].input_ids.sum()) for i in indices)


@pytest.mark.gpu
def test_batches_on_a_gpu_are_larger(rng, cuda):
    examples = [Example(np.full(10, 3), np.zeros(0, int), np.zeros(0, int), i, 0) for i in range(100)]
    sizes = [[batch.tokens for batch, _, _ in batch_results(lambda batch: None, examples, 40, xp)] for xp in (np, cuda)]
    assert sizes[0] == [40] * 25 and sizes[1] == [320] * 3 + [40]


def numbers(batch) -> list[int]:
    """Return the numbers of the examples in a batch, from their ids."""
    return sorted((batch.input_ids[batch.starts[:-1]] // 100).tolist())


@pytest.mark.parametrize("count, size", [(10, 3), (9, 3), (1, 4), (5, 1)])
def test_a_stream_yields_every_example_once_per_epoch(count, size):
    stream = Stream([example(2 + i % 3, i) for i in range(count)], size, seed=1)
    assert stream.batches_per_epoch == -(-count // size)
    for epoch in range(3):
        batches = [numbers(next(stream)) for _ in range(stream.batches_per_epoch)]
        assert sorted(sum(batches, [])) == list(range(count)) and stream.epoch == epoch
        assert all(len(batch) == size for batch in batches[:-1])


def test_order_depends_on_seed_and_epoch():
    def epochs(seed):
        stream = Stream([example(2, i) for i in range(40)], 4, seed)
        return [[numbers(next(stream)) for _ in range(10)] for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]


@pytest.mark.parametrize("before", [0, 2, 4, 5, 11])
def test_a_stream_continues_from_its_state(before):
    examples = [example(2 + i % 3, i) for i in range(9)]
    stream = Stream(examples, 2, seed=3)
    for _ in range(before):
        next(stream)
    state = json.loads(json.dumps(stream.state_dict()))
    other = Stream(examples, 2, seed=99)
    next(other)
    other.load_state_dict(state)
    for _ in range(12):
        ours, expected = next(other), next(stream)
        assert_same(ours, expected)
    assert other.epoch == stream.epoch


def assert_same(one, two):
    for a, b in zip((*one.host, *one[:-2], one.bottom), (*two.host, *two[:-2], two.bottom), strict=True):
        np.testing.assert_array_equal(a, b)


class Kept:
    """Stands for kept states: those of example i are i; calls are recorded."""

    def __init__(self, examples):
        self.examples, self.groups = examples, []

    def compute_in(self, groups):
        self.groups.append([group.tolist() for group in groups])

    def attach(self, batch, indices):
        numbers = np.asarray(indices)[batch.order]
        return batch._replace(bottom=np.repeat(numbers, np.diff(batch.starts))[:, None])


def test_a_stream_brings_kept_states():
    """Each row has the states of its example; without kept states the batches are the same."""
    examples = [example(2 + i % 3, i) for i in range(9)]
    kept = Kept(examples)
    stream, plain = Stream(examples, 2, seed=3, bottom=kept), Stream(examples, 2, seed=3)
    [groups] = kept.groups
    for group in [*groups, *5 * [None]]:
        batch, other = next(stream), next(plain)
        np.testing.assert_array_equal(batch.bottom[:, 0], batch.input_ids // 100)
        assert group is None or numbers(batch) == sorted(group)
        assert other.bottom is None
        assert_same(batch._replace(bottom=None), other)
    with pytest.raises(ValueError, match="^stream: 8 examples, but states are kept for 9$"):
        Stream(examples[:8], 2, seed=3, bottom=kept)


def test_errors():
    with pytest.raises(ValueError, match="^stream: no examples$"):
        Stream([], 2, seed=0)
    state = Stream([example(1)] * 3, 2, seed=0).state_dict()
    with pytest.raises(ValueError, match="^the checkpoint was made with 3 training examples, but now there are 2$"):
        Stream([example(1)] * 2, 2, seed=0).load_state_dict(state)


@pytest.mark.parametrize("parts", [1, 3])
def test_what_the_cpu_keeps_is_what_the_batch_holds(xp, parts):
    """Of a batch, of its parts and of two batches together."""
    examples = [example(2 + i % 3, i, rows=(0, 1), labels=(i, -100)) for i in range(7)]
    whole = pack(examples, xp)
    for batch in (*split(whole, parts), join(whole, pack(examples[:2], xp))):
        for kept, array in zip(batch.host, (batch.input_ids, batch.rows, batch.labels), strict=True):
            assert type(kept) is np.ndarray
            np.testing.assert_array_equal(kept, to_numpy(array))
