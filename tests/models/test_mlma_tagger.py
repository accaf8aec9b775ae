"""MlmaTagger against PyTorch: both sums over layers, fixed language model, states kept, sentences of several languages."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from minixl.data.batching import Batch, Stream, pack
from minixl.data.encoding import Example
from minixl.data.language_lexicon import LanguageLexicon
from minixl.errors import UserError
from minixl.models import layer_mixing, mlma_tagger
from minixl.models.bidirectional_lm_config import LanguageModelConfig
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.frozen_bottom import FrozenBottom
from minixl.models.mlma_tagger import MlmaTagger, MlmaTaggerConfig
from minixl.study import pytorch
from minixl.study.pytorch_models import _lstm
from tests.models.twin_bidirectional_lm import Twin
from tests.mutants import mutant
from tests.ops.checks import assert_close

LABELS = ["O", "B-X", "I-X"]
WORDS = {"en": "the cab ran by".split(), "es": "el taxi the va".split()}
SENTENCES = [("en", "the Cab ran by the cab"), ("es", "el taxi"), ("en", "by unseen cab"), ("es", "the taxi va cab va")]
LEXICON = LanguageLexicon.of_languages(WORDS, sorted(set("thecabrnyluiv")))
KINDS = ["fully-weighted", "self-weighted"]


def make(kind: str, module=mlma_tagger, **changed) -> MlmaTagger:
    of_model = LanguageModelConfig({language: len(words) + 2 for language, words in WORDS.items()}, hidden_size=8,
                                   num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, dropout=0.3)
    tagger = BilstmCrfConfig(LEXICON.vocabulary_size, LEXICON.alphabet_size, word_size=16, char_size=3, char_hidden=2,
                             word_hidden=4, **{"dense_size": 0, "dropout": 0.0, **changed})
    model = module.MlmaTagger(MlmaTaggerConfig(of_model, tagger, kind, 5), LABELS, LEXICON, dtype=np.float64)
    rng = np.random.default_rng(4)
    for parameter in model.store:
        parameter.value[...] = 0.4 * rng.normal(size=parameter.value.shape) + parameter.name.endswith("LayerNorm.weight")
    return model


def examples() -> list[Example]:
    """SENTENCES with tags."""
    rows = [np.array([word[0] for word in LEXICON.for_language(language).pieces_batch([text.split()])[0]])
            for language, text in SENTENCES]
    return [Example(ids, np.arange(len(ids)), np.resize([0, 1, 2, 0], len(ids)), i, 0) for i, ids in enumerate(rows)]


def states_in_pytorch(model: MlmaTagger, batch: Batch) -> torch.Tensor:
    """(T, L, 2H), sentence by sentence, each with the word table of its language."""
    twin, found = Twin(model.language_model), []
    for position, (first, last) in enumerate(zip(batch.starts[:-1], batch.starts[1:], strict=True)):
        language, text = SENTENCES[batch.order[position]]
        words = WORDS[language]
        ids = np.array([2 + words.index(word.lower()) if word.lower() in words else 1 for word in text.split()])
        states = twin.states(language, ids, np.array([0, last - first]))
        found.append(torch.stack([torch.cat([states[d][layer] for d in ("forward", "backward")], 1) for layer in range(3)], 1))
    return torch.cat(found).detach()


def loss_in_pytorch(model: MlmaTagger, params: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
    states = states_in_pytorch(model, batch)
    if model.mlma.mixing == "fully-weighted":
        words = (states * torch.softmax(params["mixing.weight"], 0)).sum(1)
    else:
        inner = torch.tanh(states.flatten(1) @ params["mixing.dense.weight"].T + params["mixing.dense.bias"])
        scores = torch.tanh(inner @ params["mixing.out.weight"].T + params["mixing.out.bias"])
        words = (states * torch.softmax(scores, 1)[:, :, None]).sum(1)
    if model.config.chars:
        spelled = LEXICON.spell(batch.input_ids)
        chars = params["char_embeddings.weight"][torch.tensor(spelled.chars)]
        _, final = pytorch.bilstm(chars, spelled.starts, **_lstm(params, "char_lstm"))
        words = torch.cat([words, final[spelled.word_of]], 1)
    hidden = pytorch.bilstm(words, batch.starts, **_lstm(params, "word_lstm"))[0]
    if model.config.dense_size:
        hidden = torch.tanh(hidden @ params["dense.weight"].T + params["dense.bias"])
    emissions = hidden @ params["classifier.weight"].T + params["classifier.bias"]
    zeros = torch.zeros(3, dtype=torch.float64)
    return pytorch.crf(emissions, params["crf.transitions"], zeros, zeros, batch.labels, batch.starts, None).mean()


def assert_equals_twin(kind: str, module=mlma_tagger, **changed) -> None:
    model, batch = make(kind, module, **changed), pack(examples())
    value, cache = model.loss_forward(batch)
    model.loss_backward(1.3, cache)
    params = {name: torch.tensor(model.store[name].value, requires_grad=True) for name in model.task_names()}
    loss = loss_in_pytorch(model, params, batch)
    (1.3 * loss).backward()
    assert_close(value, loss.item(), 1e-9)
    for name, parameter in params.items():
        assert_close(model.store[name].grad, parameter.grad.numpy(), 1e-8, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changed", [{}, {"chars": False}, {"dense_size": 5}], ids=str)
def test_equals_pytorch(kind, changed):
    assert_equals_twin(kind, **changed)


MISTAKES = [
    ("layer_mixing", "no second tanh", "scores = xp.tanh(raw)", "scores = raw"),
    ("layer_mixing", "gradient through the second tanh", "grads[\"scores\"] * (1 - cache.scores * cache.scores)",
     "grads[\"scores\"]"),
    ("layer_mixing", "gradient through the first tanh", "dactive * (1 - cache.active * cache.active)", "dactive"),
    ("mlma_tagger", "no gradient of the layers' weights", "self.store.accumulate(\"mixing\"", "(lambda *a: None)(\"mixing\""),
    ("mlma_tagger", "the word table of another language", "rows[own] - first)", "0 * rows[own])"),
    ("mlma_tagger", "directions before layers", "for layer in range(model.config.layers) for direction in DIRECTIONS]",
     "for direction in DIRECTIONS for layer in range(model.config.layers)]"),
]


@pytest.mark.parametrize("module, what, old, new", MISTAKES, ids=[mistake[1] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(module, what, old, new, monkeypatch):
    changed, tagger = mutant(f"minixl.models.{module}", old, new), mlma_tagger
    if module == "layer_mixing":
        for name in ("mixing_forward", "mixing_backward"):
            monkeypatch.setattr(mlma_tagger, name, getattr(changed, name))
    else:
        tagger = changed
    with pytest.raises(AssertionError):
        assert_equals_twin("self-weighted", tagger)


@pytest.mark.parametrize("kind", KINDS)
def test_the_language_model_is_fixed(kind):
    model = make(kind)
    assert {name.partition(".")[0] for name in model.store.names(trainable=False)} == {"language_model"}
    before = {p.name: p.value.copy() for p in model.store}
    model.initialise(np.random.default_rng(1))
    for name, value in before.items():
        assert (model.store[name].value == value).all() == name.startswith("language_model.")
    assert abs(model.store["mixing.weight" if kind == KINDS[0] else "mixing.dense.weight"].value.std() - 0.02) < 0.005


@pytest.mark.parametrize("memory", [1 << 20, 0])
def test_states_are_computed_once_for_each_training_sentence(tmp_path, memory):
    """Batches bring the states that the model would compute; the second epoch computes none."""
    model, given = make("self-weighted"), examples()
    kept = FrozenBottom(model, given, memory_bytes=memory, folder=tmp_path)
    stream = Stream(given, 3, 1, bottom=kept)
    calls, compute = [], model.frozen_bottom
    model.frozen_bottom = lambda *arguments: calls.append(1) or compute(*arguments)
    for step in range(6):
        batch = next(stream)
        assert len(calls) == min(step + 1, 2)                          # two batches an epoch
        assert batch.bottom.shape == (batch.tokens, 48) == (batch.tokens, model.bottom_size)
        np.testing.assert_allclose(batch.bottom, compute(batch.input_ids, batch.position_ids, batch.starts), rtol=0, atol=1e-12)
        assert_close(model.loss_forward(batch)[0], model.loss_forward(batch._replace(bottom=None))[0], 1e-12)
        calls.pop()                                                    # of the batch without states


def test_states_of_equal_batches_are_kept_while_there_is_room():
    model, batch, other = make("fully-weighted"), pack(examples()), pack(examples()[:2])
    model.room = model.states(batch).nbytes + 10
    assert model.states(batch) is not model.states(other)
    first = model.states(batch)
    assert model.states(pack(examples())).base is first.base and len(model.kept) == 1      # no room for the second
    np.testing.assert_array_equal(model.states(other), model.states(other))


def test_shares_of_the_layers_sum_to_one():
    for kind in KINDS:
        model = make(kind)
        shares = layer_mixing.layer_shares(model.states(pack(examples())), model.store.under("mixing"))
        assert shares.shape == (3,) and shares.sum() == pytest.approx(1) and shares.min() > 0
    assert shares.max() / shares.min() < np.e ** 2                     # self-weighted: the second tanh


def test_the_configuration_is_checked():
    config = make("self-weighted").mlma
    raw = config.to_json()
    assert MlmaTaggerConfig.from_json(raw) == config
    for change, message in (({"model_type": "bilstm-crf"}, "model_type: expected 'mlma-tagger', found 'bilstm-crf'"),
                            ({"mixing": "mean"}, "mixing, mixing_size: expected one of fully-weighted, self-weighted and a size"),
                            ({"word_size": 8}, "word_size: expected 16, twice the language model's hidden_size, found 8"),
                            ({"language_model": {}}, "language_model: model_type: expected 'bidirectional-lm', found None")):
        with pytest.raises(UserError, match=f"^config.json: {message}"):
            MlmaTaggerConfig.from_json(raw | change)
    other = replace(config, language_model=replace(config.language_model, vocabulary_sizes={"en": 6, "es": 7}))
    with pytest.raises(UserError, match="^config.json: vocabulary_sizes: expected {'en': 6, 'es': 6}, as in lexicon.json, found"):
        MlmaTagger(other, LABELS, LEXICON)
