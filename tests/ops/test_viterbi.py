"""viterbi against the best of all paths, against pytorch-crf, its tie rule, and its edge cases."""
import numpy as np
import pytest
import torch
from torchcrf import CRF

from minixl.backend import to_numpy
from minixl.ops.viterbi import viterbi
from tests.ops.chain_brute_force import LENGTHS, all_paths, options, random_chain, random_legal


def assert_best_paths(decode, chain, legal=None, xp=np, rtol=1e-12):
    """Tags and scores are those of the first of all paths in the order of the tie rule."""
    moved = {name: None if value is None else xp.asarray(value) for name, value in options(chain).items()}
    tags, scores = map(to_numpy, viterbi(xp.asarray(chain.scores), chain.starts, legal=legal, **moved))
    for b in range(len(chain.starts) - 1):
        score, path = all_paths(chain, b, legal)[0]
        assert tuple(tags[chain.starts[b]:chain.starts[b + 1]]) == path
        np.testing.assert_allclose(scores[b], score, rtol=rtol, atol=1e-12)
    assert tags.shape == (chain.starts[-1],) and scores.shape == (len(chain.starts) - 1,)


@pytest.mark.parametrize("tags", [1, 2, 4])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("boundaries", [True, False], ids=["start+end", "plain"])
def test_equals_the_best_of_all_paths(xp, rng, lengths, tags, boundaries):
    assert_best_paths(viterbi, random_chain(rng, lengths, tags, boundaries), xp=xp)


def test_without_any_transition_score(xp, rng):
    chain = random_chain(rng)._replace(transitions=None, start=None, end=None)
    assert_best_paths(viterbi, chain, xp=xp)


@pytest.mark.parametrize("softmax", [True, False], ids=["softmax tagger", "crf"])
def test_illegal_moves_are_never_taken(xp, rng, softmax):
    for _ in range(5):
        chain, legal = random_chain(rng, tags=4), random_legal(rng, 4)
        if softmax:
            chain = chain._replace(transitions=None, start=None, end=None)
        assert_best_paths(viterbi, chain, legal, xp)


def test_ties_go_to_the_lowest_tag(rng):
    """Small integers, so that sums are exact and most sentences have several best paths."""
    for _ in range(20):
        chain = random_chain(rng, tags=3)
        chain = chain._replace(**{name: np.round(value) for name, value in chain._asdict().items() if name != "starts"})
        assert_best_paths(viterbi, chain)


def test_no_legal_path_scores_minus_infinity(rng):
    chain, legal = random_chain(rng), random_legal(rng, 3)
    legal.end[:] = False
    tags, scores = viterbi(chain.scores, chain.starts, legal=legal, **options(chain))
    np.testing.assert_array_equal(np.isneginf(scores), np.diff(chain.starts) > 0)
    assert ((0 <= tags) & (tags < 3)).all()


def test_large_scores(rng):
    assert_best_paths(viterbi, random_chain(rng, scale=1000.0))


def test_float32_stays_float32(rng):
    chain = random_chain(rng, (30, 2, 17), 9)
    tags, scores = viterbi(chain.scores, chain.starts, **options(chain))
    small = chain._replace(**{name: value.astype(np.float32) for name, value in chain._asdict().items()
                              if name != "starts"})
    tags32, scores32 = viterbi(small.scores, small.starts, **options(small))
    assert scores32.dtype == np.float32
    np.testing.assert_array_equal(tags32, tags)
    np.testing.assert_allclose(scores32, scores, rtol=1e-5)


def test_equals_pytorch_crf(rng):
    lengths = (40, 3, 1, 17, 40, 8)
    chain = random_chain(rng, lengths, 9)
    crf = CRF(9, batch_first=True).double()
    with torch.no_grad():
        for ours, theirs in zip(chain[2:], (crf.transitions, crf.start_transitions, crf.end_transitions)):
            theirs.copy_(torch.tensor(ours))
        padded, mask = torch.zeros(6, 40, 9, dtype=torch.float64), torch.zeros(6, 40, dtype=torch.bool)
        for b, n in enumerate(lengths):
            padded[b, :n] = torch.tensor(chain.scores[chain.starts[b]:chain.starts[b + 1]])
            mask[b, :n] = True
        expected = np.concatenate(crf.decode(padded, mask))
    np.testing.assert_array_equal(viterbi(chain.scores, chain.starts, **options(chain))[0], expected)


