"""crf_forward/backward: against the sum over all paths, against pytorch-crf, central differences, planted mistakes.

Scores close to each other use the scaled recursion, others the logarithmic one; `scale` selects one for a test.
"""
import numpy as np
import pytest
import torch
from torchcrf import CRF

from minixl.backend import to_numpy
from minixl.errors import UserError
from minixl.ops import crf, crf_recursion
from tests.ops import mutants_lstm_crf as mutants
from tests.ops.chain_brute_force import LENGTHS, all_paths, path_score, random_chain, random_legal

SCALES = {"scaled": 1.0, "logarithmic": 1000.0}


def brute_force(chain, tags, legal=None):
    """nll (B,), node marginals (T, K), edge marginals summed per sentence (B, K, K), by enumerating all paths."""
    sentences, number = len(chain.starts) - 1, chain.scores.shape[1]
    nll, node, edges = np.zeros(sentences), np.zeros_like(chain.scores), np.zeros((sentences, number, number))
    for b in range(sentences):
        begin, end = chain.starts[b:b + 2]
        paths = all_paths(chain, b, legal)
        log_partition = np.logaddexp.reduce([score for score, _ in paths])
        nll[b] = log_partition - path_score(chain.scores[begin:end], tuple(tags[begin:end]), *chain[2:], legal)
        for score, path in paths:
            for t, tag in enumerate(path):
                node[begin + t, tag] += np.exp(score - log_partition)
                if t:
                    edges[b, path[t - 1], tag] += np.exp(score - log_partition)
    return nll, node, edges


def legal_tags(rng, chain, legal=None):
    """Gold tags: a random path of each sentence that is legal under the rules, if any."""
    paths = [[path for score, path in all_paths(chain, b, legal) if score > -np.inf]
             for b in range(len(chain.starts) - 1)]
    return np.array([tag for options in paths for tag in options[rng.integers(len(options))]], dtype=np.int64)


def check_crf(module, rng, chain, legal=None, xp=np):
    """nll and all gradients with random dy, against brute force."""
    tags, sentences = legal_tags(rng, chain, legal), len(chain.starts) - 1
    dy = rng.normal(size=sentences)
    nll, node, edges = brute_force(chain, tags, legal)
    owner = np.repeat(np.arange(sentences), np.diff(chain.starts))
    expected = {"emissions": dy[owner, None] * (node - np.eye(chain.scores.shape[1])[tags]),
                "transitions": np.tensordot(dy, edges, axes=1)}
    for before, now in zip(range(len(tags)), range(1, len(tags))):
        if owner[before] == owner[now]:
            expected["transitions"][tags[before], tags[now]] -= dy[owner[now]]
    filled = np.flatnonzero(np.diff(chain.starts))
    if chain.start is not None:
        expected["start"] = expected["emissions"][chain.starts[filled]].sum(axis=0)
        expected["end"] = expected["emissions"][chain.starts[filled + 1] - 1].sum(axis=0)
    moved = [None if value is None else xp.asarray(value) for value in (chain.scores, *chain[2:])]
    ours, cache = module.crf_forward(*moved, tags=xp.asarray(tags), starts=chain.starts, legal=legal)
    demissions, grads = module.crf_backward(xp.asarray(dy), cache)
    np.testing.assert_allclose(to_numpy(ours), nll, rtol=1e-9, atol=1e-9, err_msg="nll")
    assert grads.keys() == expected.keys() - {"emissions"}
    for name, value in {"emissions": demissions, **grads}.items():
        np.testing.assert_allclose(to_numpy(value), expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())
@pytest.mark.parametrize("boundaries", [True, False], ids=["start+end", "plain"])
@pytest.mark.parametrize("tags", [1, 2, 4])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_equals_the_sum_over_all_paths(xp, rng, lengths, tags, boundaries, scale):
    check_crf(crf, rng, random_chain(rng, lengths, tags, boundaries, scale), xp=xp)


def test_illegal_sequences_ruled_out_in_training(xp, rng):
    for _ in range(5):
        check_crf(crf, rng, random_chain(rng, tags=4), random_legal(rng, 4), xp)


