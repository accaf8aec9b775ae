"""moment_norms: the checks of every op, equal clouds."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops import moment_norms
from minixl.ops.moment_norms import moment_norms_backward, moment_norms_forward
from tests.mutants import mutant
from tests.ops.checks import CHECKS, Case, matches_pytorch

SHAPES = [(2, 3, 1), (5, 7, 33), (40, 9, 8)]                           # n, m, H
WEIGHTS = {"mean_weight": 0.7, "variance_weight": 0.3}


def in_pytorch(x, y, mean_weight=0.7, variance_weight=0.3):
    def ratio(a, b):
        return (a - b).norm() / (a.abs().sum() + b.abs().sum() + 1e-8)
    return mean_weight * ratio(x.mean(0), y.mean(0)) + variance_weight * ratio(x.var(0, correction=0), y.var(0, correction=0))


def case(module, rng, shape) -> Case:
    n, m, hidden = shape
    arrays = {"x": rng.normal(size=(n, hidden)), "y": rng.normal(0.4, 1.3, (m, hidden))}
    return Case(module.moment_norms_forward, module.moment_norms_backward, arrays, in_pytorch, WEIGHTS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(moment_norms, rng, shape), xp, rng)


def test_equal_clouds_have_no_distance_and_no_gradient(xp, rng):
    x = xp.asarray(rng.normal(size=(6, 3)))
    value, cache = moment_norms_forward(x, x.copy(), **WEIGHTS)
    dx, grads = moment_norms_backward(xp.asarray(1.0), cache)
    assert float(value) == 0 and not to_numpy(dx).any() and not to_numpy(grads["y"]).any()
    point = x[:1]
    value, cache = moment_norms_forward(point, point + 1, **WEIGHTS)   # no variance
    assert float(value) > 0 and np.isfinite(to_numpy(moment_norms_backward(xp.asarray(1.0), cache)[0])).all()


MISTAKES = [
    ("the denominator's gradient forgotten", "direction - xp.sign(a) * shrink", "direction"),
    ("factor 2 of the variance", "2 * variances / count", "variances / count"),
    ("sign of y", "-direction - xp.sign(b)", "direction - xp.sign(b)"),
    ("deviations instead of variances", "(offsets * offsets).mean(axis=0))", "(offsets * offsets).mean(axis=0) ** 0.5)"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    with pytest.raises(AssertionError):
        matches_pytorch(case(mutant("minixl.ops.moment_norms", old, new), rng, SHAPES[1]), np, rng)
