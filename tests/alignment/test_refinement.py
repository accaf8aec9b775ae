"""Refinement improves a poor map, keeps the best by the criterion, and can use either kind of pairs."""
import numpy as np
import pytest

from minixl.alignment.procrustes import procrustes
from minixl.alignment.refinement import refine
from minixl.alignment.settings import SCHEMA
from tests.alignment.planted import planted_spaces, share_right


@pytest.mark.parametrize("pairs", ["mutual", "source-to-target"])
def test_a_map_of_few_pairs_improves(pairs):
    spaces = planted_spaces(1000, 30, noise=0.3)
    poor = procrustes(spaces.x[:15], spaces.y[:15])
    seen = []
    mapping, criterion = refine(poor, spaces.x, spaces.y, SCHEMA.settings({"refine.pairs": pairs}),
                                lambda step, value: seen.append((step, value)))
    assert share_right(poor, spaces) < 0.6 and share_right(mapping, spaces) > 0.95
    assert [step for step, _ in seen] == list(range(6)) and criterion == max(value for _, value in seen) > seen[0][1]


def test_the_best_map_is_kept(monkeypatch):
    spaces = planted_spaces(300, 10)
    values = iter([0.5, 0.7, 0.6])
    monkeypatch.setattr("minixl.alignment.refinement.criterion", lambda *a: next(values))
    maps = iter([np.full((10, 10), 1, np.float32), np.full((10, 10), 2, np.float32)])
    monkeypatch.setattr("minixl.alignment.refinement.procrustes", lambda *a: next(maps))
    mapping, criterion = refine(np.eye(10, dtype=np.float32), spaces.x, spaces.y, SCHEMA.settings({"refine.iterations": 2}),
                                lambda *a: None)
    assert criterion == 0.7 and mapping[0, 0] == 1.0


def test_no_iterations_leave_the_map_as_it_is():
    spaces = planted_spaces(300, 10)
    start = np.eye(10, dtype=np.float32)
    mapping, _ = refine(start, spaces.x, spaces.y, SCHEMA.settings({"refine.iterations": 0}), lambda *a: None)
    assert mapping is start


def test_only_frequent_words_are_translated(monkeypatch):
    spaces, pairs = planted_spaces(300, 10), []
    real = procrustes

    def watch(x, y):
        pairs.append(len(x))
        return real(x, y)

    monkeypatch.setattr("minixl.alignment.refinement.procrustes", watch)
    refine(spaces.rotation.astype(np.float32), spaces.x, spaces.y, SCHEMA.settings({"refine.iterations": 1, "refine.frequent": 40}),
           lambda *a: None)
    assert 30 < pairs[0] <= 40
