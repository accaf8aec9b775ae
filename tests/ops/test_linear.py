"""linear_forward/backward: the checks of every op, dx on request only, and rows spread over threads."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import linear
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1, 1), (5, 3, 7), (1, 33, 2), (13, 768, 5)]             # T, in, out


def case(module, rng, shape) -> Case:
    rows, inputs, outputs = shape
    arrays = {"x": rng.normal(size=(rows, inputs)), "weight": rng.normal(size=(outputs, inputs)),
              "bias": rng.normal(size=outputs)}
    return Case(module.linear_forward, module.linear_backward, arrays,
                lambda x, weight, bias: torch.nn.functional.linear(x, weight, bias))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(linear, rng, shape), xp, rng)


def test_without_dx_the_other_gradients_are_the_same(xp, rng):
    _, cache, dy = case(linear, rng, (5, 3, 7)).forward_pass(rng, xp)
    expected = linear.linear_backward(dy, cache)[1]
    dx, grads = linear.linear_backward(dy, cache, need_dx=False)
    assert dx is None
    for name, value in grads.items():
        np.testing.assert_array_equal(to_numpy(value), to_numpy(expected[name]))


def test_without_the_gradients_dx_is_the_same(xp, rng):
    _, cache, dy = case(linear, rng, (5, 3, 7)).forward_pass(rng, xp)
    dx, grads = linear.linear_backward(dy, cache, need_grads=False)
    assert grads == {}
    np.testing.assert_array_equal(to_numpy(dx), to_numpy(linear.linear_backward(dy, cache)[0]))


def test_an_empty_batch_has_zero_gradients(xp):
    y, cache = linear.linear_forward(xp.zeros((0, 3)), xp.ones((2, 3)), xp.ones(2))
    dx, grads = linear.linear_backward(y, cache)
    assert (y.shape, dx.shape) == ((0, 2), (0, 3))
    assert not to_numpy(grads["weight"]).any() and not to_numpy(grads["bias"]).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_rows_on_threads_equal_numpy(rng, many_blocks, dtype):
    x, weight, bias = (rng.normal(size=size).astype(dtype) for size in ((1001, 11), (7, 11), 7))
    y, _ = linear.linear_forward(x, weight, bias)
    np.testing.assert_array_equal(y, x @ weight.T + bias)
    assert many_blocks() > 3
