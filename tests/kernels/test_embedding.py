"""The row-sparse gradient kernel against the op."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.embedding import sum_rows
from minixl.ops import embedding as op


def compare(rng, tokens, vocabulary, hidden, xp, **options):
    ids = rng.integers(0, vocabulary, tokens)
    values = rng.normal(size=(tokens, hidden)).astype(np.float32)
    ours = sum_rows(xp.asarray(ids), xp.asarray(values), **options)
    theirs = op.sum_rows(ids, values.astype(np.float64))
    np.testing.assert_array_equal(to_numpy(ours.rows), theirs.rows)
    np.testing.assert_allclose(to_numpy(ours.values), theirs.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(0, 3, 4), (1, 1, 1), (9, 4, 33), (50, 1, 5), (40, 1000, 64)], ids=str)
@pytest.mark.parametrize("threads", [32, 128])
def test_matches_op(device, rng, sizes, threads):
    compare(rng, *sizes, device, threads=threads)


@pytest.mark.parametrize("old, new", [("e < after;", "e < after - 1;"), ("first[blockIdx.x + 1]", "first[blockIdx.x + 1] + 1"),
                                      ("order[e]", "e")], ids=["last row", "next id", "order"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("embedding.cu", old, new)
    with pytest.raises(AssertionError):
        compare(rng, 30, 7, 5, np)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"ids: expected a C-contiguous int64 array of shape \(3,\), got int32 \(3,\)"):
        sum_rows(np.zeros(3, np.int32), np.zeros((3, 2), np.float32))
    for values, message in ((np.zeros((3, 2), np.float16), "values: .* got float16"),
                            (np.zeros((3, 4), np.float32)[:, ::2], "values: .* strides"),
                            (np.zeros(3, np.float32), r"values: expected an array with 2 axes, got \(3,\)"),
                            (np.zeros((4, 2), np.float32), r"ids: .* shape \(4,\), got int64 \(3,\)")):
        with pytest.raises(ValueError, match=message):
            sum_rows(np.zeros(3, np.int64), values)
