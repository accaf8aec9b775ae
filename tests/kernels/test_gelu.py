"""The GELU kernels against the op in float64."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.gelu import gelu_backward, gelu_forward
from minixl.ops import gelu as op


def compare(rng, shape, xp, **options):
    x, dy = 3 * rng.normal(size=(2, *shape)).astype(np.float32)
    y, cache = gelu_forward(xp.asarray(x), **options)
    dx, grads = gelu_backward(xp.asarray(dy), cache, **options)
    exact_y, exact_cache = op.gelu_forward(x.astype(np.float64))
    exact_dx, _ = op.gelu_backward(dy.astype(np.float64), exact_cache)
    assert grads == {}
    np.testing.assert_allclose(to_numpy(y), exact_y, rtol=1e-4, atol=1e-6, err_msg="y")
    np.testing.assert_allclose(to_numpy(dx), exact_dx, rtol=1e-4, atol=2e-6, err_msg="dx")


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 37), (20, 64)], ids=str)
@pytest.mark.parametrize("threads", [32, 128, 1024])
def test_matches_op(device, rng, shape, threads):
    compare(rng, shape, device, threads=threads)


def test_more_elements_than_one_grid(device, rng, monkeypatch):
    monkeypatch.setattr("minixl.kernels.MAX_BLOCKS", 2)
    compare(rng, (7, 33), device, threads=32)


@pytest.mark.parametrize("old, new", [
    ("dy[e] * slope[e]", "dy[e]"), ("v * 0.39894228f", "0.39894228f"), ("e < size;", "e <= size;"), ("e < size;", "e < size - 1;"),
], ids=["slope", "factor", "one too many", "one too few"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("gelu.cu", old, new)
    with pytest.raises(AssertionError):
        compare(rng, (7, 33), np)


def test_bad_input_is_named(rng):
    with pytest.raises(ValueError, match=r"x: expected a C-contiguous float32 array of shape \(3, 2\), got int64"):
        gelu_forward(np.ones((3, 2), np.int64))
    with pytest.raises(ValueError, match="x: expected a C-contiguous .* strides"):
        gelu_forward(np.ones((3, 2), np.float32).T)
    _, cache = gelu_forward(np.ones((0, 2), np.float32))
    with pytest.raises(ValueError, match=r"dy: expected .* shape \(0, 2\), got float32 \(1, 2\)"):
        gelu_backward(np.ones((1, 2), np.float32), cache)
    with pytest.raises(ValueError, match="dy: expected a C-contiguous float32 .* got float64"):
        gelu_backward(np.ones((0, 2)), cache)
