"""The tagger with two encoders: both paths against PyTorch, the stopped gradient, the rule for languages."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from minixl.data.batching import pack
from minixl.models import augmented_tagger
from minixl.models.bilstm_crf_config import CHAR_TABLE, TARGET, WORD_TABLE
from tests.models import test_bilstm_crf as plain
from tests.models.test_bilstm_crf import LABELS, SENTENCES, UNTIED, VOCABULARY, examples_of, gradients, lexicon
from tests.mutants import mutant

FIXED = replace(UNTIED, train_words=False)
CHANGES = [{}, {"start_end": True}, {"chars": False}, {"tied": True}]


def model_of(config, rng, module=augmented_tagger, *, flow=False, xp=np):
    """Random values everywhere: zero biases would hide mistakes."""
    model = module.AugmentedTagger(config, LABELS, lexicon(), sources=["en"], flow=flow, dtype=np.float64, xp=xp)
    for parameter in model.store:
        parameter.value[...] = xp.asarray(0.6 * rng.normal(size=parameter.value.shape))
    return model


class BothDirections(torch.nn.LSTM):
    """One cell that reads a sentence in both directions."""

    def forward(self, x):
        (left, (last, _)), (right, (first, _)) = super().forward(x), super().forward(x.flip(0))
        return torch.cat([left, right.flip(0)], dim=1), (torch.cat([last, first]), None)


class Twin(plain.Twin):
    """Both paths in PyTorch, with the same names; path: "source" or "augmented".  It reads one sentence at a time."""

    def __init__(self, config, flow=False):
        super().__init__(config)
        if config.tied:
            self.word_lstm = BothDirections(config.input_size, config.word_hidden)
            if config.chars:
                self.char_lstm = BothDirections(config.char_size, config.char_hidden)
        self.char_embeddings = torch.nn.Embedding(config.alphabet_size, config.char_size)
        self.target_char_lstm = torch.nn.LSTM(config.char_size, config.char_hidden, bidirectional=True)
        self.target_word_lstm = torch.nn.LSTM(config.word_size + 2 * config.char_hidden, config.word_hidden, bidirectional=True)
        self.target_dense = torch.nn.Linear(4 * config.word_hidden, 2 * config.word_hidden)
        self.flow, self.path = flow, "augmented"

    def spelled(self, text, known):
        """Concatenate the word's vector and the states of the target encoder over its characters."""
        vector = self.word_embeddings(torch.tensor([known.get(text, known.get(text.lower(), 0))]))
        chars = self.char_embeddings(torch.tensor(["?abcdehnr".find(char) if char in "abcdehnr" else 0 for char in text]))
        return torch.cat([vector, self.target_char_lstm(chars)[1][0].reshape(1, -1)], dim=1)

    def emissions(self, sentences):
        known = {word: row for row, word in enumerate(VOCABULARY, 1)}
        emissions = []
        for sentence in sentences:
            states = self.word_lstm(torch.cat([self.word(text, known) for text in sentence]))[0]
            if self.path == "augmented":
                target = self.target_word_lstm(torch.cat([self.spelled(text, known) for text in sentence]))[0]
                states = torch.tanh(self.target_dense(torch.cat([states if self.flow else states.detach(), target], dim=1)))
            emissions.append(self.classifier(torch.tanh(self.dense(states))))
        return emissions


def check_against_pytorch(rng, config, *, flow=False, windows=False, xp=np, module=augmented_tagger):
    """Loss and all gradients of both paths; where PyTorch has no gradient, ours is exactly zero."""
    model = model_of(config, rng, module, flow=flow, xp=xp)
    examples = examples_of(model, rng, windows=windows)
    twin = Twin(config, flow).read(model)
    for path, ours in (("augmented", model), ("source", model.source)):
        twin.path = path
        twin.zero_grad()
        expected = twin.loss(examples)
        (0.37 * expected).backward()
        loss, found = gradients(ours, pack(examples, xp), 0.37)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-9)
        moved = set()
        for name, parameter in twin.named_parameters():
            if name not in model.store or name == WORD_TABLE:
                continue
            if parameter.grad is None or not parameter.grad.abs().max():
                assert not found[name].any(), f"{name}: expected no gradient of the {path} path"
                continue
            moved.add(name)
            np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=0,
                                       atol=1e-9 * parameter.grad.abs().max().item(), err_msg=f"{path}: {name}")
        assert moved == set(model.target_names() if path == "augmented" else ours.task_names())


@pytest.mark.parametrize("flow", [False, True], ids=["stopped", "flowing"])
@pytest.mark.parametrize("change", CHANGES, ids=["plain", "start and end", "source without characters", "tied"])
def test_loss_and_every_gradient_against_pytorch(xp, rng, change, flow):
    check_against_pytorch(rng, replace(FIXED, **change), flow=flow, xp=xp)


