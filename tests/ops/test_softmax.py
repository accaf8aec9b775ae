"""softmax and log-softmax: the checks of every op, large scores, classes with score -inf."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import softmax
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1), (5, 7), (2, 3, 4), (3, 768)]


def case(module, rng, shape) -> Case:
    return Case(module.softmax_forward, module.softmax_backward, {"x": rng.normal(0, 3, size=shape)},
                lambda x: torch.softmax(x, -1))


def log_case(module, rng, shape) -> Case:
    return Case(module.log_softmax_forward, module.log_softmax_backward, {"x": rng.normal(0, 3, size=shape)},
                lambda x: torch.log_softmax(x, -1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("make", [case, log_case], ids=["softmax", "log_softmax"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, make, xp, rng, shape):
    check(make(softmax, rng, shape), xp, rng)


def test_large_scores_do_not_overflow(xp):
    x = xp.asarray([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4, -1e4 + 2]])
    probs, logs = to_numpy(softmax.softmax_forward(x)[0]), to_numpy(softmax.log_softmax_forward(x)[0])
    np.testing.assert_allclose(probs[0], [1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1)), 0], rtol=1e-12)
    np.testing.assert_allclose(logs[1], np.log([1, 1, np.exp(2)]) - np.log(2 + np.exp(2)), rtol=1e-12)
    assert logs[0, 2] == pytest.approx(-2e4, rel=1e-4)                  # log(softmax) would be -inf


def test_a_class_with_score_minus_infinity_has_no_probability_and_no_gradient(xp, rng):
    x, dy = xp.asarray([[1.0, -np.inf, 2.0]]), xp.asarray(rng.normal(size=(1, 3)))
    probs, cache = softmax.softmax_forward(x)
    dx, _ = softmax.softmax_backward(dy, cache)
    assert to_numpy(probs)[0, 1] == 0 and to_numpy(dx)[0, 1] == 0 and to_numpy(dx)[0, 0] != 0
