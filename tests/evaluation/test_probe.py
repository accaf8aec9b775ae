"""Probes on planted languages: accurate where they differ, at chance where they do not; halves, order, symmetry."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.data.encoding import encode_documents
from minixl.data.examples import Document
from minixl.evaluation.probe import LEVELS, PIECES, States, halves, probe_states, sample, states_of
from tests.data.piece_tokenizer import LetterTokenizer
from tests.evaluation.test_translations import model

ODD, EVEN = "acegikmoqs", "bdfhjlnprt"


def planted(rng, shift, texts=120, hidden=24, xp=np):
    """Two languages of random states; the target's are moved by `shift` deviations along a random direction."""
    sides = []
    direction = rng.normal(size=hidden)
    direction /= np.linalg.norm(direction)
    for moved in (0, shift):
        lengths = rng.integers(2, 9, texts)
        states = (rng.normal(size=(lengths.sum(), hidden)) + moved * direction).astype(np.float32)
        sides.append(States(xp.asarray(states), np.concatenate([[0], np.cumsum(lengths)])))
    return sides


def probe(source, target, **options):
    """Train on one half of the texts and score the other."""
    return probe_states(*halves(source, target), **options)


def through(encoder, source, target, level):
    """The same of texts, with the states that an encoder has of them."""
    return probe(*(states_of(encoder, side) for side in sample(source, target)), level=level)


def documents(letters, count, seed):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(letters), rng.integers(3, 30))) for _ in range(count)]
    return encode_documents([Document(text, None, i) for i, text in enumerate(texts, 1)], LetterTokenizer(), None, max_length=16)


@pytest.mark.parametrize("level", LEVELS)
def test_languages_that_differ_are_told_apart(xp, rng, level, many_steps):
    found = probe(*planted(rng, 8, xp=xp), level=level)
    assert found.accuracy > 0.98 and found.chance == 0.5
    assert found.accuracy == (found.recall_source + found.recall_target) / 2
    assert found.trained == 60


@pytest.mark.parametrize("level", LEVELS)
def test_languages_that_do_not_differ_are_not(rng, level):
    found = [probe(*planted(rng, 0), level=level, seed=seed).accuracy for seed in range(6)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05) and 0.35 < min(found) and max(found) < 0.65


@pytest.mark.parametrize(("level", "best"), [("sentence", 0.90), ("token", 0.84)])
def test_accuracy_is_near_the_best_possible(rng, level, best):
    """Two overlapping normal clouds, Φ(distance/2) apart (Φ(0.6√n) a text of n = 2 ... 8 pieces): the best there can be."""
    sides = planted(rng, 1.2 if level == "sentence" else 2, texts=400)
    assert best - 0.04 < probe(*sides, level=level).accuracy < best + 0.04


def test_only_the_token_level_sees_what_is_not_linear(rng):
    """Target states lie on a sphere of twice the radius: means and every affine map of them are alike."""
    source, target = planted(rng, 0, texts=300)
    target = States(2 * target.hidden, target.starts)
    assert probe(source, target, level="token").accuracy > 0.9
    assert probe(source, target, level="sentence").accuracy < 0.65


@pytest.mark.parametrize("level", LEVELS)
def test_swapping_the_languages_swaps_the_recalls(rng, level):
    source, target = planted(rng, 1.2 if level == "sentence" else 3, texts=400)
    found, swapped = (probe(*sides, level=level) for sides in ((source, target), (target, source)))
    assert 0.8 < found.accuracy < 0.98                                 # not all right: there is something to swap
    assert swapped.accuracy == pytest.approx(found.accuracy, abs=0.02)
    assert swapped.recall_source == pytest.approx(found.recall_target, abs=0.04)
    assert swapped.recall_target == pytest.approx(found.recall_source, abs=0.04)


def test_scale_and_offset_of_an_encoder_do_not_matter(rng):
    source, target = planted(rng, 1.5)
    found = probe(source, target, level="sentence")
    moved = [States(1000 * side.hidden - 300, side.starts) for side in (source, target)]
    assert probe(*moved, level="sentence").accuracy == pytest.approx(found.accuracy, abs=0.02)
    constant = [States(np.concatenate([side.hidden, np.ones((len(side.hidden), 1), np.float32)], axis=1), side.starts)
                for side in (source, target)]
    assert probe(*constant, level="sentence").accuracy == pytest.approx(found.accuracy, abs=0.05)


