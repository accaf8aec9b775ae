"""The Viterbi kernels against the op: the same tags, and the same scores to the last bit."""
from typing import NamedTuple

import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.viterbi import viterbi
from minixl.ops import viterbi as op


class Legal(NamedTuple):
    start: np.ndarray
    transitions: np.ndarray
    end: np.ndarray


def batch(rng, lengths, tags, rounded=False):
    """starts and [scores, transitions, start, end] of a random packed batch, rounded to get ties if `rounded`."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = [rng.normal(size=shape) for shape in ((starts[-1], tags), (tags, tags), (tags,), (tags,))]
    return starts, [(np.round(part) if rounded else part).astype(np.float32) for part in parts]


def compare(starts, scores, xp, version=None, legal=None, **chain):
    tags, path_scores = viterbi(xp.asarray(scores), starts, version=version, legal=legal,
                                **{name: xp.asarray(part) for name, part in chain.items()})
    expected, expected_scores = getattr(op.viterbi, "__wrapped__", op.viterbi)(scores, starts, legal=legal, **chain)
    assert tags.dtype == np.int64 and path_scores.dtype == np.float32
    np.testing.assert_array_equal(to_numpy(tags), expected)
    if chain or legal is not None:
        np.testing.assert_array_equal(to_numpy(path_scores), expected_scores)
    else:
        np.testing.assert_allclose(to_numpy(path_scores), expected_scores, rtol=1e-5)


@pytest.mark.parametrize("tags", [1, 2, 17, 31, 32, 33, 64])
@pytest.mark.parametrize("version", [1, 2])
def test_matches_op(device, rng, tags, version):
    starts, (scores, transitions, start, end) = batch(rng, [5, 0, 1, 12, 3, 0], tags)
    compare(starts, scores, device, version, transitions=transitions, start=start, end=end)


@pytest.mark.parametrize("version", [1, 2])
def test_ties_go_to_the_lowest_tag(device, rng, version):
    for tags in (3, 40):
        starts, (scores, transitions, start, end) = batch(rng, [9, 4, 6] * 3, tags, rounded=True)
        compare(starts, scores, device, version, transitions=transitions, start=start, end=end)


@pytest.mark.parametrize("version", [1, 2])
def test_illegal_moves(device, rng, version):
    starts, (scores, transitions, _, _) = batch(rng, [6, 1, 3], 5)
    legal = Legal(rng.random(5) < 0.6, rng.random((5, 5)) < 0.6, rng.random(5) < 0.6)
    compare(starts, scores, device, version, legal=legal)
    compare(starts, scores, device, version, legal=legal, transitions=transitions)
    nothing = Legal(np.zeros(5, bool), np.zeros((5, 5), bool), np.zeros(5, bool))
    compare(starts, scores, device, version, legal=nothing)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [1], [40]], ids=str)
def test_small_batches(device, rng, lengths):
    starts, (scores, transitions, start, end) = batch(rng, lengths, 4)
    compare(starts, scores, device, transitions=transitions)
    compare(starts, scores, device)


def test_more_sentences_than_a_block_of_the_plain_version(device, rng):
    starts, (scores, transitions, start, _) = batch(rng, [2] * 70, 3)
    compare(starts, scores, device, 1, transitions=transitions, start=start)


def test_more_tags_than_the_kernel_supports(device, rng):
    starts, (scores, transitions, start, end) = batch(rng, [3, 2], 65)
    compare(starts, scores, device, transitions=transitions, start=start, end=end)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tags", [3, 40])
@pytest.mark.parametrize("argument, place", [("scores", (0, 0)), ("scores", (5, 1)), ("scores", (8, 2)), ("scores", ...),
                                             ("transitions", (2, 0)), ("start", 1), ("end", 2)], ids=str)
def test_nan_is_named(device, rng, version, tags, argument, place):
    """In the first, a middle and the last token; NaN must not make the kernel read outside its arrays."""
    starts, parts = batch(rng, [9, 2], tags)
    arrays = dict(zip(("scores", "transitions", "start", "end"), parts, strict=True))
    arrays[argument][place] = np.nan
    count = np.isnan(arrays[argument]).sum()
    moved = {name: device.asarray(part) for name, part in arrays.items()}
    with pytest.raises(ValueError, match=rf"^{argument}: expected numbers, got NaN in {count} of {arrays[argument].size} places$"):
        viterbi(moved.pop("scores"), starts, version=version, **moved)


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // this token's row is complete", ""),
    ("if (j < K) row[j] = best[first * K + j] = scores[first * K + j] + start[j];\n    __syncthreads();",
     "if (j < K) row[j] = best[first * K + j] = scores[first * K + j] + start[j];"),
    ("i < K; ++i) most = max_or_nan(most, before[i]", "i < K - 1; ++i) most = max_or_nan(most, before[i]"),
    ("their_index < index", "their_index > index"),
    ("warp_argmax(best + (after - 1) * K, end, 1", "warp_argmax(best + (after - 1) * K, start, 1"),
    ("(t - first) % 2 * K + j]", "(t - first) % 1 * K + j]"),
], ids=["barrier", "first barrier", "last tag", "ties", "end scores", "two rows"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("viterbi.cu", old, new)
    with pytest.raises(AssertionError):
        for tags in (3, 40):
            starts, (scores, transitions, start, end) = batch(rng, [9, 4, 6], tags, rounded=tags == 3)
            compare(starts, scores, np, transitions=transitions, start=start, end=end)


@pytest.mark.parametrize("old, new", [
    ("most = max_or_nan(most, before[i] + moves[i * K + j])", "most = fmaxf(most, before[i] + moves[i * K + j])"),
    ("bad |= candidate != candidate;", ""),
], ids=["on the way", "at the end"])
def test_a_kernel_that_loses_nan_is_caught(mutant, rng, old, new):
    mutant("viterbi.cu", old, new)
    starts, (scores, transitions, start, end) = batch(rng, [4], 3)
    missed = 0
    for place in ((1, 2), (3, 2)):
        wrong = scores.copy()
        wrong[place] = np.nan
        try:
            viterbi(wrong, starts, transitions=transitions, start=start, end=end)
        except ValueError:
            continue
        missed += 1
    assert missed


@pytest.mark.parametrize("change, message", [
    ({"scores": np.zeros((4, 0), np.float32)}, r"scores: expected shape \(T, K\) with K at least 1, got \(4, 0\)"),
    ({"scores": np.zeros((4, 3), np.int32)}, "scores: expected a C-contiguous float32 array"),
    ({"starts": np.array([0, 5])}, r"starts: expected increasing numbers from 0 to T = 4, got \[0 5\]"),
    ({"starts": np.array([0, 3, 2, 4])}, "starts: expected increasing"),
    ({"transitions": np.zeros((2, 3), np.float32)}, r"transitions: expected shape \(3, 3\) for scores of 3 tags, got \(2, 3\)"),
    ({"start": np.zeros(3, np.float16)}, "start: expected a C-contiguous float32 array"),
    ({"legal": Legal(np.ones(3), np.ones((3, 3), bool), np.ones(3, bool))}, r"legal.start: expected bool .* got float64 \(3,\)"),
    ({"legal": Legal(np.ones(3, bool), np.full((3, 3), np.nan, np.float32), np.ones(3, bool))},
     r"legal.transitions: expected bool of shape \(3, 3\), got float32 \(3, 3\)"),
    ({"legal": Legal(np.ones(3, bool), np.ones((3, 3), bool), np.ones(1, bool))}, "legal.end: expected bool of shape .* got bool"),
    ({"scores": np.zeros((4, 6), np.float32)[:, ::2]}, r"scores: expected a C-contiguous .* strides \(24, 8\)"),
    ({"scores": np.zeros(4, np.float32)}, r"scores: expected shape \(T, K\) .* got \(4,\)"),
    ({"start": np.zeros(3)}, "start: expected a C-contiguous float32 array .* got float64"),
    ({"scores": np.zeros((4, 65), np.float32), "version": 1}, "scores: expected K of at most 64 tags for viterbi_v1, got 65"),
    ({"scores": np.zeros((4, 65), np.float32), "version": 2}, "scores: expected K of at most 64 tags for viterbi_v2, got 65"),
    ({"version": 3}, "version: expected 1 or 2, got 3"),
])
def test_bad_input_is_named(change, message):
    arguments = {"scores": np.zeros((4, 3), np.float32), "starts": np.array([0, 4]), **change}
    with pytest.raises(ValueError, match=message):
        viterbi(arguments.pop("scores"), arguments.pop("starts"), **arguments)
