"""viterbi against the best of all paths, against pytorch-crf, its tie rule, and its edge cases."""
import numpy as np
import pytest
import torch
from torchcrf import CRF

from minixl.backend import to_numpy
from minixl.ops.viterbi import viterbi
from tests.ops.chain_brute_force import LENGTHS, all_paths, options, random_chain, random_legal


def assert_best_paths(decode, chain, legal=None, xp=np, rtol=1e-12):
    """Tags and scores are those of the first of all paths, in the order that the tie rule gives."""
    moved = {name: None if value is None else xp.asarray(value) for name, value in options(chain).items()}
    tags, scores = map(to_numpy, decode(xp.asarray(chain.scores), chain.starts, legal=legal, **moved))
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
    """Small whole numbers: sums are exact and most sentences have several best paths."""
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
