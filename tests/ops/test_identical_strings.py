"""identical_strings: the checks of every op, equal vectors, and no pairs."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops import identical_strings
from minixl.ops.identical_strings import identical_strings_backward, identical_strings_forward
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1, 1, [0], [0]), (7, 5, 6, [2, 0, 6], [1, 4, 0]), (4, 9, 512, [3, 1], [8, 2])]       # V, W, H, rows, others


def case(module, rng, shape) -> Case:
    words, others_words, hidden, rows, others = shape
    arrays = {"x": rng.normal(size=(words, hidden)), "y": rng.normal(size=(others_words, hidden))}
    return Case(module.identical_strings_forward, module.identical_strings_backward, arrays,
                lambda x, y: (x[rows] - y[others]).norm(dim=1).mean(), {"rows": np.array(rows), "others": np.array(others)})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(identical_strings, rng, shape), xp, rng)


def test_equal_vectors_have_no_gradient(xp, rng):
    x = xp.asarray(rng.normal(size=(3, 4)))
    pairs = {"rows": xp.asarray([0, 2]), "others": xp.asarray([0, 1])}
    value, cache = identical_strings_forward(x, x, **pairs)
    dx, grads = identical_strings_backward(xp.asarray(1.0), cache)
    assert float(value) == pytest.approx(float(xp.linalg.norm(x[2] - x[1])) / 2)
    assert to_numpy(dx.rows).tolist() == [0, 2] and not to_numpy(dx.values)[0].any()
    assert to_numpy(grads["y"].rows).tolist() == [0, 1] and np.isfinite(to_numpy(grads["y"].values)).all()


def test_no_pairs(xp):
    none = xp.zeros(0, int)
    value, cache = identical_strings_forward(xp.ones((3, 2)), xp.ones((4, 2)), rows=none, others=none)
    dx, grads = identical_strings_backward(value, cache)
    assert float(value) == 0 and dx.values.shape == grads["y"].values.shape == (0, 2)


MISTAKES = [
    ("squared distance", "difference / xp.where(distance > 0, distance, 1) * scale", "2 * difference * scale"),
    ("sum of the pairs", "float(dvalue) / max(len(rows), 1)", "float(dvalue)"),
    ("sign of y", "sum_rows(others, -dx)", "sum_rows(others, dx)"),
    ("rows of x for y", "sum_rows(others, -dx)", "sum_rows(rows, -dx)"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    from tests.mutants import mutant
    from tests.ops.checks import matches_pytorch
    with pytest.raises((AssertionError, IndexError)):
        matches_pytorch(case(mutant("minixl.ops.identical_strings", old, new), rng, SHAPES[1]), np, rng)
