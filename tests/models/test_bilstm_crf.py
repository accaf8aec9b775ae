"""The whole tagger: against PyTorch and pytorch-crf, by central differences, and by listing every tag sequence."""
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence, pad_sequence
from torchcrf import CRF

from minixl.backend import to_numpy
from minixl.data.batching import pack
from minixl.data.encoding import Example
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import legal_transitions
from minixl.errors import UserError
from minixl.models import bilstm_crf
from minixl.models.bilstm_crf_config import CHAR_TABLE, WORD_TABLE, BilstmCrfConfig
from minixl.ops.viterbi import viterbi
from tests.mutants import mutant
from tests.ops.checks import dense

LABELS = ["O", "B-X", "I-X", "B-Y", "I-Y"]
SENTENCES = ["the cab ran by the cab".split(), ["ran"], "a dog and a Cab".split(), "unseen öb the x".split(), ["the"] * 3]
VOCABULARY = "the cab ran by a dog and".split()
UNTIED = BilstmCrfConfig(8, 9, word_size=6, char_size=4, char_hidden=3, word_hidden=5, dense_size=7, two_biases=True)


def lexicon(singletons=()):
    return Lexicon(VOCABULARY, "abcdehnr", singletons)


def model_of(config, rng, module=bilstm_crf, *, xp=np, dtype=np.float64, legal=None, singletons=()):
    """Random values everywhere: zero biases would hide mistakes."""
    model = module.BilstmCrf(config, LABELS, lexicon(singletons), legal=legal, dtype=dtype, xp=xp)
    for parameter in model.store:
        parameter.value[...] = xp.asarray(0.6 * rng.normal(size=parameter.value.shape))
    return model


def examples_of(model, rng, *, windows=False, legal=False):
    """SENTENCES with random tags; with windows the first and the last word of long ones is context and not scored."""
    examples = []
    for source, pieces in enumerate(model.lexicon.pieces_batch(SENTENCES)):
        context = windows and len(pieces) > 3
        rows = np.arange(context, len(pieces) - context)
        tags = np.resize([0, 1, 2, 3, 4], len(rows)) if legal else rng.integers(0, len(LABELS), len(rows))
        examples.append(Example(np.array([piece for [piece] in pieces]), rows, tags, source, int(context)))
    return examples


class Twin(torch.nn.Module):
    """The same tagger in PyTorch, with the same names."""

    def __init__(self, config):
        super().__init__()
        self.word_embeddings = torch.nn.Embedding(config.vocabulary_size, config.word_size)
        if config.chars:
            self.char_embeddings = torch.nn.Embedding(config.alphabet_size, config.char_size)
            self.char_lstm = torch.nn.LSTM(config.char_size, config.char_hidden, bidirectional=True)
        self.word_lstm = torch.nn.LSTM(config.input_size, config.word_hidden, bidirectional=True)
        self.dense = torch.nn.Linear(2 * config.word_hidden, config.dense_size)
        self.classifier = torch.nn.Linear(config.dense_size, len(LABELS))
        self.crf = CRF(len(LABELS), batch_first=True)
        self.config = config

    def read(self, model):
        """Copy every value; without start_end pytorch-crf's are zero."""
        state = {parameter.name: torch.tensor(to_numpy(parameter.value)) for parameter in model.store}
        zeros = {f"crf.{side}_transitions": torch.zeros(len(LABELS)).double() for side in ("start", "end")}
        self.double().load_state_dict(zeros | state)
        return self

    def word(self, text, known):
        """Concatenate the word's row of the table and the last state of each direction over its characters."""
        row = known.get(text, known.get(text.lower(), 0))
        vector = self.word_embeddings(torch.tensor([row]))
        if not self.config.chars:
            return vector
        chars = self.char_embeddings(torch.tensor(["?abcdehnr".find(char) if char in "abcdehnr" else 0 for char in text]))
        return torch.cat([vector, self.char_lstm(chars)[1][0].reshape(1, -1)], dim=1)

    def emissions(self, sentences):
        """Return an array (words, K) per sentence."""
        known = {word: row for row, word in enumerate(VOCABULARY, 1)}
        inputs = [torch.cat([self.word(text, known) for text in sentence]) for sentence in sentences]
        packed = self.word_lstm(pack_sequence(inputs, enforce_sorted=False))[0]
        hidden, lengths = pad_packed_sequence(packed, batch_first=True)
        return [self.classifier(torch.tanh(self.dense(row[:n]))) for row, n in zip(hidden, lengths, strict=True)]

    def scored(self, examples):
        """Emissions and mask of the scored words, padded."""
        sentences = [SENTENCES[x.source] for x in examples]
        parts = [e[torch.tensor(x.rows)] for e, x in zip(self.emissions(sentences), examples, strict=True)]
        mask = pad_sequence([torch.ones(len(part), dtype=torch.bool) for part in parts], batch_first=True)
        return pad_sequence(parts, batch_first=True), mask

    def loss(self, examples):
        emissions, mask = self.scored(examples)
        tags = pad_sequence([torch.tensor(x.labels) for x in examples], batch_first=True)
        return -self.crf(emissions, tags, mask, reduction="mean")


