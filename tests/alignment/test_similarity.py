"""The start from similarity distributions, the random choice of candidates, the stop rule, a planted rotation."""
import numpy as np
import pytest

from minixl.alignment.retrieval import Pairs
from minixl.alignment.settings import SCHEMA
from minixl.alignment.similarity import SelfLearning, start_pairs
from minixl.ops.csls import Best
from tests.alignment.planted import planted_spaces, share_right


def learner(spaces, seed=1, **values):
    settings = SCHEMA.settings({f"similarity.{name}": value for name, value in values.items()})
    return SelfLearning(spaces.x, spaces.y, start_pairs(spaces.x, spaces.y, 500), settings, seed)


def test_the_start_pairs_words_with_alike_similarities():
    """Without noise similarities are equal, whatever the rotation, so every word finds itself."""
    spaces = planted_spaces(300, 20, noise=0.0)
    pairs = start_pairs(spaces.x, spaces.y, 200)
    assert len(pairs.source) == 400 and max(pairs.source) < 200 and max(pairs.target) < 200
    assert (pairs.source == pairs.target).mean() > 0.99


@pytest.mark.parametrize("seed", range(5))
def test_recovers_a_planted_rotation(seed):
    spaces = planted_spaces(1000, 30, noise=0.3, seed=seed)
    training = learner(spaces, seed, patience=5)
    while not training.ended:
        training.step()
    assert training.keep == 1 and share_right(training.mapping, spaces) > 0.8
    np.testing.assert_allclose(training.mapping, spaces.rotation, atol=0.1)


def test_ranks_of_candidates_are_geometric(rng):
    """The first candidate that takes part, with probability 0.3 each, as by drawing for every pair of words."""
    training = learner(planted_spaces(300, 5))
    training.keep, training.rng = 0.3, rng
    words, candidates = 20_000, 20
    best = Best(np.tile(-np.arange(candidates, dtype=np.float32), (words, 1)), np.tile(np.arange(candidates), (words, 1)))
    pairs = training._drawn(best)
    shares = np.bincount(pairs.target, minlength=candidates) / words
    np.testing.assert_allclose(shares, 0.3 * 0.7 ** np.arange(candidates), atol=0.012)
    np.testing.assert_array_equal(pairs.scores, -pairs.target.astype(np.float32))
    assert len(np.unique(pairs.source)) == len(pairs.source) <= words


def test_all_candidates_take_part_at_the_end():
    training = learner(planted_spaces(300, 5))
    training.keep = 1.0
    best = Best(np.ones((4, 1), np.float32), np.array([[3], [2], [1], [0]]))
    assert training._drawn(best).target.tolist() == [3, 2, 1, 0]


def test_the_stop_rule():
    """p doubles after more than `patience` iterations without improvement, and ends the search once it is 1."""
    training = learner(planted_spaces(300, 5), keep=0.4, patience=2)
    objectives = [0.1, 0.2, 0.2, 0.2, 0.2, 0.15, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    keeps = []
    for objective in objectives:
        training._stop_rule(objective)
        keeps.append((round(training.keep, 3), training.ended))
    assert keeps == [(0.4, False)] * 4 + [(0.8, False)] * 4 + [(0.8, False), (1.0, False), (1.0, False), (1.0, False), (1.0, True)]


def test_the_number_of_iterations_is_limited():
    training = learner(planted_spaces(300, 5), max_iterations=2)
    training.step()
    assert not training.ended
    training.step()
    assert training.ended and training.iteration == 2


def test_pairs_are_those_of_both_directions():
    spaces = planted_spaces(300, 10, noise=0.0)
    settings = SCHEMA.settings({"similarity.keep": 1.0})
    training = SelfLearning(spaces.x, spaces.y, Pairs(np.arange(300), np.arange(300), np.zeros(300)), settings, 1)
    assert training.step() == pytest.approx(1.0, abs=1e-5)
    assert training.pairs.source.tolist() == training.pairs.target.tolist() == 2 * list(range(300))
