"""The attention kernels against the op in float64, with and without dropout."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.attention import PackedAttentionCache, attention_backward, attention_forward, plan
from minixl.ops import attention as op


def batch(rng, lengths, hidden):
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return starts, rng.normal(size=(4, starts[-1], hidden)).astype(np.float32)


def compare(rng, lengths, heads, head_size, xp, mask=None, dropout=0.0, generator=None, visible="all"):
    """Context and the three gradients within 1e-4; with a generator, compute the hash's mask for the op."""
    starts, arrays = batch(rng, lengths, heads * head_size)
    query, key, value, dcontext = map(xp.asarray, arrays)
    context, cache = attention_forward(query, key, value, starts, heads=heads, visible=visible, dropout=dropout, rng=generator,
                                       mask=None if mask is None else xp.asarray(mask))
    dquery, grads = attention_backward(dcontext, cache)
    if generator is not None:
        mask = hashed_mask(int(cache.seed[0]), plan(starts, heads, starts[-1])[1], dropout)
    wide = [array.astype(np.float64) for array in arrays]
    exact_context, exact_cache = op.attention_forward(*wide[:3], starts, heads=heads, visible=visible, dropout=dropout, mask=mask)
    exact_dquery, exact = op.attention_backward(wide[3], exact_cache)
    for name, ours, theirs in (("context", context, exact_context), ("dquery", dquery, exact_dquery),
                               ("dkey", grads["key"], exact["key"]), ("dvalue", grads["value"], exact["value"])):
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-4, atol=2e-5, err_msg=name)


