"""CSLS by tiles against whole matrices."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops import csls
from tests.mutants import mutant

SHAPES = [(1, 1, 3, 1), (70, 33, 5, 10), (33, 70, 5, 3), (40, 4, 2, 10), (130, 257, 8, 10)]


def spaces(rng, n, m, hidden, *, equal=False):
    """x, y and offsets; `equal`: small whole numbers, so that many products are equal."""
    draw = (lambda *shape: rng.integers(-1, 2, shape).astype(float)) if equal else (lambda *shape: rng.normal(size=shape))
    return draw(n, hidden), draw(m, hidden), draw(n), draw(m)


def expected(products, k):
    """Scores and indices by sorting whole rows, with -inf and -1 where a row has fewer than k products."""
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    missing = ((0, 0), (0, k - order.shape[1]))
    return (np.pad(np.take_along_axis(products, order, 1), missing, constant_values=-np.inf),
            np.pad(order, missing, constant_values=-1))


def compare(module, rng, shape, xp=np, *, equal=False):
    n, m, hidden, k = shape
    x, y, a, b = spaces(rng, n, m, hidden, equal=equal)
    moved = [xp.asarray(array) for array in (x, y, a, b)]
    products = x @ y.T - a[:, None] - b
    for best, exact in zip(module.top_products_both_ways(*moved[:2], k, *moved[2:]), (products, products.T), strict=True):
        scores, indices = expected(exact, k)
        np.testing.assert_allclose(to_numpy(best.scores), scores, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(to_numpy(best.indices), indices)
    one_way = module.top_products(*moved[:2], k, moved[3])
    np.testing.assert_array_equal(to_numpy(one_way.indices), expected(x @ y.T - b, k)[1])
    for means, exact in zip(module.mean_similarities(*moved[:2], k), (x @ y.T, y @ x.T), strict=True):
        np.testing.assert_allclose(to_numpy(means), np.sort(exact, axis=1)[:, -k:].mean(axis=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_sorting_whole_rows(small_tiles, xp, rng, shape):
    compare(csls, rng, shape, xp)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equal_products_keep_the_order_of_their_indices(small_tiles, rng, shape):
    compare(csls, rng, shape, equal=True)


def test_with_tiles_of_full_size(rng):
    compare(csls, rng, (1100, 2100, 6, 10))


def test_best_products_last(small_tiles, rng):
    """Every tile has better products than all before it, so the thresholds discard nothing."""
    x, y = np.ones((40, 1)), np.arange(200.0)[:, None]
    best = csls.top_products(x, y, 5)
    assert best.indices.tolist() == 40 * [[199, 198, 197, 196, 195]]


def test_float32(rng):
    x, y, _, b = (array.astype(np.float32) for array in spaces(rng, 50, 60, 7))
    best = csls.top_products(x, y, 3, b)
    assert best.scores.dtype == np.float32 and best.indices.dtype == np.int64
    np.testing.assert_allclose(best.scores, expected(x @ y.T - b, 3)[0], rtol=1e-5)


def test_nan_is_never_among_the_best(small_tiles, rng):
    x, y, _, _ = spaces(rng, 40, 70, 4)
    x[3], y[5] = np.nan, np.nan
    rows, columns = csls.top_products_both_ways(x, y, 2)
    assert (rows.indices[3] == -1).all() and (columns.indices[5] == -1).all()
    assert not (rows.indices == 5).any() and not (columns.indices == 3).any() and (np.delete(rows.indices, 3, 0) >= 0).all()


def test_writes_to_no_argument(rng):
    arrays = spaces(rng, 30, 40, 3)
    copies = [array.copy() for array in arrays]
    csls.top_products_both_ways(*arrays[:2], 4, *arrays[2:])
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("old, new", [
    ("above = products > threshold[:, None]", "above = products > threshold.max()"),
    ("groups - k, axis=1)[:, groups - k]", "groups - 1, axis=1)[:, groups - 1]"),
    ("columns + first", "columns"),
    ("None if a is None else -a[strip], 1)", "None, 1)"),
    ("else -b[part])", "else b[part])"),
    ("products.T, strip.start)", "products.T, 0)"),
    ('order = np.argsort(rows, kind="stable")', "order = np.arange(len(rows))"),
    ("order = np.lexsort((indices, -scores))[:, :k]", "order = np.lexsort((indices, scores))[:, :k]"),
    ("return rows.scores[:, :len(y)].mean", "return rows.scores[:, :1].mean"),
], ids=["threshold", "bound", "first column", "x offset", "y offset", "first row", "order of a transposed tile", "joined", "mean"])
def test_planted_mistakes_are_caught(monkeypatch, old, new):
    """By the comparison of the first test."""
    changed = mutant("minixl.ops.csls", old, new)
    monkeypatch.setattr(changed, "TILE", 32)
    monkeypatch.setattr(changed, "GROUPS", 4)
    monkeypatch.setattr(changed, "threads", lambda: 3)
    with pytest.raises((AssertionError, IndexError)):
        for shape in SHAPES:
            compare(changed, np.random.default_rng(1), shape)


@pytest.mark.parametrize("x, y, k, message", [
    (np.zeros((0, 3)), np.zeros((2, 3)), 1, r"x: expected .* at least one word, got float64 \(0, 3\)"),
    (np.zeros((4, 3)), np.zeros((2, 4)), 1, r"y: expected float64 with 3 columns as in x, got float64 \(2, 4\)"),
    (np.zeros((4, 3)), np.zeros((2, 3), np.float32), 1, "y: expected float64 with 3 columns as in x, got float32"),
    (np.zeros((4, 3), int), np.zeros((2, 3), int), 1, "x: expected float32 or float64 .* got int64"),
    (np.zeros((4, 3)), np.zeros((2, 3)), 0, "k: expected at least 1, got 0"),
])
def test_bad_input_is_named(x, y, k, message):
    with pytest.raises(ValueError, match=message):
        csls.top_products(x, y, k)


def test_bad_offsets_are_named():
    with pytest.raises(ValueError, match=r"offsets: expected float64 of shape \(2,\), got float64 \(3,\)"):
        csls.top_products(np.zeros((4, 3)), np.zeros((2, 3)), 1, np.zeros(3))
