"""A step of the language model against PyTorch: twenty updates, with every alignment term; candidates; planted mistakes."""
from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional

from minixl.data.language_lexicon import LanguageLexicon
from minixl.data.monolingual import Sentences
from minixl.methods import SCHEMA
from minixl.methods.mlma import language_model
from minixl.methods.mlma.language_model import LanguageModeling, perplexities
from minixl.models.bidirectional_lm import BidirectionalLm, targets_of
from minixl.models.bidirectional_lm_config import LanguageModelConfig
from minixl.ops.sampled_softmax import log_expected
from tests.models.twin_bidirectional_lm import Twin
from tests.mutants import mutant
from tests.ops.checks import packed
from tests.ops.energy_reference import energy_distance
from tests.ops.test_cosine_linkage import all_pairs
from tests.ops.test_moment_distance import in_pytorch as moments
from tests.ops.test_moment_norms import in_pytorch as moment_norms
from tests.training.one_update import Dealt

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "dropout": 0.0}
LEXICON = LanguageLexicon.of_languages({"en": list("abcdefghijk"), "es": list("xcyazbwvut"), "de": list("klmnaopqrs")})
PLAIN = {"method": "mlma", "language_model.lr": 1e-2, "language_model.samples": 3, "optim.clip": 0.5, "mlma.average_linkage": 0.0}
TERMS = {
    "none": {}, "average linkage": {"mlma.average_linkage": 0.7}, "cosine linkage": {"mlma.cosine_linkage": 0.7},
    "moments": {"mlma.mean": 0.3, "mlma.deviation": 0.2}, "identical strings": {"mlma.identical_strings": 0.4},
    "all": {"mlma.average_linkage": 0.5, "mlma.cosine_linkage": 0.2, "mlma.mean": 0.1, "mlma.deviation": 0.2,
            "mlma.identical_strings": 0.3},
    "layers": {"mlma.average_linkage": 0.7, "mlma.layer_weights": ["0", "2.5", "1"]},
    "moment norms": {"mlma.mean": 0.3, "mlma.deviation": 0.2, "mlma.moments": "moment-norms"},
    "together": {"mlma.average_linkage": 0.7, "mlma.directions": "together"},
    "full softmax": {"language_model.samples": 0}}


@pytest.fixture(autouse=True)
def sampled(monkeypatch):
    """Sample from small vocabularies, too."""
    monkeypatch.setattr(language_model, "SMALL", 5)


def make_model(languages=("en", "es"), dtype=np.float64, **sizes) -> BidirectionalLm:
    config = LanguageModelConfig({language: len(LEXICON.words_of(language)) + 2 for language in languages}, **(SIZES | sizes))
    model = BidirectionalLm(config, dtype=dtype)
    rng = np.random.default_rng(5)
    model.initialise(rng)
    for parameter in model.store:
        if parameter.value.ndim == 1:                                  # no vector of zeros: errors are relative
            parameter.value[...] += 0.1 * rng.normal(size=parameter.value.shape)
    return model


def make_batches(rng, languages, count: int) -> dict[str, list[Sentences]]:
    def batch(language: str) -> Sentences:
        starts = packed(sorted(rng.integers(1, 7, rng.integers(2, 5)).tolist()))
        return Sentences(rng.integers(1, len(LEXICON.words_of(language)) + 2, int(starts[-1])), starts)
    return {language: [batch(language) for _ in range(count)] for language in languages}


def make_objective(model, batches, chosen, total, module=language_model, **options) -> LanguageModeling:
    streams = {language: Dealt(given) for language, given in batches.items()}
    return module.LanguageModeling(model, streams, chosen, 3, total, lexicon=LEXICON, **options)


