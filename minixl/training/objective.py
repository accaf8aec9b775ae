"""Objectives: named losses, each with its own optimiser over its own parameters, and one step of a method's algorithm.

A method has an Objective, and so has every term that a setting adds to it; Composition combines them.
The loop (loop.py) uses an objective's step() and optimizers, and knows nothing about its losses.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minixl.data.batching import Batch, Stream
from minixl.models.discriminators import NO_DISCRIMINATOR, Discriminator
from minixl.models.family import Model
from minixl.optim import Optimizer
from minixl.settings import Settings
from minixl.training.update import (Observer, PendingUpdate, TaskLoss, Update, gradients_of_workers, own_sentences, step_rng,
                                    task_gradients, update_parameters, workers_for)


TASK = "task"                              # the loss that every method has


class Loss(NamedTuple):
    """The description of a loss for the log, the plots, early stopping and the message about divergence."""

    rates: str                         # the settings that are its learning rates
    masks: int                         # seed of its dropout masks within a step; different for each loss
    title: str                         # its name in a plot
    accuracy: str = ""                 # label of its accuracy in a plot; "" if it has none
    chance: float | None = None        # the accuracy to approach, which train.stop_on watches; None: there is none
    verdict: Callable[[float, str], str] | None = None    # mean accuracy, "over which steps" -> message for the user


TaskGradients = Callable[[TaskLoss, Batch, int], float]


class Objective:
    """Base class.  A subclass declares its losses and streams, adds its optimisers in __init__ and defines step()."""

    LOSSES: ClassVar[Mapping[str, Loss]] = {}
    STREAMS: ClassVar[Mapping[str, str]] = {}       # name of a stream -> the text that it reads

    def __init__(self, model: Any, streams: Mapping[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        """total_steps: the number of steps planned, for the schedules."""
        self.model, self.streams, self.settings, self.seed, self.total_steps = model, streams, settings, seed, total_steps
        self.losses = dict(self.LOSSES)
        self.subsets: dict[str, list[str]] = {}     # loss -> names of the parameters it moves
        self.optimizers: dict[str, Optimizer] = {}  # loss -> its optimiser, for checkpoints
        self.observers: list[Observer] = []         # called before every update; see update.py
        self.gradients: TaskGradients = self.task_gradients     # of the task's loss; a term may put another function here

    @classmethod
    def discriminator(cls, settings: Settings) -> Discriminator:
        """Return the language discriminator that the model must have."""
        return NO_DISCRIMINATOR

    @classmethod
    def check_model(cls, model: Model, settings: Settings) -> None:
        """Raises UserError if the objective cannot train this model, before anything is written."""

    def step(self, step: int) -> list[Update]:
        """Make one iteration of the algorithm, counted from 0; return a record of each update."""
        raise NotImplementedError

    def add_loss(self, loss: str, names: Sequence[str], optimizer: Optimizer) -> None:
        """Add a loss that updates the parameters `names` with its optimiser."""
        self.subsets[loss], self.optimizers[loss] = list(names), optimizer

    def rng(self, step: int, loss: str, *, worker: int = 0, shared: bool = False) -> Any:
        """Return the generator of this update's dropout masks, or of a worker's.

        shared: the same in all processes that train together.
        """
        return step_rng(self.seed, step, self.losses[loss].masks, self.model.store.xp, worker=worker, shared=shared)

    def task_gradients(self, loss: TaskLoss, batch: Batch, step: int) -> float:
        """Add the gradients of the task's loss, in train.accumulate parts on train.workers workers; return the whole batch's."""
        parts, store = self.settings["train.accumulate"], self.model.store
        workers = self.settings["train.workers"] or workers_for(own_sentences(batch)[1], store)
        if workers == 1 or store.xp is not np:
            return task_gradients(loss, batch, parts, self.rng(step, TASK))
        rngs = [self.rng(step, TASK, worker=worker) for worker in range(workers)]
        return gradients_of_workers(loss, batch, parts, rngs, store)

    def added_to(self, main: Objective) -> None:
        """Do what a term has to do when it is added to an objective."""

    def update(self, step: int, loss: str, value: float, tokens: int, accuracy: float | None = None) -> Update:
        """Update the loss's parameters with the gradients in the store, and zero the gradients."""
        optimizer = self.optimizers[loss]
        pending = PendingUpdate(step, loss, self.subsets[loss], self.model.store, optimizer)
        norm = update_parameters(pending, self.settings["optim.clip"], self.observers)
        return Update(step, loss, value, norm, optimizer.last_lr, tokens, accuracy)


class Composition(Objective):
    """An objective and the terms added to it: in every step each term makes its updates after the objective's."""

    def __init__(self, main: Objective, terms: Sequence[Objective]) -> None:
        super().__init__(main.model, main.streams, main.settings, main.seed, main.total_steps)
        self.parts = (main, *terms)
        for part in self.parts:
            self.losses |= part.losses
            self.subsets |= part.subsets
            self.optimizers |= part.optimizers
            part.observers = self.observers         # one list for all
        for term in terms:
            term.added_to(main)

    def step(self, step: int) -> list[Update]:
        return [update for part in self.parts for update in part.step(step)]
