"""Pictures: principal components, or t-SNE, of both languages in one frame."""
import numpy as np
import pytest

from minixl.alignment.picture import picture


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_points_fill_the_frame_and_are_the_same_every_time(rng, kind):
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(30, 5))
    points = picture(x, y, kind, 1)
    assert [np.shape(side) for side in points] == [(20, 2), (30, 2)]
    both = np.concatenate(points)
    np.testing.assert_array_equal(both.min(axis=0), 0)
    np.testing.assert_array_equal(both.max(axis=0), 1)
    assert picture(x, y, kind, 1) == points


def test_principal_components_keep_the_widest_directions(rng):
    x = rng.normal(size=(50, 6)) * [0.1, 5, 0.1, 0.1, 20, 0.1]
    points = np.array(picture(x[:25], x[25:], "pca", 1)).reshape(50, 2)
    for component, column in zip(points.T, (4, 1), strict=True):
        assert abs(np.corrcoef(component, x[:, column])[0, 1]) > 0.99


def test_equal_points_are_one_dot():
    assert picture(np.ones((3, 4)), np.ones((2, 4)), "pca", 1) == [[[0, 0]] * 3, [[0, 0]] * 2]