def gradients(model, batch, dloss=1.0, **options):
    """Return the loss and every gradient by name."""
    model.store.zero_grad()
    loss, cache = model.loss_forward(batch, **options)
    model.loss_backward(dloss, cache)
    found = {p.name: np.zeros(p.value.shape) if p.grad is None else dense(p.grad, p.value.shape) for p in model.store}
    return loss, found


def check_against_pytorch(rng, config, *, windows=False, xp=np, module=bilstm_crf):
    """Loss and all gradients; the upstream gradient is not one."""
    model = model_of(config, rng, module, xp=xp)
    examples = examples_of(model, rng, windows=windows)
    twin = Twin(config).read(model)
    expected = twin.loss(examples)
    (0.37 * expected).backward()
    loss, found = gradients(model, pack(examples, xp), 0.37)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-9)
    theirs = {name: parameter.grad.numpy() for name, parameter in twin.named_parameters() if name in model.store}
    assert theirs.keys() == found.keys()
    for name, grad in theirs.items():
        scale = np.abs(grad).max()
        assert scale > 0, f"{name}: the test says nothing about it"
        np.testing.assert_allclose(found[name], grad, rtol=0, atol=1e-9 * scale, err_msg=name)


@pytest.mark.parametrize("windows", [False, True], ids=["sentences", "windows"])
@pytest.mark.parametrize("change", [{}, {"start_end": True}, {"chars": False}], ids=["plain", "start and end", "no characters"])
def test_loss_and_every_gradient_against_pytorch(xp, rng, change, windows):
    check_against_pytorch(rng, replace(UNTIED, **change), windows=windows, xp=xp)


def check_slope(rng, config, module=bilstm_crf, *, legal=None):
    """Central difference in a random direction of all parameters, dropout and unknown singletons included."""
    model = model_of(config, rng, module, legal=legal, singletons=(2, 4, 5))
    batch = pack(examples_of(model, rng, legal=legal is not None))
    _, found = gradients(model, batch, rng=np.random.default_rng(5))
    direction = {p.name: rng.normal(size=p.value.shape) for p in model.store}
    slope = sum(float((found[name] * d).sum()) for name, d in direction.items())
    losses, step = [], 1e-5
    for sign in (1, -2):                                           # first to +step, then to -step
        for parameter in model.store:
            parameter.value += sign * step * direction[parameter.name]
        losses.append(model.loss_forward(batch, rng=np.random.default_rng(5))[0])
    assert abs(slope) > 1e-2
    np.testing.assert_allclose((losses[0] - losses[1]) / (2 * step), slope, rtol=1e-6)


ONE_BIAS = replace(UNTIED, two_biases=False)
VARIANTS = {
    "one bias": ONE_BIAS, "tied": replace(ONE_BIAS, tied=True), "tied, two biases": replace(UNTIED, tied=True),
    "tied, no characters": replace(ONE_BIAS, tied=True, chars=False), "start and end": replace(ONE_BIAS, start_end=True),
    "variational": replace(ONE_BIAS, variational=True), "no dropout": replace(ONE_BIAS, dropout=0.0),
}


def test_gradient_of_the_word_vectors_by_central_difference(rng):
    """With a shift, dropout and unknown singletons; the parameters' gradients are those without need_dembeddings."""
    model = model_of(ONE_BIAS, rng, singletons=(2, 4, 5))
    batch = pack(examples_of(model, rng))
    shift, direction = rng.normal(size=(2, batch.tokens, model.embedding_size))

    def loss(shift):
        return model.loss_forward(batch, rng=np.random.default_rng(5), keep="all", shift=shift)

    value, cache = loss(shift)
    slope = (model.loss_backward(0.7, cache, need_dembeddings=True) * direction).sum() / 0.7
    difference = (loss(shift + 1e-5 * direction)[0] - loss(shift - 1e-5 * direction)[0]) / 2e-5
    assert value != loss(None)[0] and abs(slope) > 1e-2
    np.testing.assert_allclose(difference, slope, rtol=1e-6)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_gradient_by_central_difference(rng, config):
    for _ in range(3):
        check_slope(rng, config)


