"""Shares of several workers: they and their gradients add up to the batch, sizes are similar, states do not depend on them."""
import json

import numpy as np
import pytest

from minixl.data.batching import Batch, Stream, split, split_by_tokens
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.frozen_bottom import FrozenBottom
from minixl.models.transformer import Transformer
from tests.data.test_batching import Kept, example
from tests.models.hugging_face import LABELS, gradient, make_batch, random_examples, tiny_pair
from tests.models.test_bilstm_crf import examples_of, model_of

CRF = BilstmCrfConfig(8, 9, word_size=6, char_size=4, char_hidden=3, word_hidden=5, dense_size=7)
LENGTHS = (5, 1, 9, 5, 2, 12, 1, 5, 3, 7, 1)


def joined(parts: list[Batch]) -> list[np.ndarray]:
    """Return the fields of the batch, joined from its parts."""
    begins = np.cumsum([0, *(part.tokens for part in parts)])[:-1]
    ends = [part.starts[1:] + begin for part, begin in zip(parts, begins, strict=True)]
    rows = [part.rows + begin for part, begin in zip(parts, begins, strict=True)]
    others = (np.concatenate([getattr(part, name) for part in parts]) for name in ("input_ids", "position_ids", "labels", "order"))
    return [np.concatenate([[0], *ends]), np.concatenate(rows), *others]


@pytest.mark.parametrize("documents", [False, True], ids=["tagger", "classifier"])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 20])
def test_the_parts_are_the_batch_and_of_similar_size(rng, workers, documents):
    for _ in range(20):
        batch = make_batch(rng, documents=documents, lengths=rng.integers(1, 13, rng.integers(1, 30)))
        parts = split_by_tokens(batch, workers)
        assert len(parts) == workers
        for found, expected in zip(joined(parts), joined([batch]), strict=True):
            np.testing.assert_array_equal(found, expected)
        longest = np.diff(batch.starts).max()
        assert all(abs(part.tokens - batch.tokens / workers) <= longest for part in parts)


def test_a_worker_may_get_nothing():
    stream = Stream([example(8, 0, (0,)), example(1, 1, (0,))], 2, seed=0)
    (one, whole), (two, _) = (Stream(stream.examples, 2, seed=0).next_share(worker, 2) for worker in range(2))
    assert (one.tokens, two.tokens, whole.tokens) == (1, 8, 9)
    parts = split_by_tokens(whole, 3)
    assert [part.tokens for part in parts] == [1, 8, 0] and len(parts[2].labels) == 0
    assert split(parts[2], 1) == split(parts[2], 4) == [], "nothing to accumulate"
    with pytest.raises(ValueError, match="^worker: expected 0 to 1, got 2$"):
        stream.next_share(2, 2)


@pytest.mark.parametrize("lengths", [(4, 0, 3), (0, 0), (0,)])
def test_examples_without_pieces_are_in_some_part(lengths):
    """An empty sentence of a word-level model."""
    whole, _ = Stream([example(n, i) for i, n in enumerate(lengths)], 3, seed=0).next_share(0, 1)
    parts = split_by_tokens(whole, 2)
    assert sorted(np.concatenate([part.order for part in parts])) == list(range(len(lengths)))


def tagger(rng, pooling: str, frozen: int | None = None):
    ours = Transformer(tiny_pair("cls")[1].config, LABELS, pooling, dtype=np.float64)
    for parameter in ours.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    if frozen is not None:
        ours.store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(frozen))])
    return ours, random_examples(rng, LENGTHS, documents=pooling != "token")


def crf(rng):
    ours = model_of(CRF, rng)
    return ours, examples_of(ours, rng)


MODELS = {"tagger": lambda rng: tagger(rng, "token"), "classifier": lambda rng: tagger(rng, "cls"),
          "kept states": lambda rng: tagger(rng, "token", 1), "bilstm-crf": crf}


def accumulate(model: Transformer | BilstmCrf, part: Batch, whole: Batch, parts: int) -> float:
    """Compute loss and gradients of one worker, who may cut the part again."""
    total = 0.0
    for piece in split(part, parts):
        share = model.loss_share(piece, whole)
        loss, cache = model.loss_forward(piece)
        model.loss_backward(share, cache)
        total += share * loss
    return total


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 12])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_the_shares_add_up(rng, name, workers, accumulated):
    """Over two epochs, the last batch of each is smaller; with more workers than examples, some get nothing."""
    model, examples = MODELS[name](rng)
    bottom = FrozenBottom(model.bert, examples, memory_bytes=1 << 30) if name == "kept states" else None
    streams = [Stream(examples, 4, 5, bottom=bottom) for _ in range(workers + 1)]
    sizes = []
    for _ in range(2 * streams[0].batches_per_epoch):
        model.store.zero_grad()
        batch = next(streams[0])
        loss = accumulate(model, batch, batch, 1)
        expected = {name: gradient(model, name).copy() for name in model.store.names()}
        model.store.zero_grad()
        shares = [stream.next_share(worker, workers) for worker, stream in enumerate(streams[1:])]
        assert sum(accumulate(model, *share, accumulated) for share in shares) == pytest.approx(loss, rel=1e-12)
        for parameter, value in expected.items():
            np.testing.assert_allclose(gradient(model, parameter), value, rtol=0, atol=1e-12 * max(1, np.abs(value).max()),
                                       err_msg=parameter)
        assert all((part.bottom is not None) == (bottom is not None and part.tokens > 0) for part, _ in shares)
        sizes += [part.tokens for part, _ in shares]
    assert 0 in sizes or workers < 12


def test_the_state_does_not_depend_on_the_share():
    """The state of any worker's stream is that of a plain stream, and can be resumed by any."""
    examples = [example(2 + i % 3, i) for i in range(9)]
    plain, streams = Stream(examples, 2, seed=3), [(Stream(examples, 2, seed=3), *who) for who in ((0, 1), (1, 2), (6, 7))]
    for _ in range(7):
        batch = next(plain)
        for stream, worker, workers in streams:
            part, whole = stream.next_share(worker, workers)
            for found, expected in zip(joined([whole]), joined([batch]), strict=True):
                np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(part.input_ids, split_by_tokens(batch, workers)[worker].input_ids)
            assert json.dumps(stream.state_dict()) == json.dumps(plain.state_dict())
    resumed = Stream(examples, 2, seed=99)
    resumed.load_state_dict(json.loads(json.dumps(streams[1][0].state_dict())))
    np.testing.assert_array_equal(next(resumed).input_ids, next(plain).input_ids)


def test_kept_states_are_those_of_the_part():
    examples = [example(2 + i % 3, i) for i in range(9)]
    stream = Stream(examples, 4, seed=3, bottom=Kept(examples))
    for _ in range(6):
        part, whole = stream.next_share(1, 2)
        assert whole.bottom is None and 0 < part.tokens < whole.tokens or len(whole.order) == 1
        if part.tokens:
            np.testing.assert_array_equal(part.bottom[:, 0], part.input_ids // 100)
