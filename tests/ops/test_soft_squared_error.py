"""soft_squared_error: the checks of every op, and zero for equal distributions."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import soft_squared_error
from minixl.ops.soft_squared_error import soft_squared_error_backward, soft_squared_error_forward
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1), (1, 2), (9, 7), (3, 768)]                            # N, K


def case(module, rng, shape) -> Case:
    targets = rng.dirichlet(np.ones(shape[1]), shape[0])
    return Case(module.soft_squared_error_forward, module.soft_squared_error_backward,
                {"logits": rng.normal(0, 2, size=shape)},
                lambda logits: ((torch.softmax(logits, -1) - torch.tensor(targets)) ** 2).mean(), {"targets": targets})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(soft_squared_error, rng, shape), xp, rng)


def test_no_error_for_equal_distributions(xp, rng):
    logits = rng.normal(size=(4, 3))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss, cache = soft_squared_error_forward(xp.asarray(logits), xp.asarray(probs))
    assert float(loss) < 1e-30
    assert np.abs(to_numpy(soft_squared_error_backward(1.0, cache)[0])).max() < 1e-15


def test_the_mean_is_over_all_elements():
    """eq. 8 averages over words and tags: two certain, opposite distributions are 2 apart, over K = 2 elements."""
    loss, _ = soft_squared_error_forward(np.array([[1e3, 0.0]]), np.array([[0.0, 1.0]]))
    assert float(loss) == 1
