"""relu: the checks of every op, and the gradient at zero."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import relu
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1), (5, 7), (3, 768)]


def case(module, rng, shape) -> Case:
    return Case(module.relu_forward, module.relu_backward, {"x": rng.normal(size=shape)}, torch.relu)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(relu, rng, shape), xp, rng)


def test_at_zero_the_gradient_is_zero(xp):
    y, cache = relu.relu_forward(xp.asarray([[-2.0, 0.0, 3.0]]))
    dx, grads = relu.relu_backward(xp.asarray([[1.5, 1.5, 1.5]]), cache)
    assert to_numpy(y).tolist() == [[0, 0, 3]] and to_numpy(dx).tolist() == [[0, 0, 1.5]] and grads == {}
    assert np.signbit(to_numpy(y)).sum() == 0
