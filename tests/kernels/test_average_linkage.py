"""The average linkage kernels against the op in float64."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.average_linkage import average_linkage_forward
from minixl.ops import average_linkage as op
from tests.kernels.host import KernelFault


def compare(x, y, xp, **options):
    """Value and gradients within 1e-4, relative to the largest gradient."""
    value, cache = average_linkage_forward(xp.asarray(x), xp.asarray(y), **options)
    expected, exact = op.average_linkage_forward(x.astype(np.float64), y.astype(np.float64))
    scale = max(abs(exact.dx).max(initial=0), abs(exact.dy).max(initial=0))
    np.testing.assert_allclose(float(value), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(to_numpy(cache.dx), exact.dx, rtol=1e-4, atol=1e-4 * scale, err_msg="dx")
    np.testing.assert_allclose(to_numpy(cache.dy), exact.dy, rtol=1e-4, atol=1e-4 * scale, err_msg="dy")


def clouds(rng, n, m, hidden):
    x, y = rng.normal(size=(n, hidden)), rng.normal(0.5, 1, (m, hidden))
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 0), (5, 3, 7), (63, 2, 16), (70, 33, 33), (1, 64, 65)], ids=str)
@pytest.mark.parametrize("version, threads", [(1, 32), (1, 64), (2, 32), (2, 256)])
def test_matches_op(device, rng, shape, version, threads):
    compare(*clouds(rng, *shape), device, version=version, threads=threads)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("distance", [0.0, 1e-4, 1e-2])
def test_coinciding_points(device, rng, version, distance):
    centres = 10 * rng.normal(size=(2, 9))
    x, y = (centres[rng.integers(2, size=count)] + distance * rng.normal(size=(count, 9)) for count in (12, 9))
    x[1], y[2] = x[0], x[0]
    compare(x.astype(np.float32), y.astype(np.float32), device, version=version, threads=32)


def test_distances_are_clipped_above(device, rng):
    x, y = clouds(rng, 4, 3, 5)
    compare(x, y + np.float32(3000), device)


def test_the_same_bits_every_time(device, rng):
    x, y = map(device.asarray, clouds(rng, 70, 20, 9))
    first, second = (average_linkage_forward(x, y) for _ in range(2))
    for a, b in zip((first[0], *first[1]), (second[0], *second[1]), strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@pytest.mark.parametrize("version", [1, 2])
def test_nan_is_not_lost(device, rng, version):
    """Not in the op either: clipping distances must not replace NaN by a number."""
    x, y = clouds(rng, 4, 3, 5)
    x[2, 1] = np.nan
    value, cache = average_linkage_forward(device.asarray(x), device.asarray(y), version=version, threads=32)
    assert np.isnan(float(value)) and np.isnan(to_numpy(cache.dx)).any()
    assert np.isnan(op.average_linkage_forward(x, y)[0]) and np.isnan(op.average_linkage_forward(x, y)[1].dx).any()


def test_float64_uses_the_formula(device, rng):
    x, y = (device.asarray(points.astype(np.float64)) for points in clouds(rng, 4, 3, 5))
    value, cache = average_linkage_forward(x, y)
    assert value.dtype == cache.dx.dtype == np.float64


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // before the slices are loaded again", ""),
    ("__syncthreads(); // both slices are loaded", ""),
    ("__syncthreads(); // points and inverse are complete", ""),
    ("__syncthreads(); // before points is loaded again", ""),
    ("r < n + m && h < H ? row_of", "r <= n + m && h < H ? row_of"),
    ("j < TILE; ++j", "j < TILE - 1; ++j"),
    ("-2.0f / n", "-1.0f / n"),
    ("s < LOWEST || s > HIGHEST ? 0.0f : weight / distance", "weight"),
    ("segment + 1) / gridDim.y", "segment + 1) / gridDim.y - segment"),
], ids=["slice barrier", "loading barrier", "tile barrier", "points barrier",
        "tile edge", "last column", "factor", "distance", "segments"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("average_linkage.cu", old, new)
    with pytest.raises(AssertionError):                                # a KernelFault or a wrong number
        compare(*clouds(rng, 70, 20, 70), np)


def test_a_missing_barrier_is_named(mutant, rng):
    mutant("average_linkage.cu", "__syncthreads(); // both slices are loaded", "")
    with pytest.raises(KernelFault, match="average_linkage_v2: (race|uninitialised): block .* shared memory"):
        compare(*clouds(rng, 5, 5, 3), np)


@pytest.mark.parametrize("x, y, message", [
    (np.zeros((4, 6), np.float32)[:, ::2], np.zeros((2, 3), np.float32),
     r"x: expected a C-contiguous float32 array of shape \(4, 3\), got float32 \(4, 3\), strides \(24, 8\)"),
    (np.zeros((4, 3), np.float32), np.zeros((3, 2), np.float32).T, r"y: expected a C-contiguous float32 .* strides"),
    (np.zeros((4, 3), np.float16), np.zeros((2, 3), np.float16), "x: expected float32 or float64 .* got float16"),
    (np.zeros((4, 3), np.float32), np.zeros((2, 4), np.float32), r"y: expected float32 with 3 columns .* \(2, 4\)"),
    (np.zeros((4, 3), np.float32), np.zeros((2, 3)), "y: expected float32 with 3 columns as in x, got float64"),
    (np.zeros((0, 3), np.float32), np.zeros((2, 3), np.float32), r"x: expected .* at least one point, got float32 \(0, 3\)"),
])
def test_bad_input_is_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        average_linkage_forward(x, y)


def test_bad_block_is_named(rng):
    with pytest.raises(ValueError, match="threads: expected a multiple of 32 from 32 to 1024, got 48"):
        average_linkage_forward(*clouds(rng, 2, 2, 2), version=1, threads=48)
