"""The probe's figures against counts by hand; its training depends only on the training texts and the seed."""
import numpy as np
import pytest

import minixl.evaluation.probe as probe
from minixl.data.encoding import encode_documents
from minixl.data.examples import Document
from minixl.evaluation.probe import LEVELS, States, probe_states, sample
from tests.data.piece_tokenizer import LetterTokenizer

SOURCE, TARGET = 3.0, -3.0             # the one hidden unit of what a text of the language looks like


def texts(values, pieces=1):
    """One text per value, with equal pieces."""
    values = np.repeat(np.asarray(values, np.float32), pieces)
    return States(values[:, None], np.arange(0, len(values) + 1, pieces))


def letters(count, seed):
    rng = np.random.default_rng(seed)
    rows = [Document("".join(rng.choice(list("abcdefgh"), rng.integers(3, 9))), None, i + 1) for i in range(count)]
    return encode_documents(rows, LetterTokenizer(), None, max_length=16)


@pytest.fixture
def seen(monkeypatch):
    """What the discriminator was given, call by call: its input and its parameters; training is three updates."""
    calls, forward = [], probe.discriminator_forward

    def record(hidden, params, **options):
        calls.append((hidden.copy(), {(m, n): value.copy() for m, part in params.items() for n, value in part.items()}))
        return forward(hidden, params, **options)
    monkeypatch.setattr(probe, "discriminator_forward", record)
    monkeypatch.setattr(probe, "STEPS", 3)
    return calls


@pytest.mark.parametrize("level", LEVELS)
def test_each_recall_is_the_share_of_its_own_language(level):
    """Of four source texts three look like source text, of five target texts only one looks like target text."""
    training = texts([SOURCE] * 8), texts([TARGET] * 8)
    test = texts([SOURCE, SOURCE, TARGET, SOURCE], 2), texts([SOURCE, SOURCE, TARGET, SOURCE, SOURCE], 2)
    found = probe_states(training, test, level=level)
    assert (found.recall_source, found.recall_target) == (0.75, 0.2)
    assert found.accuracy == pytest.approx((0.75 + 0.2) / 2)
    assert (found.trained, found.tested) == (8, 9 if level == "sentence" else 18)


def test_states_are_standardised_by_what_is_trained_on(seen):
    """Other test texts do not change the training; they are standardised like the training texts."""
    training = texts([1.0, 3.0]), texts([5.0, 7.0])
    both = np.array([1.0, 3.0, 5.0, 7.0])
    inputs = []
    for test in ((texts([2.0]), texts([6.0])), (texts([100.0]), texts([-900.0]))):
        seen.clear()
        probe_states(training, test, level="token")
        *trained, source, target = [hidden for hidden, _ in seen]
        inputs.append(trained)
        for side, judged in zip(test, (source, target), strict=True):
            np.testing.assert_allclose(judged, (side.hidden - both.mean()) / both.std(), rtol=1e-6)
    assert len(inputs[0]) == 6
    for one, other in zip(*inputs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_texts_come_in_a_new_order_every_epoch(seen):
    """Every update reads all texts here, since they are fewer than a batch."""
    sides = texts(range(7)), texts(range(10, 17))
    probe_states(sides, sides, level="sentence")
    for rounds in ([hidden[:, 0] for hidden, _ in seen[:6:2]], [hidden[:, 0] for hidden, _ in seen[1:6:2]]):
        assert len({tuple(order) for order in rounds}) == 3
        for order in rounds:
            np.testing.assert_array_equal(np.sort(order), np.sort(rounds[0]))
            assert len(set(order)) == 7


@pytest.mark.parametrize("level", LEVELS)
def test_the_seed_decides_first_parameters_and_orders(seen, level):
    sides, begun = (texts(range(20)), texts(range(50, 70))), {}
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        seen.clear()
        probe_states(sides, sides, level=level, seed=seed)
        begun[name] = seen[0]
    for hidden, same in ((begun["again"][0], True), (begun["other"][0], False)):
        assert np.array_equal(begun["one"][0], hidden) == same
    for name, value in begun["one"][1].items():
        assert np.array_equal(begun["again"][1][name], value)
        assert not np.array_equal(begun["other"][1][name], value), name


@pytest.mark.parametrize("counts", [(12, 12), (12, 15)])
def test_the_seed_decides_which_texts_are_in_which_half(counts):
    """Source and target both; of equally many texts, text i of the two stay together."""
    sides = letters(counts[0], 0), letters(counts[1], 1)
    one, again, other = (sample(*sides, seed=seed) for seed in (5, 5, 6))
    for side in (0, 1):
        ids = [[e.input_ids.tolist() for e in picked[side].examples] for picked in (one, again, other)]
        assert ids[0] == ids[1] != ids[2]
    original = [[e.input_ids.tolist() for e in side.examples] for side in sides]
    if counts[0] == counts[1]:
        source, target = ([before.index(e.input_ids.tolist()) for e in side.examples]
                          for before, side in zip(original, one, strict=True))
        assert source == target != sorted(source)
