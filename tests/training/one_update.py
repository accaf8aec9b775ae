"""One update of the task's loss on a given batch, as the method finetune makes it."""
from __future__ import annotations

from minixl.data.batching import Batch
from minixl.methods.finetune import Supervised
from minixl.models.family import Model
from minixl.settings import Settings
from minixl.training.update import Update


class Dealt:
    """A stream of the given batches, `batches_per_epoch` of them an epoch."""

    def __init__(self, batches, batches_per_epoch: int = 1) -> None:
        self.batches, self.batches_per_epoch = iter(batches), batches_per_epoch

    def __next__(self) -> Batch:
        return next(self.batches)


def supervised(model: Model, batches, settings: Settings, *, seed: int = 1, total: int = 10, epoch: int = 1) -> Supervised:
    """Return the objective of fine-tuning on these batches."""
    return Supervised(model, {"source": Dealt(batches, epoch)}, settings, seed, total)


def train_step(model: Model, batch: Batch, settings: Settings, *, seed: int = 1, step: int = 0) -> Update:
    """Make a single update with a new optimiser."""
    update, = supervised(model, [batch], settings, seed=seed).step(step)
    return update
