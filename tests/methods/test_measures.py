"""The measures: values and gradients by their definitions; nothing that they keep grows with the number of pairs."""
import numpy as np
import pytest
import torch

from minixl.methods.measures import MEASURES, moments
from minixl.ops.average_linkage import average_linkage_forward
from minixl.ops.cosine_linkage import cosine_linkage_forward
from minixl.ops.moment_distance import moment_distance_forward
from tests.ops.energy_reference import energy_distance
from tests.ops.test_cosine_linkage import all_pairs
from tests.ops.test_moment_distance import in_pytorch
from tests.ops.test_moment_norms import in_pytorch as norms_in_pytorch

DEFINITIONS = {"average-linkage": energy_distance, "cosine-linkage": all_pairs, "moments": lambda x, y: in_pytorch(x, y, 0.1, 0.01),
               "moment-norms": lambda x, y: norms_in_pytorch(x, y, 0.1, 0.01)}


@pytest.mark.parametrize("name", MEASURES)
def test_values_and_gradients(rng, name):
    x, y = rng.normal(size=(9, 5)), rng.normal(0.3, 1.2, (7, 5))
    tx, ty = (torch.tensor(points, requires_grad=True) for points in (x, y))
    expected = DEFINITIONS[name](tx, ty)
    expected.backward()
    value, dx, dy = MEASURES[name](x, y)
    assert isinstance(value, float) and value == pytest.approx(expected.item(), rel=1e-10)
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(dy, ty.grad.numpy(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_never_negative_and_zero_for_equal_multisets(rng, name):
    """Also for few points, of which pairs with themselves are many, and in another order."""
    for count in (1, 2, 3, 50):
        x, y = rng.normal(size=(count, 4)), rng.normal(size=(count, 4))
        assert MEASURES[name](x, y).value >= 0
        assert abs(MEASURES[name](x, x[rng.permutation(count)]).value) < 1e-12
        assert abs(MEASURES[name](np.repeat(x, 2, axis=0), x).value) < 1e-12           # equal shares of every point
    assert MEASURES[name](x, x + 1).value > 1e-3


def test_weights_of_the_moments(rng):
    x, y = rng.normal(size=(9, 5)), rng.normal(0.3, 1.2, (7, 5))
    parts = moments(x, y, 1.0, 0.0).value, moments(x, y, 0.0, 1.0).value
    assert moments(x, y, 0.3, 0.7).value == pytest.approx(0.3 * parts[0] + 0.7 * parts[1])


@pytest.mark.parametrize("forward", [average_linkage_forward, cosine_linkage_forward,
                                     lambda x, y: moment_distance_forward(x, y, mean_weight=1.0, deviation_weight=1.0)])
def test_no_matrix_of_pairs_is_kept(rng, forward):
    _, cache = forward(rng.normal(size=(300, 4)), rng.normal(size=(200, 4)))
    sizes = []

    def walk(held):
        if isinstance(held, tuple):
            for item in held:
                walk(item)
        elif hasattr(held, "size"):
            sizes.append(held.size)
    walk(cache)
    assert sizes and max(sizes) <= 300 * 4
