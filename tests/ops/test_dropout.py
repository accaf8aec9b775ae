"""dropout_forward/backward: the checks of every op under a fixed mask, the rate, the replay of a step, the errors."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import dropout
from tests.ops.checks import CHECKS, Case, assert_close

SHAPES = [(1, 1), (5, 7), (3, 768)]
P = 0.25                                                               # a multiple of 2^-16: the scale is exactly 1 / (1 - p)


def case(module, rng, shape) -> Case:
    mask = rng.random(shape) >= P
    return Case(module.dropout_forward, module.dropout_backward, {"x": rng.normal(size=shape)},
                lambda x: x * torch.tensor(mask) / (1 - P), {"p": P, "mask": mask})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(dropout, rng, shape), xp, rng)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_and_mean(xp, p):
    x = xp.ones((1000, 200))
    y, cache = dropout.dropout_forward(x, p, rng=xp.random.default_rng(3))
    y, mask = to_numpy(y), to_numpy(cache.mask)
    deviation = np.sqrt(p * (1 - p) / x.size)                          # standard deviation of the share in 200000 draws
    assert abs(mask.mean() - (1 - p)) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / (1 - p)
    np.testing.assert_array_equal(y, mask * cache.scale)
    rows, columns = mask.mean(axis=1), mask.mean(axis=0)               # no row or column is treated differently
    assert abs(rows - (1 - p)).max() < 6 * np.sqrt(p * (1 - p) / 200)
    assert abs(columns - (1 - p)).max() < 6 * np.sqrt(p * (1 - p) / 1000)


@pytest.mark.parametrize("p", [0.1, 0.3, 1e-4])
def test_the_scale_uses_the_rounded_rate(p):
    assert dropout.dropout_scale(p) == pytest.approx(1 / (1 - round(p * 65536) / 65536), rel=1e-12)
    assert dropout.dropout_scale(p) == pytest.approx(1 / (1 - p), rel=1e-4)


def test_the_mask_of_a_cache_replays_its_step(xp, rng):
    x, dy = xp.asarray(rng.normal(size=(20, 9))), xp.asarray(rng.normal(size=(20, 9)))
    y, cache = dropout.dropout_forward(x, 0.3, rng=xp.random.default_rng(1))
    again, replayed = dropout.dropout_forward(x, 0.3, mask=cache.mask)
    np.testing.assert_array_equal(to_numpy(again), to_numpy(y))
    np.testing.assert_array_equal(to_numpy(dropout.dropout_backward(dy, replayed)[0]),
                                  to_numpy(dropout.dropout_backward(dy, cache)[0]))
    same, _ = dropout.dropout_forward(x, 0.3, rng=xp.random.default_rng(1))
    other, _ = dropout.dropout_forward(x, 0.3, rng=xp.random.default_rng(2))
    np.testing.assert_array_equal(to_numpy(same), to_numpy(y))
    assert (to_numpy(other) != to_numpy(y)).any()


@pytest.mark.parametrize("p, seeded", [(0.0, True), (0.5, False)], ids=["p=0", "no generator"])
def test_nothing_is_dropped(xp, rng, p, seeded):
    x = xp.asarray(rng.normal(size=(4, 5)))
    y, cache = dropout.dropout_forward(x, p, rng=xp.random.default_rng(0) if seeded else None)
    assert cache.mask is None
    np.testing.assert_array_equal(to_numpy(y), to_numpy(x))
    np.testing.assert_array_equal(to_numpy(dropout.dropout_backward(x, cache)[0]), to_numpy(x))


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_impossible_rate(rng, p):
    with pytest.raises(ValueError, match=rf"^dropout: expected 0 <= p < 1, got {p}$"):
        dropout.dropout_forward(np.ones((2, 2)), p, rng=rng)


def test_a_rate_that_rounds_to_1(rng):
    with pytest.raises(ValueError, match="^dropout: expected p of at most 1 - 1/65536, got 0.999999: everything would be dropped$"):
        dropout.dropout_forward(np.ones((2, 2)), 0.999999, rng=rng)
    assert dropout.dropout_scale(0.99) == pytest.approx(100, rel=1e-3)


def test_many_rows_on_threads_equal_numpy(rng, many_blocks):
    x, mask = rng.normal(size=(1001, 24)), rng.random((1001, 24)) >= P
    y, cache = dropout.dropout_forward(x, P, mask=mask)
    assert_close(y, x * mask / (1 - P), 1e-15)
    assert_close(dropout.dropout_backward(x, cache)[0], x * mask / (1 - P), 1e-15)
    assert many_blocks() > 6


def test_masks_are_those_of_16_bits_at_a_time():
    """Also after a draw that leaves half a word."""
    ours, theirs = (np.random.Generator(np.random.SFC64(3)) for _ in range(2))
    for shape in ((4, 8), (3, 5), (2, 2), (1, 1), (6, 6), (0, 4), (12,)):
        expected = theirs.integers(0, 1 << 16, shape, dtype=np.uint16) >= round(0.3 * (1 << 16))
        np.testing.assert_array_equal(dropout.dropout_mask(shape, 0.3, ours, np), expected)