def test_training_over_legal_sequences_only(rng):
    check_slope(rng, replace(ONE_BIAS, start_end=True), legal=legal_transitions(LABELS, "IOB2"))


LAYER_MISTAKES = [
    ("slope of tanh", "1 - cache.active * cache.active", "1 - cache.active"),
    ("halves of x exchanged", "concatenate([words, spelled]", "concatenate([spelled, words]"),
    ("halves of dx exchanged", "dx[:, cache.word_size:]", "dx[:, :cache.word_size]"),
    ("scored words in a row", "dhidden[cache.rows] = dpicked", "dhidden[:len(dpicked)] = dpicked"),
    ("unscored words not left out", "hidden if picked is None else hidden[picked]", "hidden[:len(rows)]"),
    ("dropout not undone behind the LSTM", "_drop_backward(dhidden, cache.after)", "dhidden"),
    ("dropout not undone before the LSTM", "dx = _drop_backward(dx, cache.before)", "pass"),
    ("characters without gradient", 'grads |= {"char_embeddings"', '_ = {"char_embeddings"'),
]
MISTAKES = [
    ("a sum over the sentences", "dloss / cache.sentences", "dloss"),
    ("the loss is a sum", "float(nll.mean())", "float(nll.sum())"),
    ("no gradient of the words", "if self.store[WORD_TABLE].trainable:", "if False:"),
    ("sentences of all words", "return np.searchsorted(batch.host.rows, batch.starts).astype(np.int64)",
     "return np.minimum(batch.starts, len(batch.rows))"),
    ("start and end without gradient", 'f"{name}_transitions": grad', 'f"{name}_transitions": 0 * grad'),
]


@pytest.mark.parametrize("mistake", LAYER_MISTAKES, ids=lambda case: case[0])
def test_planted_mistakes_in_the_layers_are_caught(rng, monkeypatch, mistake):
    changed = mutant("minixl.models.bilstm_layers", *mistake[1:])
    for function in ("encoder_forward", "encoder_backward", "head_forward", "head_backward"):
        monkeypatch.setattr(bilstm_crf, function, getattr(changed, function))
    assert_caught(rng, bilstm_crf)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda case: case[0])
def test_planted_mistakes_are_caught(rng, mistake):
    assert_caught(rng, mutant("minixl.models.bilstm_crf", *mistake[1:]))


def assert_caught(rng, module):
    with pytest.raises(AssertionError):
        for windows in (False, True):
            check_against_pytorch(rng, replace(UNTIED, start_end=True), windows=windows, module=module)
        check_slope(rng, ONE_BIAS, module)


def test_singletons_are_unknown_half_of_the_time_in_training(xp, rng):
    model = model_of(ONE_BIAS, rng, xp=xp, singletons=(3,))
    [pieces] = model.lexicon.pieces_batch([["ran", "Ran", "the"] * 400])
    ids = np.array([piece for [piece] in pieces])
    batch = pack([Example(ids, np.arange(1200), np.zeros(1200, int), 0, 0)], xp)
    read = lambda rng: to_numpy(model.forward(batch, rng=rng)[1].words.ids).reshape(400, 3)
    rows = read(xp.random.default_rng(3))
    assert (rows[:, 2] == 1).all() and set(rows[:, :2].ravel().tolist()) == {0, 3}
    assert 340 < (rows[:, :2] == 0).sum() < 460                        # 400 expected, 4 standard deviations each side
    assert (read(None) == [3, 3, 1]).all()
    model.config = replace(ONE_BIAS, word_unknown=0.0)
    assert (read(xp.random.default_rng(3)) == [3, 3, 1]).all()


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_in_training_only(rng, variational):
    model = model_of(replace(ONE_BIAS, variational=variational), rng)
    batch = pack(examples_of(model, rng))
    still, cache = model.forward(batch)
    assert cache.encoder.before.mask is cache.encoder.after.mask is None
    np.testing.assert_array_equal(model.scores(batch), still)
    moved, cache = model.forward(batch, rng=np.random.default_rng(1))
    rows = len(SENTENCES) if variational else batch.tokens
    assert cache.encoder.before.mask.shape == (rows, 12) and cache.encoder.after.mask.shape == (rows, 10)
    assert not np.allclose(moved, still)
    np.testing.assert_array_equal(model.forward(batch, rng=np.random.default_rng(1))[0], moved)      # replayed


