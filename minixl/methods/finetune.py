"""Train on labelled source text, test on every language: zero-shot transfer without any target text.

    for each batch of labelled source text:
        logits ← head(encoder(x))
        loss   ← cross-entropy, mean over the labelled words (or documents)
        all trainable parameters ← optimiser

This is "mBERT-ft" of Chen et al. 2021 (section 4.2) and the baseline of Keung et al. 2019; see docs/methods.md.
"""
from __future__ import annotations

from typing import Any

from minixl.data.batching import Stream
from minixl.training.update import Update, make_optimizer, train_step
from minixl.models.family import Model
from minixl.settings import Settings


class Finetune:
    """One step is one update of the whole model on one batch of labelled source text."""

    STREAMS = {"source": "labelled"}

    def __init__(self, model: Model, streams: dict[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        self.model, self.source, self.settings, self.seed = model, streams["source"], settings, seed
        self.subset = model.task_names()
        self.optimizer = make_optimizer(model, self.subset, settings, total_steps, self.source.batches_per_epoch)
        self.steps = 0

    def step(self) -> list[Update]:
        """One iteration of the algorithm; returns a record of each update it made."""
        update = train_step(self.model, next(self.source), self.optimizer, self.subset, self.settings, self.seed, self.steps)
        self.steps += 1
        return [update]

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return {"task": self.subset}

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return {"task": self.optimizer}
