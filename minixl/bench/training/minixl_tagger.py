"""What minixl's contenders share: start values, and the training step and prediction that `minixl train` uses."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minixl.bench.training.work import Examples
from minixl.data.batching import Batch, pack
from minixl.data.encoding import Encoded, Example
from minixl.models.family import Model
from minixl.prediction import source_scores
from minixl.settings import Settings
from minixl.training.update import make_optimizer, train_step


def load_start(model: Model, start: Mapping[str, np.ndarray], frozen: Sequence[str]) -> None:
    """Copy the start values into the model's parameters and freeze the parameters named in `frozen`."""
    for name, value in start.items():
        model.store[name].value[...] = value
    for name in frozen:
        model.store[name].trainable = False


class MinixlTagger:
    """See minixl/bench/training/contender.py.  The environment of the process sets the number of threads."""

    def __init__(self, model: Model, settings: dict[str, Any], seed: int) -> None:
        self.model, self.settings, self.seed, self.steps = model, Settings(settings), seed, 0
        self.subset = model.store.names(trainable=True)
        self.optimizer = make_optimizer(model, self.subset, self.settings, total_steps=1, epoch_steps=1)

    def prepare(self, batch: Sequence[Example]) -> Batch:
        """Packed, shortest first."""
        return pack(batch)

    def step(self, prepared: Batch) -> float:
        """One update as in training."""
        self.steps += 1
        return train_step(self.model, prepared, self.optimizer, self.subset, self.settings, self.seed, self.steps).value

    def loss(self, prepared: Batch) -> float:
        """The task's loss without dropout."""
        return self.model.loss_forward(prepared)[0]

    def scores(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Score every sentence as `minixl predict` does, which forms its own batches from all sentences."""
        examples = [replace(example, source=i) for i, example in enumerate(e for batch in batches for e in batch)]
        return source_scores(self.model, Encoded(examples, len(examples)))