def test_given_word_vectors_stay(rng):
    model = model_of(replace(ONE_BIAS, train_words=False), rng)
    gradients(model, pack(examples_of(model, rng)))
    assert model.store[WORD_TABLE].grad is None and np.abs(model.store[CHAR_TABLE].grad).max() > 0
    assert model.task_names() == [name for name in model.store.names() if name != WORD_TABLE]
    assert model.encoder_names() + model.head_names() == model.store.names()
    assert model.head_names() == ["dense.weight", "dense.bias", "classifier.weight", "classifier.bias", "crf.transitions"]


def test_shares_of_a_batch_add_up(rng):
    model = model_of(ONE_BIAS, rng)
    examples = examples_of(model, rng)
    whole, parts = pack(examples), [pack(examples[:2]), pack(examples[2:])]
    loss, expected = gradients(model, whole)
    model.store.zero_grad()
    total = 0.0
    for part in parts:
        share = model.loss_share(part, whole)
        value, cache = model.loss_forward(part)
        model.loss_backward(share, cache)
        total += share * value
    np.testing.assert_allclose(total, loss, rtol=1e-12)
    np.testing.assert_allclose(model.store["word_lstm.weight_ih_l0"].grad, expected["word_lstm.weight_ih_l0"], atol=1e-12)


@pytest.mark.parametrize("start_end", [False, True])
def test_decodes_as_pytorch_crf(rng, start_end):
    model = model_of(replace(UNTIED, start_end=start_end), rng)
    examples = examples_of(model, rng, windows=True)
    batch = pack(examples)
    tags, _ = viterbi(model.scores(batch), bilstm_crf.word_starts(batch), **model.decoder())
    twin = Twin(model.config).read(model)
    decoded = twin.crf.decode(*twin.scored(examples))
    assert tags.tolist() == [tag for i in batch.order for tag in decoded[i]]


@pytest.mark.parametrize("legal", [None, legal_transitions(LABELS, "IOB2")], ids=["all", "legal"])
def test_confidences_by_listing_every_sequence(xp, rng, legal):
    """Tags, entities and the loss of one sentence of four words behind another one."""
    model = model_of(replace(ONE_BIAS, start_end=True), rng, xp=xp, legal=legal)
    emissions, tags = rng.normal(size=(5, 5)), np.array([0, 1, 2, 0, 1])
    starts, spans = np.array([0, 1, 5]), np.array([[1, 3], [4, 5]])
    moves, start, end = map(to_numpy, model.decoder().values())
    weight = {}
    for path in product(range(5), repeat=4):
        steps = list(zip(path, path[1:], strict=False))
        if legal is None or legal.start[path[0]] and legal.end[path[-1]] and all(legal.transitions[a, b] for a, b in steps):
            weight[path] = np.exp(emissions[np.arange(1, 5), path].sum() + sum(moves[a, b] for a, b in steps)
                                  + start[path[0]] + end[path[-1]])
    share = lambda chosen: sum(w for path, w in weight.items() if chosen(path)) / sum(weight.values())
    by_tag = to_numpy(model.confidences(emissions, starts, tags, legal=legal))
    np.testing.assert_allclose(by_tag[1:], [share(lambda path, t=t: path[t] == tags[t + 1]) for t in range(4)], rtol=1e-9)
    by_span = to_numpy(model.span_confidences(emissions, starts, spans, tags, legal=legal))
    expected = [share(lambda path: path[:2] == (1, 2) and path[2] != 2), share(lambda path: path[3] == 1)]
    np.testing.assert_allclose(by_span, expected, rtol=1e-9)
    assert model.span_confidences(emissions, starts, spans[:0], tags).shape == (0,)


def test_tags_that_cannot_be_trained_on(rng):
    model = model_of(ONE_BIAS, rng, legal=legal_transitions(LABELS, "IOB2"))
    examples = examples_of(model, rng, legal=True)
    examples[2].labels[1] = -100
    with pytest.raises(ValueError, match=r"a tag for every word, .* got -100 \(unlabelled\) for word 9 of the batch"):
        model.loss_forward(pack(examples))                             # behind sentences of 1, 3 and 4 words
    examples[2].labels[:2] = 0, 2
    with pytest.raises(UserError, match="illegal in this tag scheme"):
        model.loss_forward(pack(examples))


def test_float32(rng):
    wide, narrow = (model_of(ONE_BIAS, np.random.default_rng(8), dtype=dtype) for dtype in (np.float64, np.float32))
    loss, expected = gradients(wide, pack(examples_of(wide, np.random.default_rng(2))))
    ours, found = gradients(narrow, pack(examples_of(narrow, np.random.default_rng(2))))
    assert ours == pytest.approx(loss, rel=1e-5)
    for name, grad in found.items():
        assert grad.dtype == np.float32, name
        np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-4 * np.abs(expected[name]).max(), err_msg=name)
