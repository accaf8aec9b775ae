"""embedding: the checks of every op, and the row-sparse gradient on its own."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import embedding
from minixl.ops.embedding import RowSparse, add_sparse, embedding_backward, embedding_forward, sum_rows
from tests.ops.checks import CHECKS, Case, assert_close, dense

IDS = {"one": [0], "some twice": [4, 1, 4, 0, 4, 1, 6], "all equal": [3, 3, 3, 3], "each once": [6, 2, 0, 5],
       "none": []}
SHAPES = [(name, width) for name in IDS for width in (1, 5)] + [("some twice", 768)]


def case(module, rng, shape) -> Case:
    ids, width = np.array(IDS[shape[0]], np.int64), shape[1]
    return Case(module.embedding_forward, module.embedding_backward, {"weight": rng.normal(size=(7, width))},
                lambda weight: torch.nn.functional.embedding(torch.tensor(ids), weight), {"ids": ids}, dx=None)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(embedding, rng, shape), xp, rng)


@pytest.mark.parametrize("name", IDS)
def test_gradient_holds_the_looked_up_rows_only(xp, rng, name):
    ids = np.array(IDS[name], np.int64)
    _, cache = embedding_forward(xp.asarray(ids), xp.zeros((7, 2)))
    grad = embedding_backward(xp.asarray(rng.normal(size=(len(ids), 2))), cache)[1]["weight"]
    np.testing.assert_array_equal(to_numpy(grad.rows), np.unique(ids))
    assert grad.values.shape == (len(np.unique(ids)), 2)


def test_many_ids_by_loops(xp, rng):
    ids, values = rng.integers(0, 50, 400), rng.normal(size=(400, 3))
    expected = np.zeros((50, 3))
    for number, value in zip(ids, values, strict=True):
        expected[number] += value
    assert_close(dense(sum_rows(xp.asarray(ids), xp.asarray(values)), (50, 3)), expected, 1e-12)


def test_the_sum_of_two_gradients(xp, rng):
    a = sum_rows(xp.asarray([5, 1, 5]), xp.asarray(rng.normal(size=(3, 4))))
    b = sum_rows(xp.asarray([2, 5]), xp.asarray(rng.normal(size=(2, 4))))
    empty = RowSparse(a.rows[:0], a.values[:0])
    assert_close(dense(add_sparse(a, b), (7, 4)), dense(a, (7, 4)) + dense(b, (7, 4)), 1e-15)
    np.testing.assert_array_equal(to_numpy(add_sparse(a, b).rows), [1, 2, 5])
    assert_close(dense(add_sparse(empty, b), (7, 4)), dense(b, (7, 4)), 1e-15)


def test_the_gradient_is_not_a_view_of_dy(xp, rng):
    """Clipping scales gradients in place and must not change dy."""
    dy = xp.asarray(rng.normal(size=(3, 4)))
    before = to_numpy(dy).copy()
    for ids in ([0, 1, 2], [1, 1, 2]):
        grad = sum_rows(xp.asarray(ids), dy)
        grad.values[...] = 0
        np.testing.assert_array_equal(to_numpy(dy), before)
