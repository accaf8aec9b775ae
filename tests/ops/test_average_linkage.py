"""average_linkage against PyTorch autograd and its definition, also for points that coincide."""
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from minixl import backend
from minixl.backend import to_numpy
from minixl.ops import average_linkage
from minixl.ops.average_linkage import average_linkage_backward, average_linkage_forward
from tests.ops.energy_reference import energy_distance

SHAPES = [(1, 1, 1), (2, 1, 3), (5, 7, 33), (40, 33, 8), (1, 9, 768)]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Small tiles, so that a few points fill several and leave a smaller last one."""
    monkeypatch.setattr(average_linkage, "TILE", 8)


def compare(x, y, dvalue, xp, rtol):
    """Value and both gradients against PyTorch in float64, relative to the largest gradient."""
    value, cache = average_linkage_forward(xp.asarray(x), xp.asarray(y))
    dx, grads = average_linkage_backward(xp.asarray(dvalue, x.dtype), cache)
    tx, ty = (torch.tensor(points.astype(np.float64), requires_grad=True) for points in (x, y))
    expected = energy_distance(tx, ty)
    expected.backward(torch.tensor(float(dvalue), dtype=torch.float64))
    scale = max(float(tx.grad.abs().max()), float(ty.grad.abs().max()))
    assert value.dtype == dx.dtype == grads["y"].dtype == x.dtype
    np.testing.assert_allclose(float(value), expected.item(), rtol=rtol, atol=rtol * 1e-3)
    np.testing.assert_allclose(to_numpy(dx), tx.grad.numpy(), rtol=rtol, atol=rtol * scale, err_msg="dx")
    np.testing.assert_allclose(to_numpy(grads["y"]), ty.grad.numpy(), rtol=rtol, atol=rtol * scale, err_msg="dy")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-9), ("float32", 1e-4)])
def test_matches_pytorch(xp, rng, shape, dtype, rtol):
    n, m, hidden = shape
    x, y = rng.normal(size=(n, hidden)), rng.normal(0.3, 1.2, (m, hidden))
    compare(x.astype(dtype), y.astype(dtype), rng.normal(), xp, rtol)


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-7), ("float32", 1e-4)])
def test_near_and_coinciding_points(xp, rng, offset, distance, dtype, rtol):
    """Narrow clusters, far apart and away from the origin: the product alone would get every digit wrong."""
    centres = offset + 10 * rng.normal(size=(3, 16))
    x = centres[rng.integers(3, size=30)] + distance * rng.normal(size=(30, 16))
    y = centres[rng.integers(3, size=20)] + distance * rng.normal(size=(20, 16))
    x[3], x[4], y[5] = x[2], x[2], x[2]
    compare(x.astype(dtype), y.astype(dtype), 1.7, xp, rtol)


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-7), ("float32", 1e-4)])
def test_few_near_pairs_among_many_points(xp, rng, dtype, rtol, monkeypatch):
    """A tile with one near pair, which alone is computed from its difference."""
    monkeypatch.setattr(average_linkage, "TILE", 64)
    x, y = rng.normal(size=(70, 24)), rng.normal(size=(66, 24))
    y[0] = x[0] + 1e-3 * rng.normal(size=24)
    x[1] = x[2] + 1e-2 * rng.normal(size=24)
    compare(x.astype(dtype), y.astype(dtype), 1.0, xp, rtol)


def test_distances_are_clipped_above(xp, rng):
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(6, 4)) + 2000
    compare(x, y, 1.0, xp, 1e-9)


def test_random_direction(rng):
    """Central difference along a random direction, without PyTorch."""
    x, y, u, v = rng.normal(size=(4, 9, 5))
    _, cache = average_linkage_forward(x, y)
    dx, grads = average_linkage_backward(np.float64(1.3), cache)
    step = 1e-5
    up, down = (1.3 * average_linkage_forward(x + sign * step * u, y + sign * step * v)[0] for sign in (1, -1))
    np.testing.assert_allclose((dx * u + grads["y"] * v).sum(), (up - down) / (2 * step), rtol=1e-6)


def test_zero_for_equal_clouds_and_positive_otherwise(xp, rng):
    x = rng.normal(size=(20, 6))
    shuffled = x[rng.permutation(20)]
    value, cache = average_linkage_forward(xp.asarray(x), xp.asarray(shuffled))
    assert abs(float(value)) < 1e-12 and float(abs(cache.dx).max()) < 1e-12
    for _ in range(5):
        assert float(average_linkage_forward(xp.asarray(rng.normal(size=(3, 2))), xp.asarray(x[:, :2]))[0]) > 0


def test_backward_leaves_its_inputs_alone(xp, rng):
    x, y = xp.asarray(rng.normal(size=(9, 4))), xp.asarray(rng.normal(size=(11, 4)))
    before = [to_numpy(x).copy(), to_numpy(y).copy()]
    _, cache = average_linkage_forward(x, y)
    before += [to_numpy(field).copy() for field in cache]
    average_linkage_backward(xp.asarray(2.0), cache)
    for kept, now in zip(before, (x, y, *cache), strict=True):
        np.testing.assert_array_equal(kept, to_numpy(now))


@pytest.mark.parametrize("x, y, message", [
    (np.zeros((0, 3)), np.zeros((2, 3)), r"x: expected .* at least one point, got float64 \(0, 3\)"),
    (np.zeros((2, 3)), np.zeros(3), r"y: expected .* shape \(points, H\).*, got float64 \(3,\)"),
    (np.zeros((2, 3)), np.zeros((2, 4)), r"y: expected float64 with 3 columns as in x, got float64 \(2, 4\)"),
    (np.zeros((2, 3)), np.zeros((2, 3), np.float32), r"y: expected float64 .* got float32"),
    (np.zeros((2, 3), int), np.zeros((2, 3)), r"x: expected float32 or float64 .* got int64"),
])
def test_bad_input_is_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        average_linkage_forward(x, y)


@pytest.mark.parametrize("count", range(1, 10))
def test_rounds_have_every_pair_once_and_no_number_twice(count):
    schedule = list(average_linkage.rounds(count))
    for disjoint in schedule[1:]:
        numbers = [number for couple in disjoint for number in couple]
        assert len(numbers) == len(set(numbers))
    pairs = sorted(couple for disjoint in schedule for couple in disjoint)
    assert pairs == [(i, j) for i in range(count) for j in range(i, count)]


@pytest.mark.parametrize("alone", [False, True])
def test_with_and_without_threads(rng, monkeypatch, alone):
    """The same bits, however the tiles are distributed over threads."""
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(30, 6))
    expected, exact = average_linkage_forward(x, y)
    monkeypatch.setattr(average_linkage, "single_threaded", lambda: nullcontext(alone))
    monkeypatch.setattr(backend, "threads", lambda: 3)
    backend._pool.cache_clear()
    value, cache = average_linkage_forward(x, y)
    backend._pool.cache_clear()
    assert value == expected
    np.testing.assert_array_equal(cache.dx, exact.dx)
    np.testing.assert_array_equal(cache.dy, exact.dy)
