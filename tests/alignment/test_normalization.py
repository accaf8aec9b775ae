"""Unit length, centring, both in any order, and the same for words that were not there when it was fitted."""
import numpy as np
import pytest

from minixl.alignment.normalization import Normalization, unit
from minixl.errors import UserError


def test_unit_center_unit(rng):
    matrix = rng.normal(1, 2, (30, 4))
    before = matrix.copy()
    normalization, result = Normalization.fit(matrix, ("unit", "center", "unit"))
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    centred = matrix / lengths - (matrix / lengths).mean(axis=0)
    np.testing.assert_allclose(result, centred / np.linalg.norm(centred, axis=1, keepdims=True))
    np.testing.assert_array_equal(matrix, before)
    np.testing.assert_allclose(normalization.apply(matrix[7:9]), result[7:9])


def test_center_alone_and_nothing(rng):
    matrix = rng.normal(1, 2, (30, 4))
    assert np.abs(Normalization.fit(matrix, ("center",))[1].mean(axis=0)).max() < 1e-12
    normalization, result = Normalization.fit(matrix, ())
    np.testing.assert_array_equal(result, matrix)
    np.testing.assert_array_equal(normalization.apply(matrix), matrix)


def test_zero_vectors_stay_zero():
    np.testing.assert_array_equal(unit(np.array([[0.0, 0.0], [3.0, 4.0]])), [[0, 0], [0.6, 0.8]])


def test_an_unknown_step_is_named():
    with pytest.raises(UserError, match="--normalize: expected unit and center, separated by commas, or none, got 'length'"):
        Normalization.fit(np.zeros((2, 2)), ("length",))