def test_the_scored_half_is_not_trained_on(rng):
    """Languages that differ only in the first half cannot be told apart in the second."""
    source, target = planted(rng, 0)
    border = target.starts[60]
    target.hidden[:border] += 8
    for level in LEVELS:
        found = probe(source, target, level=level)
        assert abs(found.accuracy - 0.5) < 0.1
    first = [States(side.hidden[:side.starts[60]], side.starts[:61]) for side in (source, target)]
    assert probe(*first, level="token").accuracy > 0.98


@pytest.mark.parametrize("level", LEVELS)
def test_the_test_texts_are_scored_with_their_own_label(rng, level):
    """When the languages change places, everything that was right becomes wrong."""
    training, (source, target) = halves(*planted(rng, 8))
    source = States(source.hidden[:source.starts[40]], source.starts[:41])
    found = probe_states(training, (source, target), level=level)
    assert found.accuracy > 0.98 and found.trained == 60
    assert found.tested == (100 if level == "sentence" else len(source.hidden) + len(target.hidden))
    assert probe_states(training, (target, source), level=level).accuracy < 0.02


def test_unequal_lengths_do_not_move_chance(rng):
    """With ten times as many pieces of one language, always predicting that language scores one half."""
    source, target = planted(rng, 0)
    wide = 10 * np.diff(target.starts)
    target = States(rng.normal(size=(wide.sum(), 24)).astype(np.float32), np.concatenate([[0], np.cumsum(wide)]))
    found = probe(source, target, level="token")
    assert found.accuracy == pytest.approx(0.5, abs=0.06) and found.recall_target < 0.75
    assert found.tested == source.starts[-1] - source.starts[60] + target.starts[-1] - target.starts[60]


def test_the_same_seed_gives_the_same_figures(rng):
    sides = planted(rng, 1)
    for level in LEVELS:
        assert probe(*sides, level=level, seed=3) == probe(*sides, level=level, seed=3)


def test_identical_texts_are_at_chance_not_below():
    """A text and its copy are in the same half; in different halves a discriminator that memorises texts would score 0."""
    rows = documents(ODD, 40, 0)
    for level in LEVELS:
        assert through(model().bert, rows, rows, level).accuracy == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_through_an_encoder(xp, level, many_steps):
    source, target = documents(ODD, 120, 0), documents(EVEN, 150, 1)   # different letters, different numbers of texts
    assert any(e.source == f.source for e, f in zip(source.examples, source.examples[1:], strict=False))     # windows
    found = through(model(xp=xp).bert, source, target, level)
    assert found.accuracy > 0.85 and found.trained == 60
    assert level == "token" or found.tested == 120


def test_states_are_those_of_whole_texts_in_a_common_order():
    made, rows = model(), documents(ODD, 12, 0)
    first, second = (states_of(made.bert, side) for side in sample(rows, rows))
    np.testing.assert_array_equal(first.hidden, second.hidden)
    order = np.random.default_rng([0, 0]).permutation(12)
    assert (order != np.arange(12)).any()
    for place, source in enumerate(order):
        parts = []
        for example in rows.examples:
            if example.source == source:
                n = len(example.input_ids)
                parts.append(made.bert.forward(example.input_ids, np.arange(n), np.array([0, n]), keep=False)[0])
        np.testing.assert_allclose(to_numpy(first.hidden[first.starts[place]:first.starts[place + 1]]), np.concatenate(parts),
                                   rtol=1e-4, atol=1e-5)
    assert first.starts[-1] == len(first.hidden) == rows.pieces


def test_the_number_of_pieces_is_limited():
    made, rows = model(), documents(ODD, 30, 0)
    first, second = sample(rows, documents(EVEN, 25, 1), pieces=200)
    assert first.sources == second.sources
    assert 100 < max(first.pieces, second.pieces) <= 200 < PIECES
    assert sample(rows, rows, pieces=1)[0].sources == 4                # never fewer than four texts
    few = documents(EVEN, 25, 1)
    first, second = sample(rows, few, equal=False)
    assert (first.sources, first.pieces, second.sources, second.pieces) == (30, rows.pieces, 25, few.pieces)
    seen = []
    states_of(made.bert, first, progress=seen.append)
    assert sum(seen) == rows.pieces


def test_refusals(rng):
    with pytest.raises(ValueError, match="probe: expected one of sentence, token, got 'word'"):
        probe(*planted(rng, 0), level="word")
    with pytest.raises(ValueError, match="probe: expected at least 4 texts of each language, got 3"):
        sample(documents(ODD, 3, 0), documents(ODD, 9, 0))
