"""sampled_softmax: the checks of every op, the full softmax as its limit, and the law of the candidates."""
import numpy as np
import pytest
import torch
from torch.nn import functional

from minixl.backend import to_numpy
from minixl.ops import sampled_softmax
from minixl.ops.sampled_softmax import (Candidates, all_words, draw_candidates, log_expected, probability,
                                        sampled_softmax_backward, sampled_softmax_forward)
from tests.ops.checks import CHECKS, Case, assert_close

# T, H, V, candidates; tries
SHAPES = [(1, 1, 2, [0], 3), (6, 5, 9, [0, 1, 4, 8], 11), (4, 3, 7, range(7), 0), (3, 64, 50, range(0, 50, 3), 40)]


def in_pytorch(x, weight, targets, ids, tries):
    """The formula, row by row: the target and the candidates that are not the target."""
    words = len(weight)

    def correction(word):
        chance = (np.log(word + 2) - np.log(word + 1)) / np.log(words + 1)
        return np.log(1 - (1 - chance) ** tries) if tries else 0.0

    losses = []
    for row, target in zip(x, targets.tolist(), strict=True):
        chosen = [target, *(k for k in ids if k != target)]
        scores = torch.stack([row @ weight[k] - correction(k) for k in chosen])
        losses.append(-torch.log_softmax(scores, 0)[0])
    return torch.stack(losses).mean()


def case(module, rng, shape) -> Case:
    tokens, hidden, words, ids, tries = shape
    targets = rng.integers(0, words, tokens)
    targets[:2] = ids[0]                                               # an accidental hit, and a repeated target
    candidates = Candidates(np.array(ids), tries, words)
    return Case(module.sampled_softmax_forward, module.sampled_softmax_backward,
                {"x": rng.normal(size=(tokens, hidden)), "weight": rng.normal(size=(words, hidden))},
                lambda x, weight: in_pytorch(x, weight, targets, ids, tries), {"targets": targets, "candidates": candidates})


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[:3]} {len(shape[3])} {shape[4]}")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(sampled_softmax, rng, shape), xp, rng)


def test_all_words_give_the_full_softmax(xp, rng):
    x, weight, targets = rng.normal(size=(8, 5)), rng.normal(size=(30, 5)), rng.integers(0, 30, 8)
    candidates = draw_candidates(30, 30, rng)
    assert candidates.ids.tolist() == list(range(30)) and not log_expected(candidates.ids, candidates).any()
    loss, cache = sampled_softmax_forward(xp.asarray(x), xp.asarray(weight), targets=xp.asarray(targets), candidates=candidates)
    dx, grads = sampled_softmax_backward(xp.asarray(1.7), cache)
    tx, tweight = (torch.tensor(array, requires_grad=True) for array in (x, weight))
    full = functional.cross_entropy(tx @ tweight.T, torch.tensor(targets))
    (1.7 * full).backward()
    assert_close(to_numpy(loss), full.detach().numpy(), 1e-12)
    assert_close(to_numpy(dx), tx.grad.numpy(), 1e-12)
    assert to_numpy(grads["weight"].rows).tolist() == list(range(30))
    assert_close(to_numpy(grads["weight"].values), tweight.grad.numpy(), 1e-12)


def test_only_targets_and_candidates_have_a_gradient(xp, rng):
    x, weight = xp.asarray(rng.normal(size=(3, 4))), xp.asarray(rng.normal(size=(20, 4)))
    _, cache = sampled_softmax_forward(x, weight, targets=xp.asarray([7, 19, 7]), candidates=Candidates(np.array([0, 2, 7]), 5, 20))
    assert to_numpy(sampled_softmax_backward(xp.asarray(1.0), cache)[1]["weight"].rows).tolist() == [0, 2, 7, 19]


def test_no_rows(xp):
    loss, cache = sampled_softmax_forward(xp.zeros((0, 3)), xp.ones((5, 3)), targets=xp.zeros(0, int), candidates=all_words(5))
    dx, grads = sampled_softmax_backward(loss, cache)
    assert float(loss) == 0 and dx.shape == (0, 3) and not to_numpy(grads["weight"].values).any()


def test_the_law_sums_to_one():
    chances = probability(np.arange(1000), 1000)
    assert (np.diff(chances) < 0).all()
    np.testing.assert_allclose(chances.sum(), 1, rtol=1e-12)


def test_candidates_are_distinct_and_of_the_vocabulary(rng):
    for words, count in ((2, 1), (5, 4), (100, 25), (5000, 1250)):
        candidates = draw_candidates(words, count, rng)
        assert len(candidates.ids) == count and (np.diff(candidates.ids) > 0).all()
        assert candidates.ids[0] >= 0 and candidates.ids[-1] < words and candidates.tries >= count


def test_empirical_rates_match_the_law(rng):
    """Inclusion rate of every word against its mean expected count over the draws; binomial error."""
    words, count, draws = 60, 15, 4000
    included, expected = np.zeros(words), np.zeros(words)
    for _ in range(draws):
        candidates = draw_candidates(words, count, rng)
        included[candidates.ids] += 1 / draws
        expected += np.exp(log_expected(np.arange(words), candidates)) / draws
    error = np.sqrt(included * (1 - included) / draws) + 1e-9
    assert (np.abs(included - expected) < 4 * error + 0.03 * expected).all()
    assert included[0] > 0.95 and included[-1] < 0.2                   # frequent words are almost always candidates


def test_the_tries_of_the_paper(rng):
    """8192 of 200,000 words take some 18,900 draws; the most frequent words are practically always among them."""
    candidates = draw_candidates(200_000, 8192, rng)
    assert abs(candidates.tries - 18_916) < 600
    assert np.exp(log_expected(np.arange(200), candidates)).min() > 0.999


MISTAKES = [
    ("no correction of the candidates", "probs -= log_expected", "probs -= 0 * log_expected"),
    ("no correction of the target", "- log_expected(targets, candidates)", "- 0 * log_expected(targets, candidates)"),
    ("accidental hits count", "probs[hits, place[hits]] = -xp.inf", "pass"),
    ("the target twice in the sum", "probs.sum(axis=1) + of_target", "probs.sum(axis=1) + 2 * of_target"),
    ("target's vector forgotten in dx", "dx += dtarget * weight[targets]", "pass"),
    ("gradient of the candidates only", "sum_rows(targets, dtarget * x)", "sum_rows(targets, 0 * dtarget * x)"),
    ("gradient is a sum", "float(dloss) / max(len(x), 1)", "float(dloss)"),
    ("loss is a sum", "(xp.log(total) - score).sum() / max(len(x), 1)", "(xp.log(total) - score).sum()"),
    ("the law of another vocabulary", "log(words + 1)\n", "log(words)\n"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    from tests.mutants import mutant
    from tests.ops.checks import matches_pytorch
    changed = mutant("minixl.ops.sampled_softmax", old, new)
    with pytest.raises(AssertionError):
        matches_pytorch(case(changed, rng, SHAPES[1]), np, rng)
