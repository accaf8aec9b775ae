"""What a method minimises: named losses, each with its own optimiser over its own parameters, and one step of its algorithm.

A method's own updates are an Objective, and so is a term that a setting adds to a method; Composition strings them together.
The loop (loop.py) knows an objective's step() and optimizers, and nothing of what it minimises.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from minixl.data.batching import Stream
from minixl.models.discriminators import NO_DISCRIMINATOR, Discriminator
from minixl.models.family import Model
from minixl.optim import Optimizer
from minixl.settings import Settings
from minixl.training.update import Observer, PendingUpdate, Update, step_rng, update_parameters


class Loss(NamedTuple):
    """One loss, as the log, the plots, early stopping and the message about divergence describe it."""

    rates: str                         # the settings that are its learning rates
    masks: int                         # which dropout masks of a step its update draws; each loss has a number of its own
    title: str                         # in a plot
    accuracy: str = ""                 # what its accuracy is, in a plot; "" if it has none
    chance: float | None = None        # the accuracy to be reached, which train.stop_on watches; None: there is none
    verdict: Callable[[float, str], str] | None = None    # mean accuracy, over which steps -> what it means, for the user


class Objective:
    """Base class.  A subclass declares its losses and streams, adds its optimisers in __init__ and defines step()."""

    LOSSES: ClassVar[Mapping[str, Loss]] = {}
    STREAMS: ClassVar[Mapping[str, str]] = {}       # name of a stream -> the text it deals out

    def __init__(self, model: Any, streams: Mapping[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        """total_steps: iterations planned, for the schedules."""
        self.model, self.streams, self.settings, self.seed, self.total_steps = model, streams, settings, seed, total_steps
        self.losses = dict(self.LOSSES)
        self.subsets: dict[str, list[str]] = {}     # loss -> names of the parameters it moves
        self.optimizers: dict[str, Optimizer] = {}  # loss -> its optimiser, for checkpoints
        self.observers: list[Observer] = []         # see every update before it is made; update.py

    @classmethod
    def discriminator(cls, settings: Settings) -> Discriminator:
        """The language discriminator that the model must have."""
        return NO_DISCRIMINATOR

    @classmethod
    def check_model(cls, model: Model, settings: Settings) -> None:
        """Raises UserError if this model cannot be trained so, before anything is written."""

    def step(self, step: int) -> list[Update]:
        """One iteration of the algorithm, counted from 0; returns a record of each update it made."""
        raise NotImplementedError

    def add_loss(self, loss: str, names: Sequence[str], optimizer: Optimizer) -> None:
        """A loss moves the parameters `names` by its optimiser."""
        self.subsets[loss], self.optimizers[loss] = list(names), optimizer

    def rng(self, step: int, loss: str) -> Any:
        """The generator of this update's dropout masks."""
        return step_rng(self.seed, step, self.losses[loss].masks, self.model.store.xp)

    def update(self, step: int, loss: str, value: float, tokens: int, accuracy: float | None = None) -> Update:
        """Move the loss's parameters by the gradients in the store, and zero these."""
        optimizer = self.optimizers[loss]
        pending = PendingUpdate(step, loss, self.subsets[loss], self.model.store, optimizer)
        norm = update_parameters(pending, self.settings["optim.clip"], self.observers)
        return Update(step, loss, value, norm, optimizer.last_lr, tokens, accuracy)


class Composition(Objective):
    """An objective and the terms added to it: after each of its steps every term makes updates of its own."""

    def __init__(self, main: Objective, terms: Sequence[Objective]) -> None:
        super().__init__(main.model, main.streams, main.settings, main.seed, main.total_steps)
        self.parts = (main, *terms)
        for part in self.parts:
            self.losses |= part.losses
            self.subsets |= part.subsets
            self.optimizers |= part.optimizers
            part.observers = self.observers         # one list for all

    def step(self, step: int) -> list[Update]:
        return [update for part in self.parts for update in part.step(step)]
