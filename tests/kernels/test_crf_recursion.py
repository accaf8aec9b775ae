"""The CRF kernels against the op in float64: log Z, the probability of every tag, summed probabilities of pairs."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.crf_recursion import KernelState, forward_sums, marginals
from minixl.ops import crf_recursion as op
from minixl.ops.steps import time_steps


def compare(rng, lengths, tags, xp, forbidden=0.0, spread=2.0):
    """Random scores, some transitions illegal; all results within 1e-4."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = [spread * rng.normal(size=shape) for shape in ((starts[-1], tags), (tags, tags), (tags,), (tags,))]
    parts[1][rng.random((tags, tags)) < forbidden] = -np.inf
    parts = [part.astype(np.float32) for part in parts]
    weight = rng.normal(size=starts[-1]).astype(np.float32)
    scores, steps = op.Scores(*map(xp.asarray, parts)), time_steps(starts, xp)
    log_partition, state = forward_sums(scores, steps, len(lengths))
    node, edges = marginals(scores, steps, state, xp.asarray(weight))
    assert isinstance(state, KernelState) and log_partition.dtype == np.float64
    wide, numpy_steps = op.Scores(*(part.astype(np.float64) for part in parts)), time_steps(starts)
    exact, exact_state = kernel_free(op.forward_sums)(wide, numpy_steps, len(lengths))
    np.testing.assert_allclose(to_numpy(log_partition), exact, rtol=1e-5, atol=1e-5)
    if not starts[-1]:
        assert not to_numpy(edges).any()
        return
    exact_node, exact_edges = kernel_free(op.marginals)(wide, numpy_steps, exact_state, weight.astype(np.float64))
    np.testing.assert_allclose(to_numpy(node), exact_node, rtol=1e-4, atol=1e-5, err_msg="node")
    np.testing.assert_allclose(to_numpy(edges), exact_edges, rtol=1e-4, atol=2e-5, err_msg="edges")


def kernel_free(function):
    return getattr(function, "__wrapped__", function)


@pytest.mark.parametrize("lengths", [[], [0], [1], [3, 0, 7, 1], [2] * 5], ids=str)
@pytest.mark.parametrize("tags", [1, 3, 32, 33, 64])
def test_matches_op(device, rng, lengths, tags):
    compare(rng, lengths, tags, device)


def test_long_sentences_keep_their_digits(device, rng):
    compare(rng, [300, 120], 5, device, spread=4.0)


def test_illegal_transitions(device, rng):
    compare(rng, [6, 3, 9], 5, device, forbidden=0.3)


@pytest.mark.parametrize("token", [0, 2, 5])
@pytest.mark.parametrize("whole_row", [True, False])
def test_nan_is_not_lost(device, rng, token, whole_row):
    """If a maximum skipped NaN, log Z would be minus infinity.  The other sentence must not change."""
    scores = op.Scores(*(rng.normal(size=shape).astype(np.float32) for shape in ((8, 3), (3, 3), (3,), (3,))))
    scores.emissions[token, slice(None) if whole_row else 1] = np.nan
    moved = op.Scores(*map(device.asarray, scores))
    for function in (forward_sums, kernel_free(op.forward_sums)):
        log_partition, _ = function(moved, time_steps(np.array([0, 6, 8]), device), 2)
        np.testing.assert_array_equal(np.isnan(to_numpy(log_partition)), [True, False])


def test_float64_and_many_tags_use_the_formula(device, rng):
    steps = time_steps(np.array([0, 3]), device)
    for tags, dtype in ((65, np.float32), (4, np.float64)):
        scores = op.Scores(*(device.zeros(shape, dtype) for shape in ((3, tags), (tags, tags), (tags,), (tags,))))
        log_partition, state = forward_sums(scores, steps, 1)
        assert not isinstance(state, KernelState)
        np.testing.assert_allclose(to_numpy(log_partition), 3 * np.log(tags), rtol=1e-5)
        node, _ = marginals(scores, steps, state, device.ones(3, dtype))
        np.testing.assert_allclose(to_numpy(node), 1 / tags, rtol=1e-5)


@pytest.mark.parametrize("old, new", [
    ("__syncthreads(); // before (and moves, at first) are complete", ""),
    ("__syncthreads(); // now is complete, and before has been read", ""),
    ("__syncthreads(); // product and onward are complete", ""),
    ("__syncthreads(); // after and own are complete", ""),
    ("taken += most;", ""),
    ("before[k] + end[k]", "before[k]"),
    ("- shift[place]) / total", ") / total"),
    ("weight[row] *", ""),
    ("for (int k = 0; k < K; ++k) total", "for (int k = 0; k < K - 1; ++k) total"),
    ("for (int r = 0; r < R", "for (int r = 1; r < R"),
], ids=["before", "now", "product", "after", "taken", "end", "shift", "weight", "last tag", "first sentence"])
def test_planted_mistakes_are_caught(mutant, rng, old, new):
    mutant("crf_recursion.cu", old, new)
    with pytest.raises(AssertionError):
        compare(rng, [5, 3, 1], 40, np)


def test_bad_input_is_named(rng):
    parts = [np.zeros(shape, np.float32) for shape in ((3, 4), (4, 3), (4,), (4,))]
    with pytest.raises(ValueError, match=r"transitions: expected .* shape \(4, 4\), got float32 \(4, 3\)"):
        forward_sums(op.Scores(*parts), time_steps(np.array([0, 3])), 1)
    parts[1] = np.zeros((4, 4), np.float32)
    for part, wrong, message in ((0, parts[0][:, ::2], "emissions: .* strides"),
                                 (2, np.zeros(4), "start: .* got float64"),
                                 (3, np.zeros(3, np.float32), r"end: .* got float32 \(3,\)")):
        with pytest.raises(ValueError, match=message):
            forward_sums(op.Scores(*parts[:part], wrong, *parts[part + 1:]), time_steps(np.array([0, 3])), 1)
