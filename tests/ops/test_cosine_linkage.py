"""cosine_linkage: the checks of every op, its definition over all pairs, and a point without direction."""
import numpy as np
import pytest
import torch
from torch.nn import functional

from minixl.backend import to_numpy
from minixl.ops import cosine_linkage
from minixl.ops.cosine_linkage import cosine_linkage_backward, cosine_linkage_forward
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1, 2), (5, 7, 33), (40, 9, 8)]                           # n, m, H


def all_pairs(x, y):
    """2 avl(x, y) - avl(x, x) - avl(y, y) with the distance 1 - cos."""
    def linkage(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (1 - functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T).mean()
    return 2 * linkage(x, y) - linkage(x, x) - linkage(y, y)


def case(module, rng, shape) -> Case:
    n, m, hidden = shape
    arrays = {"x": rng.normal(size=(n, hidden)), "y": rng.normal(0.4, 1.3, (m, hidden))}
    return Case(module.cosine_linkage_forward, module.cosine_linkage_backward, arrays, all_pairs)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(cosine_linkage, rng, shape), xp, rng)


def test_equal_clouds_and_lengths(xp, rng):
    """Zero for equal directions in another order and of other lengths."""
    x = rng.normal(size=(6, 3))
    y = xp.asarray(x[::-1] * rng.uniform(0.5, 2, (6, 1)))
    assert 0 <= float(cosine_linkage_forward(xp.asarray(x), y)[0]) < 1e-30
    assert float(cosine_linkage_forward(xp.asarray(x), xp.asarray(x + 1))[0]) > 1e-3


def test_a_point_at_the_origin(xp, rng):
    x = rng.normal(size=(3, 4))
    x[1] = 0
    value, cache = cosine_linkage_forward(xp.asarray(x), xp.asarray(rng.normal(size=(2, 4))))
    dx, _ = cosine_linkage_backward(xp.asarray(1.0), cache)
    assert np.isfinite(float(value)) and np.isfinite(to_numpy(dx)).all() and not to_numpy(dx)[1].any()


MISTAKES = [
    ("gradient along the point", "dmean - unit * along", "dmean"),
    ("length forgotten", "* (inverse / len(unit))", "/ len(unit)"),
    ("factor 2", "2 * float(dvalue)", "float(dvalue)"),
    ("sign of y", "_gradient(cache.y, -dmean)", "_gradient(cache.y, dmean)"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    from tests.mutants import mutant
    from tests.ops.checks import matches_pytorch
    with pytest.raises(AssertionError):
        matches_pytorch(case(mutant("minixl.ops.cosine_linkage", old, new), rng, SHAPES[1]), np, rng)
