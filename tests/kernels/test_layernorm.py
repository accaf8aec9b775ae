"""The layer normalisation kernels against the op in float64, every version and block size."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.layernorm import layernorm_backward, layernorm_forward
from minixl.ops import layernorm as op

SHAPES = [(0, 5), (1, 1), (1, 768), (3, 33), (67, 40), (130, 7)]
BLOCKS = [(1, 32), (2, 32), (2, 64), (2, 256)]


def compare(rng, shape, xp, **options):
    """Check y, dx, dweight, dbias of random input and random dy within 1e-4."""
    x, dy = rng.normal(1, 2, (2, *shape)).astype(np.float32)
    weight, bias = rng.uniform(0.5, 1.5, (2, shape[1])).astype(np.float32)
    eps = 1e-5
    y, cache = layernorm_forward(*map(xp.asarray, (x, weight, bias)), eps, **options)
    dx, grads = layernorm_backward(xp.asarray(dy), cache, **options)
    exact_y, exact_cache = op.layernorm_forward(*(a.astype(np.float64) for a in (x, weight, bias)), eps)
    exact_dx, exact = op.layernorm_backward(dy.astype(np.float64), exact_cache)
    for name, ours, theirs in (("y", y, exact_y), ("norm", cache.norm, exact_cache.norm), ("rstd", cache.rstd, exact_cache.rstd),
                               ("dx", dx, exact_dx), ("dweight", grads["weight"], exact["weight"]),
                               ("dbias", grads["bias"], exact["bias"])):
        # dx is rstd times a difference that may cancel, exactly so for one column: its rounding grows with rstd (here up to 316)
        scale = max(1.0, exact_cache.rstd.max(initial=0)) if name == "dx" else 1.0
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-4, atol=2e-5 * scale, err_msg=name)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("version, threads", BLOCKS)
def test_matches_op(device, rng, shape, version, threads):
    compare(rng, shape, device, version=version, threads=threads)


def test_reference_backward_accepts_the_kernels_cache(device, rng):
    x, dy = rng.normal(size=(2, 5, 9)).astype(np.float32)
    weight, bias = rng.normal(size=(2, 9)).astype(np.float32)
    _, cache = layernorm_forward(*map(device.asarray, (x, weight, bias)))
    ours, _ = layernorm_backward(device.asarray(dy), cache)
    theirs, _ = op.layernorm_backward.__wrapped__(device.asarray(dy), cache)
    np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // all sums are there", ""),
    ("h < H; h += blockDim.x) sum +=", "h < H - 1; h += blockDim.x) sum +="),
    ("- norm[row + h] * slope", ""),
    ("slope = block_sum(slope) / H", "slope = block_sum(slope)"),
    ("t < after; t += LANES", "t <= after; t += LANES"),
    ("for (int s = 0; s < stretches", "for (int s = 1; s < stretches"),
], ids=["barrier", "last element", "projection", "factor", "row edge", "first stretch"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("layernorm.cu", old, new)
    with pytest.raises(AssertionError):
        compare(rng, (67, 40), np)


def test_bad_input_is_named(rng):
    x, weight = np.ones((4, 6), np.float32), np.ones(6, np.float32)
    with pytest.raises(ValueError, match=r"weight: expected a C-contiguous float32 array of shape \(6,\), got float32 \(5,\)"):
        layernorm_forward(x, weight[:5], weight)
    with pytest.raises(ValueError, match=r"x: expected a C-contiguous .* strides \(4, 24\)"):
        layernorm_forward(np.ones((6, 6), np.float32).T, weight, weight)
    with pytest.raises(ValueError, match="bias: .* got float16"):
        layernorm_forward(x, weight, weight.astype(np.float16))
    with pytest.raises(ValueError, match=r"x: expected an array with 2 axes, got \(6,\)"):
        layernorm_forward(np.zeros(6, np.float32), np.ones(6, np.float32), np.ones(6, np.float32))
    with pytest.raises(ValueError, match="bias: .* got float64"):
        layernorm_forward(np.zeros((2, 6), np.float32), np.ones(6, np.float32), np.ones(6))
