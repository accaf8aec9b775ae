"""BidirectionalLm against torch.nn's layers on padded sentences; what its states depend on; the paper's numbers of parameters."""
from math import prod

import numpy as np
import pytest
import torch
from torch.nn import functional

from minixl.models import bidirectional_lm
from minixl.models.bidirectional_lm import BidirectionalLm, sinusoid, targets_of
from minixl.models.bidirectional_lm_config import LanguageModelConfig, language_model_shapes
from minixl.errors import UserError
from tests.models.twin_bidirectional_lm import Twin
from tests.mutants import mutant
from tests.ops.checks import assert_close, dense, packed

CONFIG = LanguageModelConfig({"en": 11, "es": 9}, hidden_size=12, num_hidden_layers=3, num_attention_heads=3, intermediate_size=20,
                             dropout=0.0)
LENGTHS = (4, 1, 6, 4)
DIRECTIONS = ("forward", "backward")


def make(module=bidirectional_lm, config=CONFIG, **options) -> BidirectionalLm:
    """A model in which no parameter is zero or one."""
    model = module.BidirectionalLm(config, dtype=np.float64, **options)
    rng = np.random.default_rng(3)
    for parameter in model.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + parameter.name.endswith("LayerNorm.weight")
    return model


def assert_equals_twin(rng, module=bidirectional_lm) -> None:
    """All states, and all gradients for random gradients of all states, or of some."""
    starts = packed(LENGTHS)
    ids = rng.integers(0, 9, starts[-1])
    for language in CONFIG.languages:
        for given in (range(4), (1, 3)):                               # layers with a gradient
            model = make(module)
            twin = Twin(model)
            states, cache = model.states(language, ids, starts)
            expected = twin.states(language, ids, starts)
            dstates = {d: [rng.normal(size=states[d][0].shape) if layer in given else None for layer in range(4)]
                       for d in DIRECTIONS}
            model.states_backward(dstates, cache)
            sum((state * torch.tensor(dstate)).sum() for d in DIRECTIONS
                for state, dstate in zip(expected[d], dstates[d], strict=True) if dstate is not None).backward()
            for d in DIRECTIONS:
                for ours, theirs in zip(states[d], expected[d], strict=True):
                    assert_close(ours, theirs.detach().numpy(), 1e-9, d)
            for name, parameter in twin.expected().items():
                if name.startswith("words.") and language not in name:
                    assert model.store[name].grad is None
                elif "key.bias" not in name:                           # its gradient is zero: rounding
                    assert_close(dense(model.store[name].grad, model.store[name].value.shape), parameter.grad.numpy(), 1e-8, name)


def test_equals_pytorch(rng):
    assert_equals_twin(rng)


