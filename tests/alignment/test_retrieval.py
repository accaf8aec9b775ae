"""Translations, induced dictionaries and the criterion, against whole matrices; faiss finds the same."""
import sys

import numpy as np
import pytest

from minixl.alignment.retrieval import (NEIGHBOURS, chance_cosine, csls_translations, induce, mean_cosine, nearest_neighbours,
                                        search_engine)
from minixl.errors import UserError
from tests.alignment.planted import planted_spaces


@pytest.fixture(params=["minixl", "faiss"])
def engine(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return search_engine(request.param)


@pytest.fixture
def spaces():
    """x and y of 60 and 70 words, in one space."""
    planted = planted_spaces(70, 12, noise=0.4)
    return planted.x[:60], planted.y @ planted.rotation.astype(np.float32)


def csls_matrix(x, y):
    cosines = x @ y.T
    r_x, r_y = (np.sort(c, axis=1)[:, -NEIGHBOURS:].mean(axis=1) for c in (cosines, cosines.T))
    return 2 * cosines - r_x[:, None] - r_y


def test_translations(engine, spaces):
    exact = csls_matrix(*spaces)[[3, 1]]
    best = csls_translations(*spaces, 5, np.array([3, 1]), engine=engine)
    np.testing.assert_array_equal(best.indices, np.argsort(-exact, axis=1)[:, :5])
    np.testing.assert_allclose(best.scores, -np.sort(-exact, axis=1)[:, :5], atol=1e-5)
    cosines = spaces[0] @ spaces[1].T
    np.testing.assert_array_equal(nearest_neighbours(*spaces, 3, engine=engine).indices, np.argsort(-cosines, axis=1)[:, :3])


def test_induced_dictionaries(engine, spaces):
    exact = csls_matrix(*spaces)
    forward, backward = exact.argmax(axis=1), exact.argmax(axis=0)
    pairs = induce(*spaces, mutual=False, engine=engine)
    np.testing.assert_array_equal(pairs.target, forward)
    np.testing.assert_allclose(pairs.scores, exact.max(axis=1), atol=1e-5)
    mutual = induce(*spaces, engine=engine)
    expected = [(i, j) for i, j in enumerate(forward) if backward[j] == i]
    assert list(zip(mutual.source, mutual.target, strict=True)) == expected and 5 < len(expected) < 60
    np.testing.assert_allclose(mutual.scores, [exact[pair] for pair in expected], atol=1e-5)


def test_the_criterion(engine, spaces):
    x, y = (space[:50] for space in spaces)
    expected = (x @ y.T)[np.arange(50), csls_matrix(x, y).argmax(axis=1)].mean()
    assert mean_cosine(*spaces, 50, engine=engine) == pytest.approx(expected, abs=1e-5)
    chance = chance_cosine(*spaces, 50, np.random.default_rng(1), engine=engine)
    assert chance < expected - 0.1 and chance == chance_cosine(*spaces, 50, np.random.default_rng(1), engine=engine)


def test_without_faiss_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="align.search: faiss is not installed; install it with: pip install faiss-cpu"):
        search_engine("faiss")


def test_minixl_imports_no_faiss():
    assert "faiss" not in vars(sys.modules["minixl.alignment.retrieval"])