def test_huge_emissions_with_ordinary_transitions(rng):
    """The scaled recursion supports emissions of any size."""
    chain = random_chain(rng, tags=4)
    check_crf(crf, rng, chain._replace(scores=1000 * chain.scores))


@pytest.mark.parametrize("dtype, spread", [(np.float32, 28.0), (np.float64, 230.0)], ids=["float32", "float64"])
def test_scaling_is_exact_up_to_its_limit(rng, dtype, spread):
    """Transitions that differ as much as the scaled recursion allows; the least likely ones have the largest emissions."""
    for seed in range(20):
        chain = random_chain(np.random.default_rng(seed), (40, 7, 1), 5, dtype=dtype)
        part = lambda value: (spread * (value > 0)).astype(dtype)
        chain = chain._replace(scores=100 * chain.scores, transitions=part(chain.transitions),
                               start=part(chain.start), end=part(chain.end))
        steps = crf.time_steps(chain.starts)
        weight = np.ones(len(chain.scores), dtype)
        scores = crf_recursion.Scores(chain.scores, *chain[2:])
        log_partition, state = crf_recursion.forward_sums(scores, steps, 3)
        assert isinstance(state, crf_recursion.Scaled)
        wide = crf_recursion.Scores(*(value.astype(np.float64) for value in scores))
        values = crf_recursion.log_sum(crf_recursion.log_alpha(wide, steps)[steps.last] + wide.end, 1, np)
        np.testing.assert_allclose(log_partition[steps.order], values, rtol=1e-6 if dtype == np.float32 else 1e-13)
        expected = crf_recursion.marginals(wide, steps, crf_recursion.Logarithmic(
            crf_recursion.log_alpha(wide, steps), values), weight.astype(np.float64))
        for ours, theirs in zip(crf_recursion.marginals(scores, steps, state, weight), expected):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 if dtype == np.float32 else 1e-10)


def test_equals_pytorch_crf(rng):
    lengths = (40, 3, 1, 17, 40, 8)
    chain = random_chain(rng, lengths, 9)
    tags = rng.integers(0, 9, chain.starts[-1])
    reference = CRF(9, batch_first=True).double()
    with torch.no_grad():
        for ours, theirs in zip(chain[2:], (reference.transitions, reference.start_transitions,
                                            reference.end_transitions)):
            theirs.copy_(torch.tensor(ours))
    emissions = torch.tensor(chain.scores, requires_grad=True)
    padded = torch.nn.utils.rnn.pad_sequence(emissions.split(lengths), batch_first=True)
    gold = torch.nn.utils.rnn.pad_sequence(torch.tensor(tags).split(lengths), batch_first=True)
    mask = torch.arange(40)[None] < torch.tensor(lengths)[:, None]
    expected, dy = -reference(padded, gold, mask, reduction="none"), rng.normal(size=6)
    expected.backward(torch.tensor(dy))
    nll, cache = crf.crf_forward(chain.scores, *chain[2:], tags=tags, starts=chain.starts)
    demissions, grads = crf.crf_backward(dy, cache)
    np.testing.assert_allclose(nll, expected.detach().numpy(), rtol=1e-9)
    for ours, theirs in [(demissions, emissions), (grads["transitions"], reference.transitions),
                         (grads["start"], reference.start_transitions), (grads["end"], reference.end_transitions)]:
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 300.0], ids=SCALES.keys())
def test_central_difference_in_a_random_direction(rng, scale):
    chain = random_chain(rng, (12, 3, 30), 5, scale=scale)
    tags, dy = rng.integers(0, 5, 45), rng.normal(size=3)
    point = dict(zip(("emissions", "transitions", "start", "end"), (chain.scores, *chain[2:])))
    direction = {name: rng.normal(size=value.shape) for name, value in point.items()}

    def loss(step):
        return dy @ crf.crf_forward(tags=tags, starts=chain.starts,
                                    **{name: value + step * direction[name] for name, value in point.items()})[0]

    demissions, grads = crf.crf_backward(dy, crf.crf_forward(tags=tags, starts=chain.starts, **point)[1])
    slope = sum((value * direction[name]).sum() for name, value in {"emissions": demissions, **grads}.items())
    np.testing.assert_allclose((loss(1e-5) - loss(-1e-5)) / 2e-5, slope, rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())
