"""One update: the gradients are there; observers look at them, they are clipped, the optimiser steps, gradients are zeroed.

    loss_forward, loss_backward     of each part of the batch; their gradients add up
    observers                       see the gradients as they are, before anything changes them
    clip, step, zero                update_parameters

update_parameters is the one place where parameters change.  Whoever has to look into a step, or to add up gradients of
several workers, does it there, before the clipping.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minixl.data.batching import Batch, split
from minixl.models.family import Model
from minixl.optim import Optimizer, clip_gradients, gradient_norm
from minixl.parameters import ParameterStore


class Update(NamedTuple):
    """The record of one update: what the log, the report and the tests read, whatever the method."""

    step: int             # iteration of the method, from 0
    loss: str             # which loss: "task", "discriminator", ..., a key of the method's LOSSES
    value: float          # its value before the update
    gradient_norm: float  # of the parameters that it moves, before clipping
    lr: float             # learning rate of the optimiser's first group
    tokens: int           # word pieces read
    accuracy: float | None = None     # of a loss that has one


class PendingUpdate(NamedTuple):
    """An update whose gradients are complete and not yet used, as an observer sees it.

    An observer may read everything; what it writes to the gradients is what the optimiser uses.
    """

    step: int
    loss: str
    names: Sequence[str]           # the parameters it moves
    store: ParameterStore          # with their gradients
    optimizer: Optimizer


Observer = Callable[[PendingUpdate], None]


class Diverged(FloatingPointError):
    """A gradient became infinite or not a number."""

    loss = ""                      # whose update was to use it


def step_rng(seed: int, step: int, masks: int, xp: Any) -> Any:
    """The generator of the dropout masks of one update: a function of seed and step, so that any step can be replayed.

    masks: which of the step's updates this is (Loss.masks).
    """
    if xp is np:
        return np.random.Generator(np.random.SFC64([seed, step, masks]))
    return xp.random.Generator(xp.random.Philox4x3210(np.random.SeedSequence([seed, step, masks])))


def task_gradients(model: Model, batch: Batch, parts: int, rng: Any) -> float:
    """Add the gradients of the task's loss of a labelled batch, computed in `parts` parts; returns the loss."""
    total = 0.0
    for part in split(batch, parts):
        share = model.loss_share(part, batch)                              # the loss is a mean over the whole batch
        loss, cache = model.loss_forward(part, rng=rng)
        model.loss_backward(share, cache)
        del cache                                                          # before the next part makes its own
        total += loss * share
    return total


def update_parameters(pending: PendingUpdate, clip: float, observers: Sequence[Observer] = ()) -> float:
    """Let the observers look, clip, step, zero the gradients; returns their norm before clipping.  Raises Diverged.

    clip: largest norm of the gradients together; 0: no limit.
    """
    for observer in observers:
        observer(pending)
    norm = clip_gradients(pending.store, pending.names, clip) if clip else gradient_norm(pending.store, pending.names)
    if not np.isfinite(norm):
        error = Diverged(f"the gradient became {norm}")
        error.loss = pending.loss
        raise error
    pending.optimizer.step()
    pending.store.zero_grad()
    return norm
