"""What minixl's contenders share: start values, and the training step and prediction that `minixl train` uses."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minixl.bench.training.work import Examples
from minixl.data.batching import Batch, pack
from minixl.data.encoding import Encoded, Example
from minixl.methods import SCHEMA
from minixl.methods.finetune import Supervised
from minixl.models.family import Model
from minixl.prediction import source_scores


def load_start(model: Model, start: Mapping[str, np.ndarray], frozen: Sequence[str]) -> None:
    """Copy the start values into the model's parameters and freeze the parameters named in `frozen`."""
    for name, value in start.items():
        model.store[name].value[...] = model.store.xp.asarray(value)
    for name in frozen:
        model.store[name].trainable = False


class FixedStream:
    """A stream that always deals the batch it was given."""

    batch: Batch
    batches_per_epoch = 1              # only for the learning rate's schedule, which does not change the time

    def __next__(self) -> Batch:
        return self.batch


class MinixlTagger:
    """See minixl/bench/training/contender.py.  The environment of the process sets the number of threads."""

    def __init__(self, model: Model, settings: dict[str, Any], seed: int) -> None:
        self.model, self.stream, self.steps = model, FixedStream(), 0
        streams: dict[str, Any] = {"source": self.stream}
        self.objective = Supervised(model, streams, SCHEMA.settings(settings), seed, 1)

    def prepare(self, batch: Sequence[Example]) -> Batch:
        """Packed, shortest first."""
        return pack(batch, self.model.store.xp)

    def step(self, prepared: Batch) -> float:
        """One update as in training."""
        self.steps += 1
        self.stream.batch = prepared
        return self.objective.step(self.steps)[0].value

    def loss(self, prepared: Batch) -> float:
        """The task's loss without dropout."""
        return self.model.loss_forward(prepared)[0]

    def scores(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Score every sentence as `minixl predict` does, which forms its own batches from all sentences."""
        examples = [replace(example, source=i) for i, example in enumerate(e for batch in batches for e in batch)]
        return source_scores(self.model, Encoded(examples, len(examples)))
