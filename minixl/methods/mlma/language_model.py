"""One step of the language model: one update on a batch of every language.  Bao et al. 2019, sections 2.1 to 2.3.

    for each language i:
        b_i ← a batch of its text;   h_l ← the states of both directions, layer by layer
        L_i ← -log p(next word | words before) + -log p(word before | words after),    means over the words of b_i
    L ← mean of the L_i + Σ over all pairs of languages i, j:
        average linkage, or with cosines    λ Σ_l w_l · energy distance of h_l(b_i) and h_l(b_j)            / (languages - 1)
        mean and deviation                  Σ_l w_l · (λ^m |m_i - m_j| / ... + λ^v |s_i - s_j| / ...)
        identical strings                   λ · mean distance of the vectors of words that i and j share    / (languages - 1)
    all parameters ← Adam, the gradient's norm clipped

Layers are the normalised inputs of the blocks and the normalised output, of each direction on its own (mlma.directions).
The reading follows the paper's code where it differs from the paper; docs/methods.md lists this.
Checked against PyTorch in tests/methods/mlma/test_language_model.py.
"""
from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array
from minixl.data.batching import token_bounds
from minixl.data.language_lexicon import SPECIAL, LanguageLexicon
from minixl.data.monolingual import Sentences
from minixl.distributed import group
from minixl.distributed.batches import shared_out
from minixl.methods.measures import AVERAGE, COSINE, MEASURES, MOMENTS, Measure, moment_norms, moments
from minixl.models.bidirectional_lm import BidirectionalLm, LanguageModelCache, States, targets_of
from minixl.models.bidirectional_lm_config import DIRECTIONS
from minixl.ops.identical_strings import identical_strings_backward, identical_strings_forward
from minixl.ops.sampled_softmax import (Candidates, all_words, draw_candidates, sampled_softmax_backward, sampled_softmax_forward)
from minixl.optim import AdamW, Group, delayed_schedule
from minixl.settings import Settings
from minixl.training.objective import TASK, Loss, Objective
from minixl.training.update import Update, gathered

IDENTICAL = "identical-strings"
RATES, BETAS, EPSILON = "language_model.lr", (0.9, 0.997), 1e-9
CANDIDATES = 12                        # seed of a step's candidates, after [seed, step]; those of its dropout masks are Loss.masks
MOST = 4                               # candidates are at most one in so many words of the vocabulary
SMALL = 1000                           # a vocabulary of so many words, or fewer, has the full softmax
SEPARATE, TOGETHER = SIDES = ("separate", "together")


class Read(NamedTuple):
    """A batch of one language, its states and their gradients so far."""

    batch: Sentences
    own: Sentences                 # this process's part of it, to which all that follows belongs
    states: States
    cache: LanguageModelCache
    dstates: dict[str, list[Array | None]]