def test_float32_is_close_and_stays_float32(rng, scale):
    chain = random_chain(rng, (60, 1, 20), 9, scale=scale / 10)
    tags, results = rng.integers(0, 9, 81), []
    for dtype in (np.float64, np.float32):
        parts = [value.astype(dtype) for value in (chain.scores, *chain[2:])]
        nll, cache = crf.crf_forward(*parts, tags=tags, starts=chain.starts)
        demissions, grads = crf.crf_backward(np.ones(3, dtype), cache)
        results.append([nll, demissions, *grads.values()])
    for wide, narrow in zip(*results):
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-4 if scale == 1 else 1e-2)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())
def test_backward_leaves_its_inputs_alone(xp, rng, scale):
    chain = random_chain(rng, scale=scale)
    parts = [xp.asarray(value) for value in (chain.scores, *chain[2:])]
    dy, tags = xp.asarray(rng.normal(size=6)), xp.asarray(rng.integers(0, 3, len(chain.scores)))
    _, cache = crf.crf_forward(*parts, tags=tags, starts=chain.starts)
    held = [*parts, dy, tags, *cache.scores, *cache.state, cache.owner]
    before = [to_numpy(array).copy() for array in held]
    crf.crf_backward(dy, cache)
    for kept, now in zip(before, held):
        np.testing.assert_array_equal(kept, to_numpy(now))


@pytest.mark.parametrize("mistake", mutants.CRF, ids=lambda case: case[0])
def test_planted_mistakes_are_caught(rng, mistake):
    module = mutants.mutant("minixl.ops.crf", *mistake[1:])
    with pytest.raises(AssertionError):
        check_crf(module, rng, random_chain(rng))


@pytest.mark.parametrize("recursion, mistake", [("scaled", case) for case in mutants.SCALED]
                         + [("logarithmic", case) for case in mutants.LOGARITHMIC], ids=lambda case: case[0])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_planted_mistakes_in_the_recursions_are_caught(rng, recursion, mistake):
    module = mutants.mutant("minixl.ops.crf_recursion", *mistake[1:], entry="minixl.ops.crf")
    with pytest.raises(AssertionError):
        for _ in range(3):
            chain = random_chain(rng, scale=3.0 if recursion == "scaled" else 400.0)
            check_crf(module, rng, chain)
            if recursion == "logarithmic":                    # scores near each other, so that all paths matter
                check_crf(module, rng, random_chain(rng), random_legal(rng, 3)._replace(
                    transitions=~np.eye(3, k=2, dtype=bool), start=np.ones(3, bool), end=np.ones(3, bool)))


def test_illegal_gold_tags_are_named(rng):
    chain, legal = random_chain(rng, (2, 3)), random_legal(rng, 3)
    legal.transitions[:] = True
    legal.start[:], legal.end[:] = True, True
    legal.transitions[0, 1] = False
    with pytest.raises(UserError, match="tags: the gold tags of sentence 1 of the batch are illegal"):
        crf.crf_forward(chain.scores, chain.transitions, tags=np.array([0, 0, 2, 0, 1]), starts=chain.starts,
                        legal=legal)


@pytest.mark.parametrize("tags, text", [
    ([0, 1, 3], "tags: expected numbers from 0 to 2, got 0 to 3"),
    ([0, 1], r"crf: expected one tag for each of the 3 rows of emissions, got tags of shape \(2,\)"),
])
def test_wrong_tags_are_named(rng, tags, text):
    chain = random_chain(rng, (3,))
    with pytest.raises(ValueError, match=text):
        crf.crf_forward(chain.scores, chain.transitions, tags=np.array(tags), starts=chain.starts)