def twin_values(twin: Twin, ours: LanguageModeling, batches: dict[str, Sentences], step: int, chosen) -> dict[str, torch.Tensor]:
    """Every part of the loss by its definition."""
    languages, values = list(batches), {}
    states = {language: twin.states(language, batch.ids, batch.starts) for language, batch in batches.items()}
    losses = []
    for language, batch in batches.items():
        table = twin.words[language]
        for direction in ("forward", "backward"):
            targets = targets_of(batch.ids, batch.starts, direction)
            candidates = ours.candidates(language, direction, step)
            chosen_words = torch.zeros(len(targets), len(table), dtype=torch.bool)      # the candidates and each row's target
            chosen_words[:, candidates.ids] = True
            chosen_words[torch.arange(len(targets)), targets] = True
            scores = states[language][direction][-1] @ table.T - torch.tensor(log_expected(np.arange(len(table)), candidates))
            losses.append(functional.cross_entropy(scores.masked_fill(~chosen_words, -torch.inf), torch.tensor(targets)))
    values["task"] = sum(losses) / len(languages)
    weights = [float(weight) for weight in chosen["mlma.layer_weights"]] or [1.0] * 3
    clouds = []
    for a, b in combinations(languages, 2):
        for layer, weight in enumerate(weights):
            pairs = [(states[a][d][layer], states[b][d][layer]) for d in ("forward", "backward")]
            if chosen["mlma.directions"] == "together":
                pairs = [tuple(torch.cat(side, 1) for side in zip(*pairs, strict=True))]
            clouds += [(weight, *pair) for pair in pairs]
    share = 1 / (len(languages) - 1)
    for name, setting, distance in (("average-linkage", "mlma.average_linkage", energy_distance),
                                    ("cosine-linkage", "mlma.cosine_linkage", all_pairs)):
        if chosen[setting]:
            values[name] = share * chosen[setting] * sum(weight * distance(x, y) for weight, x, y in clouds)
    if chosen["mlma.mean"]:
        distance = moments if chosen["mlma.moments"] == "moments" else moment_norms
        values["moments"] = sum(weight * distance(x, y, chosen["mlma.mean"], chosen["mlma.deviation"]) for weight, x, y in clouds)
    if chosen["mlma.identical_strings"]:
        total = 0
        for a, b in combinations(languages, 2):
            of_a, of_b = LEXICON.words_of(a), LEXICON.words_of(b)
            shared = sorted(set(of_a) & set(of_b))
            x = twin.words[a][[2 + of_a.index(word) for word in shared]]
            y = twin.words[b][[2 + of_b.index(word) for word in shared]]
            total = total + (x - y).norm(dim=1).mean()
        values["identical-strings"] = share * chosen["mlma.identical_strings"] * total
    return values