def test_windows_with_context_words(rng):
    check_against_pytorch(rng, FIXED, windows=True)


def check_slope(rng, module=augmented_tagger):
    """Central difference in a random direction of all parameters, with dropout and trained word vectors."""
    config = replace(UNTIED, train_words=True, tied=True)
    model = model_of(config, rng, module, flow=True)
    batch = pack(examples_of(model, rng))
    _, found = gradients(model, batch, rng=np.random.default_rng(5))
    direction = {p.name: rng.normal(size=p.value.shape) for p in model.store}
    slope = sum(float((found[name] * d).sum()) for name, d in direction.items())
    losses, step = [], 1e-5
    for sign in (1, -2):
        for parameter in model.store:
            parameter.value += sign * step * direction[parameter.name]
        losses.append(model.loss_forward(batch, rng=np.random.default_rng(5))[0])
    assert abs(slope) > 1e-2
    np.testing.assert_allclose((losses[0] - losses[1]) / (2 * step), slope, rtol=1e-6)


def test_slope_with_tied_source_cells(rng):
    check_slope(rng)


def test_gradient_of_the_word_vectors(rng):
    """What a perturbation needs: with `flow` the slope along a shift of both encoders' word vectors."""
    model = model_of(FIXED, rng, flow=True)
    batch = pack(examples_of(model, rng))
    _, cache = model.loss_forward(batch)
    gradient = model.loss_backward(1.0, cache, need_dembeddings=True)
    shift = rng.normal(size=gradient.shape)
    ends = [model.loss_forward(batch, shift=sign * 1e-5 * shift)[0] for sign in (1, -1)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, float((gradient * shift).sum()), rtol=1e-6)


MISTAKES = [
    ("no tanh after target_dense", "joined = xp.tanh(x) ", "joined = x "),
    ("slope of tanh forgotten", "djoined * (1 - cache.joined * cache.joined)", "djoined"),
    ("source and target swapped", "xp.concatenate([h_source, h_target]", "xp.concatenate([h_target, h_source]"),
    ("halves swapped in the backward", "dz[:, half:]), cache.target", "dz[:, :half]), cache.target"),
    ("the gradient is not stopped", "        if self.flow:\n", "        if True:\n"),
    ("the gradient never flows", "        if self.flow:\n", "        if False:\n"),
    ("no characters in the target encoder", "grads |= {name if name", "of_target.pop('char_lstm')\n        grads |= {name if name"),
    ("the character table is not shared", 'name if name == "char_embeddings" else', 'name if name == "" else'),
    ("target cells read the source's weights", 'f"{TARGET}word_lstm")', '"word_lstm")'),
    ("head fed with the source states", "head_forward(joined,", "head_forward(h_source,"),
    ("the head's loss skips target_dense", '        self.store.accumulate("", grads)\n',
     '        grads.pop("target_dense")\n        self.store.accumulate("", grads)\n'),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_noticed(rng, what, old, new):
    changed = mutant("minixl.models.augmented_tagger", old, new)
    with pytest.raises((AssertionError, KeyError)):
        for flow in (False, True):
            check_against_pytorch(rng, FIXED, flow=flow, module=changed)


def test_mistakes_in_the_word_vectors_are_noticed(rng):
    changed = mutant("minixl.models.augmented_tagger", "        if self.store[WORD_TABLE].trainable:\n", "        if False:\n")
    with pytest.raises(AssertionError):
        check_slope(rng, changed)


def test_which_path_a_language_takes(rng):
    model = model_of(FIXED, rng)
    assert model.for_language("en") is model.source and model.source.for_language("es") is model.source
    assert model.for_language("es") is model.for_language("") is model


def test_the_source_path_is_a_tagger_of_its_own(rng):
    """The same emissions as a BilstmCrf with the same values, and only its parameters."""
    model = model_of(replace(FIXED, chars=False), rng)
    alone = plain.model_of(model.config, rng)
    for parameter in alone.store:
        parameter.value[...] = model.store[parameter.name].value
    batch = pack(examples_of(alone, rng))
    model.lexicon.pieces_batch(SENTENCES)
    np.testing.assert_array_equal(model.source.scores(batch), alone.scores(batch))
    assert set(model.source.task_names()) == set(alone.task_names())
    assert CHAR_TABLE in model.target_names() and CHAR_TABLE not in model.source.task_names()


def test_the_target_loss_leaves_the_source_encoder_alone(rng):
    model = model_of(FIXED, rng)
    assert not any(name.startswith(("word_lstm.", "char_lstm.", WORD_TABLE)) for name in model.target_names())
    assert {name for name in model.task_names() if name.startswith(TARGET)} <= set(model.target_names())
    flowing = model_of(UNTIED, rng, flow=True)
    assert flowing.target_names() == flowing.task_names()
