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
    """Scores of a packed batch and of its transitions; rounded to make ties."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = [rng.normal(size=shape) for shape in ((starts[-1], tags), (tags, tags), (tags,), (tags,))]
    return starts, [(np.round(part) if rounded else part).astype(np.float32) for part in parts]


def compare(starts, scores, xp, version=2, legal=None, **chain):
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


def test_more_tags_than_the_kernel_takes(device, rng):
    starts, (scores, transitions, start, end) = batch(rng, [3, 2], 65)
    compare(starts, scores, device, transitions=transitions, start=start, end=end)


def test_nan_scores_do_no_harm(device):
    tags, path_scores = viterbi(device.full((4, 40), np.nan, np.float32), np.array([0, 4]), start=device.zeros(40, np.float32))
    assert ((to_numpy(tags) >= 0) & (to_numpy(tags) < 40)).all()


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // this token's row is complete", ""),
    ("if (j < K) row[j] = best[first * K + j] = scores[first * K + j] + start[j];\n    __syncthreads();",
     "if (j < K) row[j] = best[first * K + j] = scores[first * K + j] + start[j];"),
    ("i < K; ++i) most = fmaxf(most, before[i]", "i < K - 1; ++i) most = fmaxf(most, before[i]"),
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


@pytest.mark.parametrize("change, message", [
    ({"scores": np.zeros((4, 0), np.float32)}, r"scores: expected shape \(T, K\) with K at least 1, got \(4, 0\)"),
    ({"scores": np.zeros((4, 3), np.int32)}, "scores: expected a C-contiguous float32 array"),
    ({"starts": np.array([0, 5])}, r"starts: expected \(B\+1,\) numbers that rise from 0 to T = 4, got \[0 5\]"),
    ({"starts": np.array([0, 3, 2, 4])}, "starts: expected .* rise"),
    ({"transitions": np.zeros((2, 3), np.float32)}, r"transitions: expected shape \(3, 3\) for scores of 3 tags, got \(2, 3\)"),
    ({"start": np.zeros(3, np.float16)}, "start: expected a C-contiguous float32 array"),
    ({"legal": Legal(np.ones(3), np.ones((3, 3), bool), np.ones(3, bool))}, "legal.start: expected bool, got float64"),
])
def test_bad_input_is_named(change, message):
    arguments = {"scores": np.zeros((4, 3), np.float32), "starts": np.array([0, 4]), **change}
    with pytest.raises(ValueError, match=message):
        viterbi(arguments.pop("scores"), arguments.pop("starts"), **arguments)
