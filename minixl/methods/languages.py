"""Shared by the terms that compare two languages: the text that they read, and batches of both languages."""
from __future__ import annotations

from typing import Any

import numpy as np

from minixl.backend import array_module
from minixl.data.batching import Batch, OnHost
from minixl.run.method import Term
from minixl.run.prepared import Prepared, Text, Texts, examples_of
from minixl.settings import Setting, Settings

SOURCE, TARGET = "source", "target"        # the two texts
ALL, AS_SOURCE = TARGET_SIZES = ("all", "source")      # adversary.target_size

# of the text that adversary and linkage read; a run uses it with either of them (methods/__init__.py)
TARGET_SIZE = {
    "adversary.target_size": Setting(ALL, "target sentences that adversary and linkage compare with source text: all, or as many "
                                     "as there are source sentences, a random sample with an equal share of each language",
                                     TARGET_SIZES)}


class LanguagesTerm(Term):
    """Base class of the terms that compare the encoder's states of source and target text."""

    @classmethod
    def texts(cls, settings: Settings, prepared: Prepared, seed: int) -> Texts:
        return both_languages(settings, prepared, seed)

    @classmethod
    def check_model(cls, model: Any, settings: Settings) -> None:
        model.trained_encoder_names()                              # raises UserError if there are none


def both_languages(settings: Settings, prepared: Prepared, seed: int) -> Texts:
    """Return all source text, labelled and unlabelled, and as much target text as adversary.target_size says."""
    sources, targets = [*prepared.sources, *prepared.unlabelled_sources], list(prepared.unlabelled_targets.values())
    return {SOURCE: examples_of(sources), TARGET: examples_of(targets) if settings["adversary.target_size"] == ALL
            else as_many(sources, targets, seed)}


def as_many(sources: list[Text], targets: list[Text], seed: int) -> list:
    """Sample floor(source sentences / target languages) sentences of each target language, or all if it has fewer.

    One sample per run, as in the code of Chen et al. 2021.
    """
    share = max(1, sum(text.encoded.sources for text in sources) // len(targets))
    rng, examples = np.random.default_rng([seed, 0, 1]), []        # the model's is [seed, 1], the streams' are [seed, 2 ...]
    for text in targets:
        drawn = set(rng.permutation(text.encoded.sources)[:share].tolist())
        examples += [example for example in text.encoded.examples if example.source in drawn]
    return examples


def join(source: Batch, target: Batch) -> Batch:
    """Join two packed batches, the second after the first: one forward pass instead of two."""
    xp = array_module(source.input_ids)
    shift = source.tokens
    both = {name: xp.concatenate([getattr(source, name), getattr(target, name)])
            for name in ("input_ids", "position_ids", "labels")}
    bottom = None if source.bottom is None or target.bottom is None else xp.concatenate([source.bottom, target.bottom])
    shifted = target.host._replace(rows=target.host.rows + shift)
    return Batch(**both, starts=np.concatenate([source.starts, target.starts[1:] + shift]),
                 rows=xp.concatenate([source.rows, target.rows + shift]),
                 order=np.concatenate([source.order, target.order + len(source.order)]), bottom=bottom,
                 host=OnHost(*(np.concatenate(pair) for pair in zip(source.host, shifted, strict=True))))