def test_arguments_are_left_alone(rng):
    chain = random_chain(rng)
    before = [array.copy() for array in chain]
    viterbi(chain.scores, chain.starts, **options(chain))
    for kept, now in zip(before, chain):
        np.testing.assert_array_equal(kept, now)


def test_wrong_shape_is_named(rng):
    chain = random_chain(rng)
    with pytest.raises(ValueError, match=r"transitions: expected shape \(3, 3\) .* got \(4, 4\)"):
        viterbi(chain.scores, chain.starts, transitions=np.zeros((4, 4)))


@pytest.mark.parametrize("argument, place", [("scores", (0, 0)), ("scores", (5, 1)), ("scores", (10, 2)), ("transitions", (2, 0)),
                                             ("start", 1), ("end", 2)], ids=str)
def test_nan_is_named(xp, rng, argument, place):
    chain = random_chain(rng, (9, 2, 0))
    getattr(chain, argument)[place] = np.nan
    moved = {name: xp.asarray(value) for name, value in options(chain).items()}
    size = getattr(chain, argument).size
    with pytest.raises(ValueError, match=rf"^{argument}: expected numbers, got NaN in 1 of {size} places$"):
        viterbi(xp.asarray(chain.scores), chain.starts, **moved)
    if argument == "scores":
        with pytest.raises(ValueError, match="^scores: expected numbers, got NaN in 1 of 33 places$"):
            viterbi(xp.asarray(chain.scores), chain.starts)


def test_infinity_is_named(rng):
    chain = random_chain(rng, (3,))
    chain.scores[1, 1], chain.transitions[:] = np.inf, -np.inf
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="^scores, transitions, start, end: expected numbers below"):
        viterbi(chain.scores, chain.starts, **options(chain))


def test_a_forbidden_token_does_not_reach_other_sentences(xp):
    """Without transitions, a token without possible tags makes its own sentence impossible, and no other."""
    scores = np.zeros((4, 2))
    scores[1] = -np.inf
    np.testing.assert_array_equal(to_numpy(viterbi(xp.asarray(scores), np.array([0, 1, 3, 3, 4]))[1]), [0, -np.inf, 0, 0])


@pytest.mark.parametrize("change, message", [
    ({"start": np.ones(3)}, r"legal.start: expected bool of shape \(3,\), got float64 \(3,\)"),
    ({"transitions": np.full((3, 3), np.nan, np.float32)}, r"legal.transitions: expected bool .* got float32 \(3, 3\)"),
    ({"end": np.ones(1, bool)}, r"legal.end: expected bool of shape \(3,\), got bool \(1,\)"),
])
def test_a_mask_that_is_not_bool_is_named(rng, change, message):
    chain, legal = random_chain(rng), random_legal(rng, 3)._replace(**change)
    with pytest.raises(ValueError, match=message):
        viterbi(chain.scores, chain.starts, legal=legal)


@pytest.mark.parametrize("sentences, tags", [(2000, 5), (300, 40)])
def test_many_sentences_equal_one_after_another(rng, sentences, tags):
    """More sentences than the buffer holds, and more sums than one block."""
    chain = random_chain(rng, rng.integers(0, 5, sentences), tags, dtype=np.float32)
    tags_together, scores_together = viterbi(chain.scores, chain.starts, **options(chain))
    for b, (first, after) in enumerate(zip(chain.starts, chain.starts[1:])):
        alone, score = viterbi(chain.scores[first:after], np.array([0, after - first]), **options(chain))
        np.testing.assert_array_equal(tags_together[first:after], alone)
        assert score[0] == scores_together[b]


def test_numpys_buffer_size_is_restored(rng):
    chain, before = random_chain(rng), np.getbufsize()
    viterbi(chain.scores, chain.starts, **options(chain))
    assert np.getbufsize() == before


@pytest.mark.parametrize("shape", [(4,), (4, 0), (2, 2, 1)], ids=str)
def test_scores_of_a_wrong_shape_are_named(shape):
    with pytest.raises(ValueError, match=r"^scores: expected shape \(T, K\) with K at least 1, got "):
        viterbi(np.zeros(shape), np.array([0, 4]))