class LanguageModeling(Objective):
    """The language model with its alignment terms; its streams are named by their languages."""

    LOSSES = {TASK: Loss(RATES, masks=0, title="language model"),
              AVERAGE: Loss(RATES, masks=8, title="average linkage of layers"),
              COSINE: Loss(RATES, masks=9, title="cosine linkage of layers"),
              MOMENTS: Loss(RATES, masks=10, title="means and deviations of layers"),
              IDENTICAL: Loss(RATES, masks=11, title="identical strings")}
    model: BidirectionalLm

    def __init__(self, *arguments: Any, lexicon: LanguageLexicon, vectors: bool = False) -> None:
        """vectors: whether the word tables began with given vectors, which then stay fixed for some time."""
        super().__init__(*arguments)
        settings = self.settings
        self.languages = list(self.streams)
        self.pairs = list(combinations(self.languages, 2))
        self.measures = layer_measures(settings, len(self.languages))
        self.weights = layer_weights(settings, self.model.config.layers)
        self.identical = {pair: shared_rows(lexicon, *pair, self.model.store.xp) for pair in self.pairs} \
            if settings["mlma.identical_strings"] else {}
        delayed = delayed_schedule(settings["language_model.frozen_steps"], settings["language_model.full_steps"])
        tables, lr = self.model.tables, settings["language_model.lr"]
        groups = [Group(tuple(name for name in self.model.names if name not in tables), lr),
                  Group(tuple(tables), lr, schedule=delayed if vectors else None)]
        self.add_loss(TASK, self.model.names, AdamW(self.model.store, groups, betas=BETAS, eps=EPSILON))

    def step(self, step: int) -> list[Update]:
        value, terms, tokens = self.add_gradients(step)
        update = self.update(step, TASK, value, tokens)
        return [update, *(update._replace(loss=name, value=term, tokens=0) for name, term in terms.items())]

    def add_gradients(self, step: int) -> tuple[float, dict[str, float], int]:
        """Add the gradients of a step; return the mean of the L_i, each term with its weight, and the number of words."""
        read = self.read(step)
        [value] = group().add(sum(self.predict(language, one, step) for language, one in read.items()) / len(read))
        terms = {name: self.align(measure, read, share) for name, (measure, share) in self.measures.items()}
        if self.identical:                                             # of the parameters alone: one process adds the gradients
            terms[IDENTICAL] = group().gather(self.align_words() if group().leads else 0.0)[0]
        for one in read.values():
            if one.own.tokens:
                self.model.states_backward(one.dstates, one.cache)
        return value, terms, sum(one.batch.tokens for one in read.values())

    def read(self, step: int) -> dict[str, Read]:
        """Return the states of this process's part of the next batch of every language."""
        rng, read = self.rng(step, TASK), {}
        for language in self.languages:
            batch: Any = next(self.streams[language])                  # Sentences
            own = own_sentences(batch)
            states, cache = self.model.states(language, own.ids, own.starts, rng=rng)
            read[language] = Read(batch, own, states, cache, {side: [None] * len(states[side]) for side in DIRECTIONS})
        return read

    def predict(self, language: str, read: Read, step: int) -> float:
        """Return L_i; set the gradient of the last layers and add that of the word table, for the mean over the languages.

        Of several processes each returns its share of L_i.
        """
        total, table, xp = 0.0, self.model.table(language), self.model.store.xp
        share = read.own.tokens / max(read.batch.tokens, 1)
        for direction in DIRECTIONS:
            targets = targets_of(read.own.ids, read.own.starts, direction, xp)
            loss, cache = sampled_softmax_forward(read.states[direction][-1], table, targets=targets,
                                                  candidates=self.candidates(language, direction, step))
            dstate, grads = sampled_softmax_backward(loss.dtype.type(share / len(self.languages)), cache)
            read.dstates[direction][-1] = dstate
            self.model.store.accumulate(f"{self.model.prefix}words.{language}", grads)
            total += share * float(loss)
        return total

    def candidates(self, language: str, direction: str, step: int) -> Candidates:
        """Draw the candidates of a step; they depend on the seed, the step, the language and the direction alone."""
        words, samples = len(self.model.table(language)), self.settings["language_model.samples"]
        if not samples or words <= SMALL:
            return all_words(words)
        number = self.languages.index(language) * len(DIRECTIONS) + DIRECTIONS.index(direction)
        rng = np.random.default_rng([self.seed, step, CANDIDATES, number])
        return draw_candidates(words, min(samples, words // MOST), rng)

    def align(self, measure: Measure, read: Mapping[str, Read], share: float) -> float:
        """Return the weighted sum of a measure over all pairs of languages and all layers; add the gradients of the states."""
        total = 0.0
        for first, second in self.pairs:
            for sides in ((d,) for d in DIRECTIONS) if self.settings["mlma.directions"] == SEPARATE else (DIRECTIONS,):
                for layer, weight in enumerate(self.weights):
                    if not weight:
                        continue
                    (i, x), (j, y) = (gathered(self.layer(read[language], sides, layer)) for language in (first, second))
                    measured, factor = measure(x, y), x.dtype.type(weight * share)
                    total += weight * share * measured.value
                    for one, dpoints, begin in ((read[first], measured.dx, i), (read[second], measured.dy, j)):
                        own = dpoints[begin:begin + one.own.tokens]
                        for side, part in zip(sides, self.model.store.xp.split(own, len(sides), axis=1), strict=True):
                            self.add(one.dstates[side], layer, part * factor)
        return total

    def layer(self, read: Read, sides: tuple[str, ...], layer: int) -> Array:
        """Return the states (T, H) of a layer, or (T, 2H) of both directions."""
        if len(sides) == 1:
            return read.states[sides[0]][layer]
        return self.model.store.xp.concatenate([read.states[side][layer] for side in sides], axis=1)

    @staticmethod
    def add(dstates: list[Array | None], layer: int, dpoints: Array) -> None:
        """Add to the gradient of a layer; dpoints is a fresh array."""
        before = dstates[layer]
        dstates[layer] = dpoints if before is None else before + dpoints

    def align_words(self) -> float:
        """Return the weighted distance of identical strings over all pairs of languages; add the gradients of the word tables."""
        total, share = 0.0, self.settings["mlma.identical_strings"] / max(len(self.languages) - 1, 1)
        for (first, second), (rows, others) in self.identical.items():
            value, cache = identical_strings_forward(self.model.table(first), self.model.table(second), rows=rows, others=others)
            dx, dy = identical_strings_backward(value.dtype.type(share), cache)
            for language, grad in ((first, dx), (second, dy["y"])):
                self.model.store.accumulate(f"{self.model.prefix}words.{language}", {"weight": grad})
            total += share * float(value)
        return total


def own_sentences(batch: Sentences) -> Sentences:
    """Return this process's part of a batch, all if it is alone; it may be empty."""
    together = group()
    if together.size == 1:
        return batch
    bounds = token_bounds(batch.starts, together.size)
    first, last = bounds[together.rank:together.rank + 2]
    begin, end = batch.starts[first], batch.starts[last]
    return Sentences(batch.ids[begin:end], batch.starts[first:last + 1] - begin)


def layer_measures(settings: Settings, languages: int) -> dict[str, tuple[Measure, float]]:
    """Return the measures of layers that the settings turn on: name -> the measure, and its weight."""
    measures: dict[str, tuple[Measure, float]] = {
        name: (MEASURES[name], settings[setting] / max(languages - 1, 1)) for name, setting in (
            (AVERAGE, "mlma.average_linkage"), (COSINE, "mlma.cosine_linkage")) if settings[setting]}
    of_mean, of_deviation = settings["mlma.mean"], settings["mlma.deviation"]
    if of_mean or of_deviation:
        measure = partial(moments, mean_weight=of_mean, deviation_weight=of_deviation) if settings["mlma.moments"] == MOMENTS else \
            partial(moment_norms, mean_weight=of_mean, variance_weight=of_deviation)
        measures[MOMENTS] = (measure, 1.0)
    return measures


def layer_weights(settings: Settings, layers: int) -> list[float]:
    """Return the weight of each layer; all 1 unless mlma.layer_weights says otherwise."""
    return [float(weight) for weight in settings["mlma.layer_weights"]] or [1.0] * layers


def shared_rows(lexicon: LanguageLexicon, first: str, second: str, xp: Any = np) -> tuple[Array, Array]:
    """Return the rows (K,) of both word tables of the words that two vocabularies share."""
    rows = {word: SPECIAL + i for i, word in enumerate(lexicon.words_of(first))}
    pairs = [(rows[word], SPECIAL + i) for i, word in enumerate(lexicon.words_of(second)) if word in rows]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return xp.asarray(both[:, 0]), xp.asarray(both[:, 1])


def perplexities(model: BidirectionalLm, streams: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return language -> direction -> perplexity on the held-out sentences, by the full softmax."""
    perplexity: dict[str, dict[str, float]] = {}
    for language, stream in streams.items():
        sums, words = dict.fromkeys(DIRECTIONS, 0.0), 0
        surprisal_of = partial(_surprisal, model, language)
        for surprisal, tokens in shared_out(surprisal_of, ((batch, batch.tokens) for batch in stream.dev_batches())):
            for direction, value in surprisal.items():
                sums[direction] += value
            words += tokens
        perplexity[language] = {direction: float(np.exp(min(value / max(words, 1), 700.0))) for direction, value in sums.items()}
    return perplexity


def _surprisal(model: BidirectionalLm, language: str, batch: Sentences) -> dict[str, float]:
    return model.surprisal(language, batch.ids, batch.starts)
