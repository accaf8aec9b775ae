"""moment_distance: the checks of every op, equal clouds, and a scale that does not count."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops import moment_distance
from minixl.ops.moment_distance import moment_distance_backward, moment_distance_forward
from tests.ops.checks import CHECKS, Case

SHAPES = [(2, 3, 1), (5, 7, 33), (40, 9, 8)]                           # n, m, H
WEIGHTS = {"mean_weight": 0.7, "deviation_weight": 0.3}


def in_pytorch(x, y, mean_weight=0.7, deviation_weight=0.3):
    u = (x.mean(0) - y.mean(0)) / (x.abs().mean(0) + y.abs().mean(0) + 1e-8)
    s, t = x.std(0, correction=0), y.std(0, correction=0)
    return mean_weight * u.norm() + deviation_weight * ((s - t) / (s + t + 1e-8)).norm()


def case(module, rng, shape) -> Case:
    n, m, hidden = shape
    arrays = {"x": rng.normal(size=(n, hidden)), "y": rng.normal(0.4, 1.3, (m, hidden))}
    return Case(module.moment_distance_forward, module.moment_distance_backward, arrays, in_pytorch, WEIGHTS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(moment_distance, rng, shape), xp, rng)


def test_equal_moments_have_no_distance_and_no_gradient(xp, rng):
    x = xp.asarray(rng.normal(size=(6, 3)))
    value, cache = moment_distance_forward(x, x[::-1].copy(), **WEIGHTS)
    dx, grads = moment_distance_backward(xp.asarray(1.0), cache)
    assert float(value) < 1e-14 and np.isfinite(to_numpy(dx)).all() and np.isfinite(to_numpy(grads["y"])).all()
    value, cache = moment_distance_forward(x, x.copy(), **WEIGHTS)
    assert float(value) == 0 and not to_numpy(moment_distance_backward(xp.asarray(1.0), cache)[0]).any()


def test_a_single_point_has_no_deviation(xp, rng):
    x, y = xp.asarray(rng.normal(size=(1, 3))), xp.asarray(rng.normal(size=(4, 3)))
    _, cache = moment_distance_forward(x, y, **WEIGHTS)
    dx, grads = moment_distance_backward(xp.asarray(1.0), cache)
    assert np.isfinite(to_numpy(dx)).all() and np.isfinite(to_numpy(grads["y"])).all()


def test_the_scale_does_not_count(xp, rng):
    """A model that makes all its states small does not come nearer."""
    x, y = rng.normal(size=(9, 4)), rng.normal(0.5, 1, (7, 4))
    small, large = (float(moment_distance_forward(xp.asarray(f * x), xp.asarray(f * y), **WEIGHTS)[0]) for f in (1e-3, 1.0))
    assert abs(small / large - 1) < 1e-4


MISTAKES = [
    ("mean without its denominator's gradient", "dpoints += xp.sign(cloud.points) * dsize", "pass"),
    ("deviation of y as of x", "-dv * (1 + v)", "-dv * (1 - v)"),
    ("not divided by the points", "dpoints /= len(cloud.points)", "pass"),
    ("sign of y's mean", "_gradient(y, -du,", "_gradient(y, du,"),
    ("variance instead of deviation", "xp.sqrt((centred * centred).mean(axis=0))", "(centred * centred).mean(axis=0)"),
    ("weights exchanged", "mean_weight * _norm(u) + deviation_weight * _norm(v)",
     "deviation_weight * _norm(u) + mean_weight * _norm(v)"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    from tests.mutants import mutant
    from tests.ops.checks import matches_pytorch
    with pytest.raises(AssertionError):
        matches_pytorch(case(mutant("minixl.ops.moment_distance", old, new), rng, SHAPES[1]), np, rng)
