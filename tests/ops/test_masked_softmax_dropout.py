"""Masked softmax with dropout: the checks of every op, invalid entries, rows without valid ones, the rate, the errors."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import masked_softmax_dropout as op
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1), (5, 7), (9, 33)]
P = 0.25                                                               # a multiple of 2^-16: the scale is exactly 1 / (1 - p)


def case(module, rng, shape) -> Case:
    """Rows of random lengths of at least 1; about a quarter of the probabilities is dropped."""
    lengths, mask = rng.integers(1, shape[1] + 1, shape[0]), rng.random(shape) >= P
    inside = torch.tensor(np.arange(shape[1]) < lengths[:, None])

    def reference(x):
        return torch.softmax(x.masked_fill(~inside, -torch.inf), -1) * torch.tensor(mask) / (1 - P)

    return Case(module.masked_softmax_dropout_forward, module.masked_softmax_dropout_backward,
                {"x": rng.normal(0, 3, size=shape)}, reference, {"valid": lengths, "p": P, "mask": mask})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(op, rng, shape), xp, rng)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks_of_a_bool_for_each_entry_without_dropout(check, xp, rng):
    valid = rng.random((6, 9)) < 0.5
    valid[:, 4] = True
    check(Case(op.masked_softmax_dropout_forward, op.masked_softmax_dropout_backward, {"x": rng.normal(size=(6, 9))},
               lambda x: torch.softmax(x.masked_fill(~torch.tensor(valid), -torch.inf), -1), {"valid": valid}), xp, rng)


def test_invalid_entries_are_never_read(xp, rng):
    x, dy = rng.normal(size=(2, 5)), xp.asarray(rng.normal(size=(2, 5)))
    x[0, 2:], x[1, 4] = np.nan, np.inf
    y, cache = op.masked_softmax_dropout_forward(xp.asarray(x), xp.asarray([2, 4]))
    dx, _ = op.masked_softmax_dropout_backward(dy, cache)
    y, dx = to_numpy(y), to_numpy(dx)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-12)
    assert (y[0, 2:] == 0).all() and y[1, 4] == 0 and (dx[0, 2:] == 0).all() and dx[1, 4] == 0 and dx[1, 0] != 0


def test_rows_without_valid_entries(xp, rng):
    x = rng.normal(size=(3, 4))
    x[1, :2] = -np.inf
    y, cache = op.masked_softmax_dropout_forward(xp.asarray(x), xp.asarray([0, 2, 4]))
    dx, _ = op.masked_softmax_dropout_backward(xp.ones((3, 4)), cache)
    assert (to_numpy(y)[:2] == 0).all() and (to_numpy(dx)[:2] == 0).all() and to_numpy(y)[2].sum() == pytest.approx(1)


def test_nan_in_a_valid_entry_is_not_lost(xp):
    y, _ = op.masked_softmax_dropout_forward(xp.asarray([[0.0, np.nan, 1.0]]), xp.asarray([3]))
    assert np.isnan(to_numpy(y)).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_empty(xp, shape):
    y, cache = op.masked_softmax_dropout_forward(xp.zeros(shape), xp.zeros(shape[0], np.int64), 0.1, rng=xp.random.default_rng(0))
    assert y.shape == op.masked_softmax_dropout_backward(y, cache)[0].shape == shape


def test_rate_replay_and_evaluation(xp):
    x, valid = xp.zeros((400, 50)), xp.full(400, 40)
    y, cache = op.masked_softmax_dropout_forward(x, valid, 0.3, rng=xp.random.default_rng(3))
    kept = to_numpy(y)[:, :40] > 0
    assert abs(kept.mean() - 0.7) < 5 * np.sqrt(0.21 / kept.size)
    np.testing.assert_allclose(to_numpy(y)[:, :40][kept], cache.scale / 40, rtol=1e-12)
    again, _ = op.masked_softmax_dropout_forward(x, valid, 0.3, mask=cache.mask)
    np.testing.assert_array_equal(to_numpy(again), to_numpy(y))
    for options in ({"p": 0.3}, {"p": 0.0, "rng": xp.random.default_rng(3)}):
        plain, plain_cache = op.masked_softmax_dropout_forward(x, valid, **options)
        assert plain_cache.mask is None and (to_numpy(plain)[:, :40] > 0).all()


BAD_INPUT = [
    ({"x": np.zeros(3, np.float32)}, r"x: expected .*got \(3,\)"),
    ({"valid": np.full(2, 1.5)}, r"valid: expected int64 lengths \(2,\) or bool \(2, 3\), got float64 \(2,\)"),
    ({"valid": np.full((2, 3), np.nan, np.float32)}, r"valid: expected .* got float32 \(2, 3\)"),
    ({"valid": np.ones(3, np.int64)}, r"valid: expected .* got int64 \(3,\)"),
    ({"valid": np.array([1, 4])}, "valid: expected lengths from 0 to 3, got 1 to 4"),
    ({"valid": np.array([-1, 2])}, "valid: expected lengths from 0 to 3, got -1 to 2"),
    ({"mask": np.full((2, 3), np.nan, np.float32), "p": 0.1}, r"mask: expected bool \(2, 3\), got float32 \(2, 3\)"),
    ({"mask": np.ones((2, 2), bool), "p": 0.1}, r"mask: expected bool \(2, 3\), got bool \(2, 2\)"),
    ({"p": 1.0}, "dropout: expected 0 <= p < 1, got 1.0"),
]


@pytest.mark.parametrize("change, message", BAD_INPUT)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        op.masked_softmax_dropout_forward(**{"x": np.zeros((2, 3), np.float32), "valid": np.array([1, 3]), **change})
