"""Precision at 1, 5, 10, counted by hand."""
import numpy as np
import pytest

from minixl.alignment.dictionaries import Dictionary
from minixl.alignment.evaluation import precision
from tests.alignment.planted import planted_spaces


def test_a_source_word_counts_once_and_any_translation_is_right():
    """y is x in reverse order: word i's neighbours are known."""
    angles = np.linspace(0, 1.5, 30)
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    y = x[::-1]
    rows = np.array([[3, 26],                      # right
                     [5, 24], [5, 0],              # right by its first entry
                     [10, 17],                     # 2 places off: among the best 5
                     [20, 5],                      # 4 places off: among the best 10
                     [25, 29]])                    # far off
    scores = precision(x, y, Dictionary(rows, 8, 5))
    assert scores["words"] == 5 and scores["left_out"] == 3
    assert scores["nn"] == pytest.approx({"1": 2 / 5, "5": 3 / 5, "10": 4 / 5})


def test_csls_and_nearest_neighbours_against_whole_matrices():
    spaces = planted_spaces(300, 10, noise=0.5)
    y = spaces.y @ spaces.rotation.astype(np.float32)
    gold = Dictionary(np.stack([np.arange(0, 300, 3)] * 2, 1), 100, 100)
    scores = precision(spaces.x, y, gold)
    cosines = spaces.x @ y.T
    r_x, r_y = (np.sort(c, axis=1)[:, -10:].mean(axis=1) for c in (cosines, cosines.T))
    for name, matrix in (("nn", cosines), ("csls", 2 * cosines - r_x[:, None] - r_y)):
        ranks = (matrix > np.diag(matrix)[:, None]).sum(axis=1)[::3]
        assert scores[name] == pytest.approx({str(at): (ranks < at).mean() for at in (1, 5, 10)})
    assert 0.1 < scores["csls"]["1"] < scores["csls"]["10"] < 1
