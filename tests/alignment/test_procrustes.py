"""Procrustes: the row and column convention, a planted rotation, the transpose that would be wrong."""
import numpy as np
import pytest

from minixl.alignment.procrustes import procrustes
from minixl.backend import to_numpy


def planted(xp, rng, words=50, dim=8, noise=0.0):
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x = rng.normal(size=(words, dim))
    return xp.asarray(x), xp.asarray(x @ rotation.T + noise * rng.normal(size=x.shape)), rotation


def test_recovers_a_planted_rotation(xp, rng):
    """A map works on columns, y = W x, so on rows it is Y = X Wᵀ; the transpose of W maps nothing."""
    x, y, rotation = planted(xp, rng)
    mapping = procrustes(x, y)
    np.testing.assert_allclose(rotation, to_numpy(mapping), atol=1e-10)
    np.testing.assert_allclose(to_numpy(x[0] @ mapping.T), to_numpy(mapping @ x[0]), atol=1e-12)
    np.testing.assert_allclose(to_numpy(x @ mapping.T), to_numpy(y), atol=1e-10)
    assert np.abs(to_numpy(x @ mapping - y)).max() > 1


def test_no_rotation_is_nearer(rng):
    x, y, _ = planted(np, rng, noise=0.5)
    mapping = procrustes(x, y)
    nearest = np.linalg.norm(x @ mapping.T - y)
    for _ in range(20):
        left, _, right = np.linalg.svd(mapping + 0.05 * rng.normal(size=mapping.shape))
        other = left @ right                                           # another orthogonal map, near this one
        assert np.linalg.norm(x @ other.T - y) > nearest


def test_fewer_pairs_than_dimensions(rng):
    x, y, _ = planted(np, rng, words=3)
    mapping = procrustes(x, y)
    np.testing.assert_allclose(mapping @ mapping.T, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(x @ mapping.T, y, atol=1e-10)


def test_float32_stays_float32(rng):
    x, y, rotation = planted(np, rng)
    mapping = procrustes(x.astype(np.float32), y.astype(np.float32))
    assert mapping.dtype == np.float32
    np.testing.assert_allclose(mapping, rotation, atol=1e-5)


@pytest.mark.parametrize("y", [np.zeros((3, 3)), np.zeros((4, 2))])
def test_unpaired_points_are_refused(y):
    with pytest.raises(ValueError, match=r"y: expected as many rows and columns as x, at least one pair, got \(4, 3\) and"):
        procrustes(np.zeros((4, 3)), y)


def test_no_pairs_are_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        procrustes(np.zeros((0, 3)), np.zeros((0, 3)))
