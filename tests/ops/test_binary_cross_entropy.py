"""binary_cross_entropy: the checks of every op with soft targets, logits far from zero, the sigmoid."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import binary_cross_entropy
from minixl.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward, sigmoid
from tests.ops.checks import CHECKS, Case

SHAPES = [1, 7, 768]


def case(module, rng, shape) -> Case:
    targets = rng.random(shape)
    return Case(module.binary_cross_entropy_forward, module.binary_cross_entropy_backward,
                {"logits": rng.normal(0, 3, size=shape)},
                lambda logits: torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(targets)),
                {"targets": targets})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(binary_cross_entropy, rng, shape), xp, rng)


@pytest.mark.parametrize("logit, target, loss, slope", [(1e4, 0.0, 1e4, 1), (-1e4, 1.0, 1e4, -1), (1e4, 1.0, 0, 0),
                                                        (0.0, 1.0, np.log(2), -0.5)])
def test_values_by_hand(xp, logit, target, loss, slope):
    value, cache = binary_cross_entropy_forward(xp.asarray([logit]), xp.asarray([target]))
    dlogits, _ = binary_cross_entropy_backward(1.0, cache)
    assert float(value) == pytest.approx(loss, abs=1e-12)
    assert float(to_numpy(dlogits)[0]) == pytest.approx(slope, abs=1e-12)


def test_sigmoid_does_not_overflow(xp):
    x = np.array([-1e4, -3.0, 0.0, 3.0, 1e4])
    np.testing.assert_allclose(to_numpy(sigmoid(xp.asarray(x))), torch.sigmoid(torch.tensor(x)).numpy(), atol=1e-15)