MISTAKES = [
    ("not scaled", "words * words.dtype.type(sqrt(hidden)) + waves", "words + waves"),
    ("scale forgotten in the gradient", "dwords * dwords.dtype.type(sqrt(dwords.shape[1]))", "dwords"),
    ("directions exchanged", "{FORWARD: BEFORE, BACKWARD: AFTER}", "{FORWARD: AFTER, BACKWARD: BEFORE}"),
    ("states before the normalisation", "return y, normed, BlockCache(", "return y, x, BlockCache("),
    ("gradient of a state dropped", "dnormed += dstate", "pass"),
    ("residual of the attention dropped", "dx += dattended", "pass"),
    ("residual of the inner layer dropped", "dattended += dy", "pass"),
    ("one direction's gradient only", "dx = dblock if dx is None else dx + dblock", "dx = dblock"),
    ("positions of the batch", "np.repeat(starts[:-1], lengths)\n", "0 * np.repeat(starts[:-1], lengths)\n"),
    ("cosines first", "[np.sin(angles), np.cos(angles)]", "[np.cos(angles), np.sin(angles)]"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    with pytest.raises((AssertionError, IndexError)):
        assert_equals_twin(rng, mutant("minixl.models.bidirectional_lm", old, new))


@pytest.mark.parametrize("direction, changed", [("forward", slice(3, 6)), ("backward", slice(0, 3))])
def test_states_do_not_depend_on_hidden_words(rng, direction, changed):
    """Forward states keep every bit when later words change, backward states when earlier ones do; the others change."""
    model, ids, starts = make(), rng.integers(2, 9, 6), packed((6,))
    before, _ = model.states("en", ids, starts)
    ids[changed] = 1
    after, _ = model.states("en", ids, starts)
    for old, new in zip(before[direction], after[direction], strict=True):
        same = (old == new).all(axis=1)
        assert same.tolist() == [not changed.start <= i < changed.stop for i in range(6)]


def test_states_do_not_depend_on_the_batch(rng):
    model, starts = make(), packed(LENGTHS)
    ids = rng.integers(0, 9, starts[-1])
    together, _ = model.states("es", ids, starts)
    for first, last in zip(starts[:-1], starts[1:], strict=True):
        alone, _ = model.states("es", ids[first:last], packed((last - first,)))
        for d in DIRECTIONS:
            for ours, expected in zip(together[d], alone[d], strict=True):
                assert_close(ours[first:last], expected, 1e-12, d)


def test_fixed_states_are_the_states_without_dropout(rng):
    """Also where sentences of different languages share a batch."""
    model, starts = make(config=LanguageModelConfig(CONFIG.vocabulary_sizes, 12, 3, 3, 20, dropout=0.4)), packed((3, 5))
    ids = rng.integers(0, 9, 8)
    words = np.concatenate([model.table("en")[ids[:3]], model.table("es")[ids[3:]]])
    fixed = model.fixed_states(words, starts)
    for language, rows in (("en", slice(0, 3)), ("es", slice(3, 8))):
        alone, _ = model.states(language, ids[rows], packed((rows.stop - rows.start,)))
        dropped, _ = model.states(language, ids[rows], packed((rows.stop - rows.start,)), rng=np.random.default_rng(0))
        for d in DIRECTIONS:
            for ours, expected, other in zip(fixed[d], alone[d], dropped[d], strict=True):
                assert_close(ours[rows], expected, 1e-12)
                assert (other != expected).any()


def test_surprisal_is_that_of_the_full_softmax(rng, monkeypatch):
    monkeypatch.setattr(bidirectional_lm, "SCORES", 40)                # a few rows at a time
    model, starts = make(), packed(LENGTHS)
    ids = rng.integers(2, 11, starts[-1])
    states = Twin(model).states("en", ids, starts)
    for d, value in model.surprisal("en", ids, starts).items():
        scores = states[d][-1] @ torch.tensor(model.table("en")).T
        assert_close(value, functional.cross_entropy(scores, torch.tensor(targets_of(ids, starts, d)), reduction="sum")
                     .detach().numpy(), 1e-9)


def test_targets():
    ids, starts = np.array([5, 6, 7, 8, 9]), packed((3, 0, 2))
    assert targets_of(ids, starts, "forward").tolist() == [6, 7, 0, 9, 0]
    assert targets_of(ids, starts, "backward").tolist() == [0, 5, 6, 0, 8]


def test_sinusoid():
    waves = sinusoid(3, 6)
    np.testing.assert_allclose(waves[2], [np.sin(2), np.sin(2 / 100), np.sin(2 / 1e4), np.cos(2), np.cos(2 / 100), np.cos(2 / 1e4)])


def test_the_paper_has_37_8_million_weights_in_both_stacks():
    """3,152,384 a block, 102.4 million a word table."""
    shapes = language_model_shapes(LanguageModelConfig({"en": 200_000, "es": 200_000}))
    count = lambda prefix: sum(prod(shape) for name, shape in shapes.items() if name.startswith(prefix))
    assert count("forward.layer.5.") == count("backward.layer.0.") == 3_152_384
    assert count("words.es.") == 102_400_000 and count("forward.") + count("backward.") == 12 * 3_152_384 + 4 * 512


def test_initial_values():
    model = BidirectionalLm(CONFIG)
    model.initialise(np.random.default_rng(1))
    assert abs(model.table("en").std() - 12 ** -0.5) < 0.05
    assert (model.store["forward.LayerNorm.weight"].value == 1).all()
    assert not model.store["backward.layer.1.output.bias"].value.any()
    assert 0 < np.abs(model.store["forward.layer.0.intermediate.weight"].value).max() <= (6 / 32) ** 0.5


def test_sizes_that_do_not_fit():
    with pytest.raises(UserError, match="^hidden_size: expected an even multiple of the 8 attention heads, found 20$"):
        LanguageModelConfig({"en": 5}, hidden_size=20)
    raw = CONFIG.to_json()
    assert LanguageModelConfig.from_json(raw) == CONFIG
    for name, value, message in (("model_type", "bert", "model_type: expected 'bidirectional-lm', found 'bert'"),
                                 ("hidden_size", None, "hidden_size: expected a whole number above 0, found None"),
                                 ("dropout", 1.0, "dropout: expected a number from 0 to below 1, found 1.0"),
                                 ("vocabulary_sizes", {"en": 1}, "vocabulary_sizes: expected {language: number of words}"),
                                 ("hidden_size", 13, "hidden_size: expected an even multiple of the 3 attention heads, found 13")):
        with pytest.raises(UserError, match=f"^config.json: {message}"):
            LanguageModelConfig.from_json(raw | {name: value})