def hashed_mask(seed, scores, dropout):
    """The mask of dropout.cuh: splitmix64."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(scores, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z & np.uint64(0xffff)) >= round(dropout * 65536)


@pytest.mark.parametrize("lengths", [[], [0], [1], [5, 0, 3], [33, 2], [32], [65]], ids=str)
@pytest.mark.parametrize("heads, head_size", [(1, 1), (2, 8), (1, 33), (1, 64)])
def test_matches_op(device, rng, lengths, heads, head_size):
    compare(rng, lengths, heads, head_size, device)


@pytest.mark.parametrize("lengths", [[], [0], [1], [5, 0, 3], [33, 2], [32], [5, 70]], ids=str)
@pytest.mark.parametrize("visible", ["before", "after"])
@pytest.mark.parametrize("heads, head_size", [(2, 8), (1, 64), (1, 65)])
def test_one_side_visible_matches_op(device, rng, lengths, visible, heads, head_size):
    """Several tiles of 32, of which some see nothing of each other."""
    compare(rng, lengths, heads, head_size, device, visible=visible)


@pytest.mark.parametrize("visible", ["before", "after"])
def test_one_side_visible_with_dropout(device, rng, visible):
    compare(rng, [5, 70], 2, 8, device, dropout=0.3, generator=device.random.default_rng(3), visible=visible)


def test_a_mask_is_replayed(device, rng):
    lengths, heads = [5, 34, 1], 2
    scores = heads * sum(length ** 2 for length in lengths)
    compare(rng, lengths, heads, 8, device, mask=rng.random(scores) < 0.7, dropout=0.3)


def test_dropout_drawn_in_the_kernel(device, rng):
    compare(rng, [5, 34], 2, 8, device, dropout=0.3, generator=device.random.default_rng(3))
    mask = hashed_mask(12345, 100_000, 0.3)
    assert abs(mask.mean() - 0.7) < 0.01 and abs(np.corrcoef(mask[1:], mask[:-1])[0, 1]) < 0.01


def test_large_heads_use_the_formula(device, rng):
    compare(rng, [3, 4], 1, 65, device)


def test_no_probabilities_are_kept(rng, device):
    starts, arrays = batch(rng, [40, 40], 8)
    _, cache = attention_forward(*map(device.asarray, arrays[:3]), starts, heads=2)
    assert isinstance(cache, PackedAttentionCache)
    assert max(field.size for field in cache if hasattr(field, "size")) < 2 * 40 * 40


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // the tiles are loaded", ""),
    ("__syncthreads(); // before the tiles are loaded again", ""),
    ("__syncwarp(); // the row of weights is complete", ""),
    ("__syncwarp(); // both rows are complete", ""),
    ("sum[r][c] *= shrink;", ""),
    ("- row_delta[r]", ""),
    ("- delta[row]", ""),
    ("= scale * sum[r][c]", "= sum[r][c]"),
    ("j < s.length && (visible", "j <= s.length && (visible"),
    ("first + r < s.length", "first + r <= s.length"),
    ("(size_t)head * s.length + i", "(size_t)head * s.length"),
], ids=["loading barrier", "tile barrier", "warp barrier", "warp barrier of keys", "correction", "delta", "delta of keys", "factor",
        "last key", "tile edge", "place in the mask"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("attention.cu", old, new)
    with pytest.raises(AssertionError):
        compare(rng, [35, 3], 1, 33, np, dropout=0.5, generator=np.random.default_rng(3))


@pytest.mark.parametrize("old, new", [
    ("j <= i : j >= i", "j < i : j > i"), ("j <= i : j >= i", "j >= i : j <= i"),
    ("if (apart(begin, first, visible)) continue;", "if (apart(first, begin, visible)) continue;"),
    ("if (apart(first, begin, visible)) continue;", "if (apart(begin, first, visible)) continue;"),
], ids=["not itself", "the other side", "tiles skipped", "tiles of keys skipped"])
def test_planted_mistakes_of_visibility_are_caught(mutant, rng, old, new):
    mutant("attention.cu", old, new)
    with pytest.raises(AssertionError):
        for visible in ("before", "after"):
            compare(rng, [70, 3], 1, 9, np, visible=visible)


@pytest.mark.parametrize("change, message", [
    ({"visible": "left"}, "visible: expected one of all, before, after, got 'left'"),
    ({"heads": 3}, "heads: expected a divisor of 8, got 3"),
    ({"heads": 0}, "heads: expected a divisor of 8, got 0"),
    ({"dropout": 1.0}, "dropout: expected 0 <= p < 1, got 1.0"),
    ({"starts": np.array([0, 3])}, r"starts: expected increasing numbers from 0 to T = 4, got \[0 3\]"),
    ({"mask": np.ones(7, bool)}, r"mask: expected a C-contiguous bool array of shape \(32,\), got bool \(7,\)"),
    ({"mask": np.full(32, np.nan, np.float32)}, r"mask: expected a C-contiguous bool array of shape \(32,\), got float32"),
])
def test_bad_input_is_named(change, message):
    x = np.zeros((4, 8), np.float32)
    arguments = {"starts": np.array([0, 4]), "heads": 2, **change}
    with pytest.raises(ValueError, match=message):
        attention_forward(x, x, x, arguments.pop("starts"), **arguments)
    with pytest.raises(ValueError, match=r"key: expected .* shape \(4, 8\), got float32 \(5, 8\)"):
        attention_forward(x, np.zeros((5, 8), np.float32), x, np.array([0, 4]), heads=2)
    for query, message in ((x.astype(np.float16), "query: .* got float16"), (np.zeros((8, 4), np.float32).T, "query: .* strides"),
                           (x[0], r"query: expected an array with 2 axes, got \(8,\)")):
        with pytest.raises(ValueError, match=message):
            attention_forward(query, x, x, np.array([0, 4]), heads=2)
    with pytest.raises(ValueError, match="value: .* got float64"):
        attention_forward(x, x, x.astype(np.float64), np.array([0, 4]), heads=2)
    _, cache = attention_forward(x[:0], x[:0], x[:0], np.array([0]), heads=2)
    with pytest.raises(ValueError, match=r"dcontext: expected .* shape \(0, 8\), got float32 \(1, 8\)"):
        attention_backward(x[:1], cache)