def assert_equals_twin(rng, steps: int, languages=("en", "es"), module=language_model, **changed) -> None:
    """Values and gradient norm of every update, and all parameters at the end within 1e-6 relative."""
    chosen = SCHEMA.settings(PLAIN | changed)
    model, batches = make_model(languages), make_batches(rng, languages, steps)
    twin, ours = Twin(model), make_objective(model, batches, chosen, steps, module)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-2, betas=(0.9, 0.997), eps=1e-9)
    for step in range(steps):
        values = twin_values(twin, ours, {language: given[step] for language, given in batches.items()}, step, chosen)
        sum(values.values()).backward()
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5).item()
        optimizer.step()
        optimizer.zero_grad()
        updates = ours.step(step)
        assert {update.loss: update.value for update in updates} == pytest.approx(
            {name: value.item() for name, value in values.items()}, rel=1e-8)
        assert updates[0].gradient_norm == pytest.approx(norm, rel=1e-7)
        assert updates[0].tokens == sum(given[step].tokens for given in batches.values())
    for name, parameter in twin.expected().items():
        expected = parameter.detach().numpy()
        np.testing.assert_allclose(model.store[name].value, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("term", TERMS)
def test_twenty_steps_equal_pytorch(rng, term):
    assert_equals_twin(rng, 20, **TERMS[term])


@pytest.mark.parametrize("term", ["none", "all"])
def test_three_languages(rng, term):
    assert_equals_twin(rng, 6, ("en", "es", "de"), **TERMS[term])


MISTAKES = [
    ("mean over the languages forgotten", "dtype.type(share / len(self.languages))", "dtype.type(share)"),
    ("gradient of the word table forgotten", "self.model.store.accumulate(f\"{self.model.prefix}words.{language}\", grads)",
     "pass"),
    ("one direction's targets", "read.own.starts, direction, xp)", "read.own.starts, 'forward', xp)"),
    ("a layer's gradient replaces another", "dpoints if before is None else before + dpoints", "dpoints"),
    ("the second language stands still", "((read[first], measured.dx, i), (read[second], measured.dy, j))",
     "((read[first], measured.dx, i),)"),
    ("layer weights ignored in the gradient", "x.dtype.type(weight * share)", "x.dtype.type(share)"),
    ("not divided by the other languages", "/ max(languages - 1, 1)", "/ 1"),
    ("rows of one vocabulary for both", "rows=rows, others=others)", "rows=rows, others=rows)"),
    ("the identical strings of the first language only", "((first, dx), (second, dy[\"y\"]))", "((first, dx),)"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    changed = mutant("minixl.methods.mlma.language_model", old, new)
    changed.SMALL = 5
    with pytest.raises((AssertionError, IndexError)):
        assert_equals_twin(rng, 3, ("en", "es", "de"), changed, **(TERMS["all"] | {"mlma.layer_weights": ["0.5", "2.5", "1"]}))


def test_candidates_differ_by_step_language_and_direction(rng):
    """One draw for each of them, the same whenever it is asked for; a small vocabulary has the full softmax."""
    ours = make_objective(make_model(), make_batches(rng, ("en", "es"), 1), SCHEMA.settings(PLAIN), 1)
    tries = [[ours.candidates(language, d, step).tries for step in range(40)] for language in ("en", "es")
             for d in ("forward", "backward")]
    assert tries[0] == [ours.candidates("en", "forward", step).tries for step in range(40)]
    assert all(a != b for a, b in combinations(tries, 2)) and len(set(tries[0])) > 2
    assert {len(ours.candidates("en", "forward", step).ids) for step in range(40)} == {3}
    chosen = SCHEMA.settings(PLAIN | {"language_model.samples": 0})
    full = make_objective(make_model(), make_batches(rng, ("en", "es"), 1), chosen, 1)
    assert full.candidates("en", "forward", 0).tries == 0 and len(full.candidates("es", "backward", 0).ids) == 12


def test_a_step_can_be_repeated_with_dropout_and_candidates(rng):
    batches = make_batches(rng, ("en", "es"), 1)
    values = [[update.value for update in make_objective(make_model(dropout=p), batches, SCHEMA.settings(PLAIN | TERMS["all"]), 9)
               .step(step)] for p, step in ((0.3, 0), (0.3, 0), (0.3, 1), (0.0, 0))]
    assert values[0] == values[1] and values[0] != values[2] != values[3] and len(values[0]) == 5


def test_given_vectors_stay_fixed_and_then_rise(rng):
    """For two steps nothing moves in the word tables; half of the learning rate in the third; all other parameters move at once."""
    chosen = SCHEMA.settings(PLAIN | {"language_model.frozen_steps": 2, "language_model.full_steps": 4, "optim.clip": 0.0})
    model, batches = make_model(), make_batches(rng, ("en", "es"), 6)
    ours, before, moved = make_objective(model, batches, chosen, 6, vectors=True), model.table("en").copy(), []
    for step in range(6):
        ours.step(step)
        moved.append(float(np.abs(model.table("en") - before).max()))
        before = model.table("en").copy()
    assert moved[:3] == [0, 0, 0] and 0 < moved[3] <= 0.6e-2 * 3 and moved[4] > 0
    assert np.abs(model.store["forward.layer.0.output.weight"].value).max() > 0
    free = make_objective(make_model(), batches, chosen, 6)
    table = free.model.table("en").copy()
    free.step(0)
    assert (free.model.table("en") != table).any()


def test_perplexity_is_by_words_and_direction(rng):
    model, batches = make_model(), make_batches(rng, ("en", "es"), 3)

    class Held:
        def __init__(self, given):
            self.given = given

        def dev_batches(self):
            return iter(self.given)

    found = perplexities(model, {language: Held(given) for language, given in batches.items()})
    for language, given in batches.items():
        words = sum(batch.tokens for batch in given)
        for d in ("forward", "backward"):
            total = sum(model.surprisal(language, batch.ids, batch.starts)[d] for batch in given)
            assert found[language][d] == pytest.approx(np.exp(total / words))
            assert 5 < found[language][d] < 40


def test_average_linkage_draws_two_languages_together():
    """Its value falls while the language model learns; without it, it does not."""
    rng, chosen = np.random.default_rng(1), {"language_model.samples": 0, "language_model.lr": 3e-3, "optim.clip": 5.0}
    batches, linkage = make_batches(rng, ("en", "es"), 60), []
    for weight in (1.0, 1e-9):
        ours = make_objective(make_model(), batches, SCHEMA.settings(PLAIN | chosen | {"mlma.average_linkage": weight}), 60)
        linkage.append([ours.step(step)[1].value / weight for step in range(60)])
    assert np.mean(linkage[0][-10:]) < 0.5 * np.mean(linkage[1][-10:]) and min(map(min, linkage)) >= 0
