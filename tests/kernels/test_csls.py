"""The CSLS kernels against the op in float64."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.csls import mean_similarities, top_products, top_products_both_ways
from minixl.ops import csls as op
from tests.kernels.host import KernelFault


def spaces(rng, n, m, hidden):
    return [rng.normal(size=shape).astype(np.float32) for shape in ((n, hidden), (m, hidden), (n,), (m,))]


def compare(arrays, k, xp, **options):
    """Scores, indices and means of all three functions; random products are too far apart for float32 to exchange two."""
    moved = [xp.asarray(array) for array in arrays]
    wide = [array.astype(np.float64) for array in arrays]
    pairs = [(top_products(*moved[:2], k, moved[3], **options), op.top_products(*wide[:2], k, wide[3])),
             *zip(top_products_both_ways(*moved[:2], k, *moved[2:], **options),
                  op.top_products_both_ways(*wide[:2], k, *wide[2:]), strict=True)]
    for best, exact in pairs:
        np.testing.assert_array_equal(to_numpy(best.indices), exact.indices)
        np.testing.assert_allclose(to_numpy(best.scores), exact.scores, rtol=1e-4, atol=1e-4)
    for means, exact in zip(mean_similarities(*moved[:2], k, **options), op.mean_similarities(*wide[:2], k), strict=True):
        np.testing.assert_allclose(to_numpy(means), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 2, 0, 2), (5, 3, 7, 10), (70, 150, 17, 10), (1, 200, 16, 40), (64, 65, 17, 1)],
                         ids=str)
@pytest.mark.parametrize("version, threads", [(1, 32), (1, 64), (2, 32), (2, 256)])
def test_matches_op(device, rng, shape, version, threads):
    n, m, hidden, k = shape
    compare(spaces(rng, n, m, hidden), k, device, version=version, threads=threads)


@pytest.mark.parametrize("version", [1, 2])
def test_equal_products_keep_the_order_of_their_indices(device, rng, version):
    x, y = (device.asarray(rng.integers(-1, 2, (count, 3)).astype(np.float32)) for count in (70, 200))
    best, exact = top_products(x, y, 9, version=version, threads=32), op.top_products(to_numpy(x), to_numpy(y), 9)
    np.testing.assert_array_equal(to_numpy(best.indices), exact.indices)


@pytest.mark.parametrize("version", [1, 2])
def test_nan_is_never_among_the_best(device, rng, version):
    x, y, _, _ = spaces(rng, 4, 70, 5)
    x[1], y[2] = np.nan, np.nan
    indices = to_numpy(top_products(device.asarray(x), device.asarray(y), 3, version=version, threads=32).indices)
    assert (indices[1] == -1).all() and not (indices == 2).any() and (np.delete(indices, 1, 0) >= 0).all()


def test_float64_uses_the_formula(device, rng):
    x, y = (device.asarray(array.astype(np.float64)) for array in spaces(rng, 4, 3, 5)[:2])
    assert top_products(x, y, 2).scores.dtype == np.float64


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // before the slices are loaded again", ""),
    ("__syncthreads(); // both slices are loaded", ""),
    ("__syncthreads(); // the tile is complete", ""),
    ("r < rows && h < H ?", "r <= rows && h < H ?"),
    ("column + j + c < m;", "column + j + c <= m;"),
    ("c < TILE; ++c) { const float score", "c < TILE - 1; ++c) { const float score"),
    ("if (score > worst) worst = insert(best, partner, k, score, column + c)",
     "if (score > worst) worst = insert(best, partner, k, score, c)"),
    ("scores[place - 1] < score; --place", "scores[place - 1] > score; --place"),
    ("return scores[k - 1];", "return score;"),
    ("(blockIdx.y + 1) / gridDim.y", "(blockIdx.y + 1) / gridDim.y - blockIdx.y"),
    ("product[r][c] - a[row + i + r] -", "product[r][c] -"),
    ("t < counted", "t < counted - 1"),
], ids=["slice barrier", "loading barrier", "tile barrier", "row edge", "column edge", "last column", "index", "order",
        "threshold", "segments", "offset", "mean"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("csls.cu", old, new)
    with pytest.raises(AssertionError):                                # a KernelFault or a wrong number
        compare(spaces(rng, 70, 150, 20), 10, np)


def test_a_missing_barrier_is_named(mutant, rng):
    mutant("csls.cu", "__syncthreads(); // both slices are loaded", "")
    with pytest.raises(KernelFault, match="csls_v2: (race|uninitialised): block .* shared memory"):
        compare(spaces(rng, 5, 5, 3), 2, np)


@pytest.mark.parametrize("x, y, k, message", [
    (np.zeros((4, 6), np.float32)[:, ::2], np.zeros((2, 3), np.float32), 1,
     r"x: expected a C-contiguous float32 array of shape \(4, 3\), got float32 \(4, 3\), strides \(24, 8\)"),
    (np.zeros((4, 3), np.float32), np.zeros((2, 4), np.float32), 1, r"y: expected float32 with 3 columns .* \(2, 4\)"),
    (np.zeros((4, 3), np.float32), np.zeros((2, 3)), 1, "y: expected float32 with 3 columns as in x, got float64"),
    (np.zeros((0, 3), np.float32), np.zeros((2, 3), np.float32), 1, r"x: expected .* at least one word, got float32 \(0, 3\)"),
    (np.zeros((4, 3), np.float32), np.zeros((2, 3), np.float32), 0, "k: expected at least 1, got 0"),
])
def test_bad_input_is_named(x, y, k, message):
    with pytest.raises(ValueError, match=message):
        top_products(x, y, k)


def test_bad_offsets_and_blocks_are_named(rng):
    x, y, _, _ = spaces(rng, 4, 3, 5)
    with pytest.raises(ValueError, match=r"offsets: expected float32 of shape \(3,\), got float32 \(2,\)"):
        top_products(x, y, 1, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="threads: expected a multiple of 32 from 32 to 1024, got 48"):
        top_products(x, y, 1, version=1, threads=48)
