"""minixl's language model as a contender: the step that `minixl train mlma` makes."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minixl.bench.training.work import Iteration, LanguageModelWork
from minixl.data.language_lexicon import LanguageLexicon
from minixl.data.monolingual import Sentences
from minixl.methods import SCHEMA
from minixl.methods.mlma.language_model import LanguageModeling
from minixl.models.bidirectional_lm import BidirectionalLm
from minixl.packing import starts_of


class FixedStream:
    """A stream that always deals the batch it was given."""

    batch: Sentences

    def __next__(self) -> Sentences:
        return self.batch


class MinixlLanguageModel:
    """See minixl/bench/training/contender.py.  The environment of the process sets the number of threads."""

    def __init__(self, work: LanguageModelWork, threads: int) -> None:
        self.model, self.steps = BidirectionalLm(work.config), 0
        for name, value in work.start.items():
            self.model.store[name].value[...] = value
        self.streams: dict[str, Any] = {language: FixedStream() for language in work.config.languages}
        lexicon = LanguageLexicon.of_languages({language: [] for language in work.config.languages})
        self.objective = LanguageModeling(self.model, self.streams, SCHEMA.settings(work.settings), work.seed, 1, lexicon=lexicon)

    def prepare(self, batch: Iteration) -> dict[str, Sentences]:
        """Packed, shortest first."""
        packed = {}
        for language, examples in batch.items():
            ids = sorted((example.input_ids for example in examples), key=len)
            packed[language] = Sentences(np.concatenate(ids), starts_of(map(len, ids)))
        return packed

    def step(self, prepared: dict[str, Sentences]) -> float:
        """One update as in training."""
        self.steps += 1
        self.deal(prepared)
        return sum(update.value for update in self.objective.step(self.steps))

    def loss(self, prepared: dict[str, Sentences]) -> float:
        """The loss of a step with the candidates of step 0, without dropout."""
        config = self.model.config
        self.model.config = replace(config, dropout=0.0)
        self.deal(prepared)
        value, terms, _ = self.objective.add_gradients(0)
        self.model.store.zero_grad()
        self.model.config = config
        return value + sum(terms.values())

    def deal(self, prepared: dict[str, Sentences]) -> None:
        """Let the streams deal these batches."""
        for language, batch in prepared.items():
            self.streams[language].batch = batch
