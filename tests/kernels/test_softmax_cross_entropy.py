"""The cross-entropy kernels against the op in float64."""
import re

import numpy as np
import pytest

from minixl import kernels
from minixl.backend import to_numpy
from minixl.kernels.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minixl.ops import softmax_cross_entropy as op
from tests.kernels import host


def compare(rng, shape, xp, scored=0.7, **options):
    logits = (5 * rng.normal(size=shape)).astype(np.float32)
    labels = np.where(rng.random(shape[0]) < scored, rng.integers(0, shape[1], shape[0]), -100)
    loss, cache = softmax_cross_entropy_forward(xp.asarray(logits), xp.asarray(labels), **options)
    dlogits, _ = softmax_cross_entropy_backward(xp.asarray(1.7, np.float32), cache, **options)
    exact_loss, exact_cache = op.softmax_cross_entropy_forward(logits.astype(np.float64), labels)
    exact, _ = op.softmax_cross_entropy_backward(np.float64(1.7), exact_cache)
    np.testing.assert_allclose(float(loss), exact_loss, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(cache.log_probs), exact_cache.log_probs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(to_numpy(dlogits), exact, rtol=1e-4, atol=1e-6 / max(1, len(exact)))


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 5), (9, 17), (3, 300), (70, 33)], ids=str)
@pytest.mark.parametrize("threads", [None, 32, 128])
def test_matches_op(device, rng, shape, threads):
    compare(rng, shape, device, threads=threads)


def test_no_scored_row(device, rng):
    compare(rng, (4, 3), device, scored=0)


def test_a_class_with_score_minus_infinity_has_no_gradient(device):
    logits = device.asarray([[0.5, -np.inf, 1.5]], np.float32)
    loss, cache = softmax_cross_entropy_forward(logits, device.asarray([2]))
    dlogits, _ = softmax_cross_entropy_backward(device.asarray(1, np.float32), cache)
    assert np.isfinite(float(loss)) and float(dlogits[0, 1]) == 0


def test_a_label_beyond_the_classes_is_not_silent(device):
    loss, cache = softmax_cross_entropy_forward(device.zeros((2, 3), np.float32), device.asarray([0, 3]))
    dlogits, _ = softmax_cross_entropy_backward(device.asarray(1, np.float32), cache)
    assert np.isnan(float(loss)) and np.isnan(to_numpy(dlogits)[1]).all() and np.isfinite(to_numpy(dlogits)[0]).all()


@pytest.mark.parametrize("old, new", [
    ("most = block_max(most)", "most = warp_max(most) + 1000 * (threadIdx.x / 32)"),
    ("k == label ? 1.0f : 0.0f", "0.0f"), ("dloss[0] / scored[0]", "dloss[0]"), ("label < 0 ? 0.0f", "label < -100 ? 0.0f"),
    ("count += labels[n] >= 0", "count += 1"),
], ids=["maximum", "one-hot", "mean", "ignored rows", "count"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("softmax_cross_entropy.cu", old, new)
    with pytest.raises(AssertionError):
        compare(rng, (9, 70), np, threads=64)


def test_a_missing_barrier_in_the_block_sum_is_caught(rng, monkeypatch):
    """Replaces the #include by reduce.cuh without the barrier after the read."""
    header = (kernels.KERNELS / "reduce.cuh").read_text()
    changed, count = re.subn(r"__syncthreads\(\); +// now of_warp may be written again", "", header)
    assert count
    source = (kernels.KERNELS / "layernorm.cu").read_text().replace('#include "reduce.cuh"', changed)
    kernel = host.HostKernel("layernorm.cu", "layernorm_backward_v2", source)
    x = rng.normal(size=(2, 70)).astype(np.float32)
    with pytest.raises(host.KernelFault, match="race"):
        kernel((2,), (64,), (x, x.copy(), np.ones((2, 1), np.float32), x[0].copy(), np.empty_like(x), np.int32(2), np.int32(70)))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"labels: expected a C-contiguous int64 array of shape \(2,\), got int32 \(2,\)"):
        softmax_cross_entropy_forward(np.zeros((2, 3), np.float32), np.zeros(2, np.int32))
    for logits, message in ((np.zeros((2, 3), np.int32), "logits: .* got int32"),
                            (np.zeros((3, 2), np.float32).T, "logits: .* strides"),
                            (np.zeros(2, np.float32), r"logits: expected an array with 2 axes, got \(2,\)")):
        with pytest.raises(ValueError, match=message):
            softmax_cross_entropy_forward(logits, np.zeros(2, np.int64))
    cache = op.SoftmaxCrossEntropyCache(np.zeros((2, 3), np.float32), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match=r"dloss: expected one number, got shape \(2,\)"):
        softmax_cross_entropy_backward(np.ones(2, np.float32), cache)
