"""Translations from one search against the whole matrix of CSLS."""
import numpy as np
import pytest

from minixl.alignment import csls_search
from minixl.alignment.csls_search import FEW, NEIGHBOURS, translations
from minixl.ops import csls


class Engine:
    """The searches of minixl/ops/csls.py, with a list of what was compared: (words of x, words of y)."""

    top_products_both_ways = staticmethod(csls.top_products_both_ways)

    def __init__(self):
        self.compared = []

    def top_products(self, x, y, *others):
        self.compared.append((len(x), len(y)))
        return csls.top_products(x, y, *others)


def spaces(rng, n, m, kind):
    x, y = rng.normal(size=(n, 6)), rng.normal(size=(m, 6))
    if kind == "unequal":                                              # some y have small cosines only, so that r(y) differs much
        y *= rng.uniform(0.1, 1, (m, 1))
    if kind == "equal":                                                # whole numbers, so that many scores are equal
        return np.sign(x), np.sign(y)
    return x, y


def exact(x, y, best, neighbours=NEIGHBOURS):
    """The best columns of every row of CSLS, and their CSLS, of equal ones those with the lower index."""
    cosines = x @ y.T
    r_x, r_y = (np.sort(c, axis=1)[:, -neighbours:].mean(axis=1) for c in (cosines, cosines.T))
    scores = 2 * cosines - r_x[:, None] - r_y
    order = np.argsort(-scores.round(9), axis=1, kind="stable")[:, :best]
    return np.take_along_axis(scores, order, 1), order


def compare(found, expected):
    np.testing.assert_allclose(found.scores, expected[0], atol=1e-12)
    np.testing.assert_array_equal(found.indices, expected[1])


@pytest.mark.parametrize("best", [1, 4, FEW, FEW + 2])
@pytest.mark.parametrize("kind", ["normal", "unequal"])
def test_equals_the_whole_matrix(small_tiles, rng, monkeypatch, kind, best):
    monkeypatch.setattr(csls_search, "ROWS", 32)
    x, y = spaces(rng, 150, 170, kind)
    engine = Engine()
    found = translations(x, y, best, backward=True, engine=engine)
    compare(found.forward, exact(x, y, best))
    compare(found.backward, exact(y, x, best))
    np.testing.assert_allclose(found.nearest[1], -np.sort(-(y @ x.T), axis=1)[:, :NEIGHBOURS], atol=1e-12)
    one_way = translations(x, y, best, engine=engine)
    assert one_way.backward is None
    compare(one_way.forward, exact(x, y, best))
    if kind == "unequal" and best <= FEW:
        assert 0 < sum(n * m for n, m in engine.compared) < 3 * 150 * 170, "some words that are not near, but not all"


@pytest.mark.parametrize("sizes", [(150, 170), (12, 9), (3, 40)], ids=str)
def test_equal_scores_keep_the_order_of_their_indices(small_tiles, rng, monkeypatch, sizes):
    """Means of 8 whole numbers are exact, so that equal scores are equal to the last bit."""
    monkeypatch.setattr(csls_search, "NEIGHBOURS", 8)
    for best in {1, min(5, *sizes)}:
        x, y = spaces(rng, *sizes, "equal")
        compare(translations(x, y, best).forward, exact(x, y, best, 8))
