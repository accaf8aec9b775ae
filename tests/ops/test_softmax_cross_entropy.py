"""softmax_cross_entropy: the checks of every op, excluded rows, certainly right and certainly wrong predictions."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import softmax_cross_entropy
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1), (1, 2), (9, 7), (11, 768)]                           # N, K


def case(module, rng, shape) -> Case:
    labels = rng.integers(0, shape[1], shape[0])
    labels[1::3] = -100
    return Case(module.softmax_cross_entropy_forward, module.softmax_cross_entropy_backward,
                {"logits": rng.normal(0, 2, size=shape)},
                lambda logits: torch.nn.functional.cross_entropy(logits, torch.tensor(labels)), {"labels": labels})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(softmax_cross_entropy, rng, shape), xp, rng)


def test_by_the_definition(rng):
    logits, labels = rng.normal(size=(4, 3)), np.array([2, -1, 0, 1])
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss, _ = softmax_cross_entropy_forward(logits, labels)
    assert float(loss) == pytest.approx(-(np.log(probs[0, 2]) + np.log(probs[2, 0]) + np.log(probs[3, 1])) / 3, rel=1e-12)


@pytest.mark.parametrize("rows", [0, 3])
def test_without_scored_rows_the_loss_is_zero(xp, rng, rows):
    logits = xp.asarray(rng.normal(size=(rows, 4)))
    loss, cache = softmax_cross_entropy_forward(logits, xp.full(rows, -100))
    dlogits, _ = softmax_cross_entropy_backward(xp.asarray(1.5), cache)
    assert float(loss) == 0 and dlogits.shape == (rows, 4) and not to_numpy(dlogits).any()


def test_certainly_wrong_predictions_have_a_finite_loss(xp):
    loss, cache = softmax_cross_entropy_forward(xp.asarray([[1e4, 0.0]], dtype=xp.float32), xp.asarray([1]))
    dlogits, _ = softmax_cross_entropy_backward(1.0, cache)
    assert float(loss) == 1e4
    np.testing.assert_array_equal(to_numpy(dlogits), [[1, -1]])
