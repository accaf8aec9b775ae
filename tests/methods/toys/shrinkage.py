"""A term that draws the hidden states of labelled text towards zero: the mean of their squares is minimised."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minixl.run.method import LABELLED, Term
from minixl.settings import Section, Setting
from minixl.training.objective import Loss
from minixl.training.optimizers import adam
from minixl.training.update import Update

LOSS = "shrinkage"


class Shrinkage(Term):
    """One step is one update of the encoder on a batch of its own."""

    SECTION = Section("shrinkage", {"shrinkage.lr": Setting(0.0, "learning rate towards small states; 0: off", at_least=0)})
    SWITCH, ON, OFF = "shrinkage.lr", "shrinkage.lr=1e-4", "shrinkage.lr=0"
    LOSSES = {LOSS: Loss("shrinkage.lr", masks=8, title="size of the states")}
    STREAMS = {"source/shrinkage": LABELLED}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        names, epoch = self.model.trained_encoder_names(), self.streams["source"].batches_per_epoch
        rate = self.settings["shrinkage.lr"]
        self.add_loss(LOSS, names, adam(self.model, names, rate, 0.0, self.settings, self.total_steps, epoch))

    @classmethod
    def active(cls, settings: Mapping[str, Any]) -> bool:
        return bool(settings["shrinkage.lr"] > 0)

    def step(self, step: int) -> list[Update]:
        batch = next(self.streams["source/shrinkage"])
        hidden, cache = self.model.encode(batch, rng=self.rng(step, LOSS))             # (T, H)
        self.model.encode_backward(hidden * (2 / hidden.size), cache)
        return [self.update(step, LOSS, float((hidden * hidden).mean()), batch.tokens)]
