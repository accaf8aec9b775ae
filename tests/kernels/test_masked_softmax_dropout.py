"""The kernels of masked softmax with dropout against the op in float64."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.masked_softmax_dropout import masked_softmax_dropout_backward, masked_softmax_dropout_forward
from minixl.ops import masked_softmax_dropout as op
from tests.kernels.test_attention import hashed_mask
from tests.ops.test_masked_softmax_dropout import BAD_INPUT


def compare(rng, shape, xp, *, lengths=True, p=0.0, mask=None, generator=None, **options):
    """y, probs and dx within 1e-5; the op gets the mask that the kernel drew.  Returns the cache."""
    x, dy = (3 * rng.normal(size=(2, *shape))).astype(np.float32)
    valid = rng.integers(0, shape[1] + 1, shape[0]) if lengths else rng.random(shape) < 0.6
    x[~(np.arange(shape[1]) < valid[:, None] if lengths else valid)] = np.nan      # invalid entries are never read
    y, cache = masked_softmax_dropout_forward(xp.asarray(x), xp.asarray(valid), p, rng=generator,
                                              mask=None if mask is None else xp.asarray(mask), **options)
    dx, grads = masked_softmax_dropout_backward(xp.asarray(dy), cache, **options)
    drawn = None if cache.mask is None else to_numpy(cache.mask)
    exact, exact_cache = op.masked_softmax_dropout_forward(x.astype(np.float64), valid, p, mask=drawn)
    exact_dx, _ = op.masked_softmax_dropout_backward(dy.astype(np.float64), exact_cache)
    assert y.dtype == dx.dtype == np.float32 and grads == {} and cache.scale == exact_cache.scale
    for name, ours, theirs in (("y", y, exact), ("probs", cache.probs, exact_cache.probs), ("dx", dx, exact_dx)):
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-4, atol=1e-6, err_msg=name)
    return cache


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (1, 5), (9, 31), (3, 32), (2, 33), (40, 7), (2, 300)], ids=str)
@pytest.mark.parametrize("lengths", [True, False], ids=["lengths", "bool"])
@pytest.mark.parametrize("threads", [32, 256])
def test_matches_op(device, rng, shape, lengths, threads):
    compare(rng, shape, device, lengths=lengths, threads=threads)
    compare(rng, shape, device, lengths=lengths, threads=threads, p=0.3, mask=rng.random(shape) < 0.7)
    compare(rng, shape, device, lengths=lengths, threads=threads, p=0.3, generator=device.random.default_rng(1))


def test_more_rows_than_one_grid(device, rng, monkeypatch):
    monkeypatch.setattr("minixl.kernels.MAX_BLOCKS", 2)
    compare(rng, (23, 5), device, threads=64, p=0.3, generator=device.random.default_rng(1))


def test_the_mask_is_drawn_from_a_hash_of_the_place(device, rng):
    seed = int(device.random.default_rng(5).integers(0, 1 << 62, 1, dtype=np.int64)[0])
    cache = compare(rng, (40, 50), device, p=0.3, generator=device.random.default_rng(5))
    np.testing.assert_array_equal(to_numpy(cache.mask), hashed_mask(seed, 2000, 0.3).reshape(40, 50))
    assert abs(to_numpy(cache.mask).mean() - 0.7) < 5 * np.sqrt(0.21 / 2000)


@pytest.mark.parametrize("options", [{"p": 0.0, "generator": np.random.default_rng(0)}, {"p": 0.3}], ids=["p=0", "no generator"])
def test_nothing_is_dropped(device, rng, options):
    assert compare(rng, (4, 9), device, **options).mask is None


def test_nothing_is_valid(device):
    x, valid = device.asarray([[-np.inf, -np.inf], [1, 2]], np.float32), device.asarray([2, 0])
    y, cache = masked_softmax_dropout_forward(x, valid)
    dx, _ = masked_softmax_dropout_backward(device.ones((2, 2), np.float32), cache)
    assert (to_numpy(y) == 0).all() and (to_numpy(dx) == 0).all()


def test_nan_in_a_valid_entry_is_not_lost(device):
    y, _ = masked_softmax_dropout_forward(device.asarray([[0, np.nan, 1]], np.float32), device.asarray([3]))
    assert np.isnan(to_numpy(y)).all()


def test_op_and_kernel_accept_each_others_cache(device, rng):
    x, dy = (device.asarray(part) for part in rng.normal(size=(2, 6, 9)).astype(np.float32))
    valid = device.full(6, 7)
    _, cache = masked_softmax_dropout_forward(x, valid, 0.3, rng=device.random.default_rng(1))
    expected = op.masked_softmax_dropout_backward.__wrapped__(dy, cache)[0]
    _, again = op.masked_softmax_dropout_forward.__wrapped__(x, valid, 0.3, mask=cache.mask)
    for theirs in (cache, again):
        dx, _ = masked_softmax_dropout_backward(dy, theirs)
        np.testing.assert_allclose(to_numpy(dx), to_numpy(expected), rtol=1e-4, atol=1e-6)


def test_float64_uses_the_formula(device, rng):
    y, cache = masked_softmax_dropout_forward(device.asarray(rng.normal(size=(2, 3))), device.asarray([2, 3]), 0.3,
                                              rng=device.random.default_rng(1))
    assert y.dtype == masked_softmax_dropout_backward(y, cache)[0].dtype == np.float64


@pytest.mark.parametrize("old, new", [
    ("most = warp_max(most);", ""),
    ("sum += expf(scores[first + k] - most);\n        sum = warp_sum(sum);", "sum += expf(scores[first + k] - most);"),
    ("k < lengths[row]", "k <= lengths[row]"),
    ("if (most == -INFINITE) most = 0.0f;", ""),
    ("kept ? p * keep_scale", "kept ? p"),
    ("drawn[first + k] = kept;", "drawn[first + k] = !kept;"),
    ("dropped, first + k", "dropped, k"),
    ("(dprob - sum)", "dprob"),
    ("probs[first + k];\n        sum = warp_sum(sum);", "probs[first + k];"),
    ("const float dprob = !use_mask || mask[first + k] ?", "const float dprob = true ?"),
    ("if (!use_mask || mask[first + k]) sum", "sum"),
    ("row += warps", "row += 2 * warps"),
    ("row < rows;", "row <= rows;"),
], ids=["maximum", "sum", "length", "empty rows", "scale", "drawn mask", "place", "projection", "sum backward", "mask backward",
        "mask in the projection", "stride", "last row"])
def test_planted_mistakes_are_caught(mutant, rng, monkeypatch, old, new):
    mutant("masked_softmax_dropout.cu", old, new)
    monkeypatch.setattr("minixl.kernels.MAX_BLOCKS", 2)
    with pytest.raises(AssertionError):
        test_the_mask_is_drawn_from_a_hash_of_the_place(np, rng)
        test_nothing_is_valid(np)


@pytest.mark.parametrize("change, message", [*BAD_INPUT, *[
    ({"x": np.zeros((2, 3), np.int32)}, r"x: expected a C-contiguous float32 array .* got int32 \(2, 3\), strides .*"),
    ({"x": np.zeros((3, 2), np.float32).T}, r"x: expected a C-contiguous float32 array of shape \(2, 3\), .*strides \(4, 8\)"),
    ({"valid": np.ones((3, 2), bool).T}, r"valid: expected a C-contiguous bool array of shape \(2, 3\), .*"),
    ({"mask": np.ones((3, 2), bool).T, "p": 0.1}, r"mask: expected a C-contiguous bool array of shape \(2, 3\), .*"),
    ({"threads": 48}, "threads: expected a multiple of 32 from 32 to 1024, got 48"),
]])
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        masked_softmax_dropout_forward(**{"x": np.zeros((2, 3), np.float32), "valid": np.array([1, 3]), **change})


def test_bad_input_of_the_backward_pass_is_named():
    cache = op.MaskedSoftmaxDropoutCache(np.zeros((2, 3), np.float32), None, 1.0)
    with pytest.raises(ValueError, match=r"dy: expected a C-contiguous float32 array of shape \(2, 3\), got float32 \(2, 2\)"):
        masked_softmax_dropout_backward(np.zeros((2, 2), np.float32), cache)
    with pytest.raises(ValueError, match=r"dy: expected .* got float64 \(2, 3\)"):
        masked_softmax_dropout_backward(np.zeros((2, 3)), cache)
    with pytest.raises(ValueError, match=r"cache.mask: expected a C-contiguous bool array of shape \(2, 3\), got float32"):
        masked_softmax_dropout_backward(np.zeros((2, 3), np.float32), cache._replace(mask=np.full((2, 3), np.nan, np.float32)))
