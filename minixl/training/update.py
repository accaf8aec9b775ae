"""One update and the record of it: what the log, the report and the tests look at, whatever the method."""
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from minixl.data.batching import Batch, split
from minixl.models.family import Model
from minixl.optim import (SGD, AdamW, Group, Optimizer, Schedule, clip_gradients, constant, decay_groups,
                          gradient_norm, inverse_schedule, linear_schedule)
from minixl.settings import Settings


RATES = {"task": "optim.lr, optim.head_lr", "discriminator": "adversary.discriminator_lr", "generator": "adversary.lr",
         "average linkage": "alignment.lr"}                # loss -> the settings that are its learning rates


class Diverged(FloatingPointError):
    """A gradient became infinite or not a number."""

    optimizer: Optimizer | None = None                     # the one that was to use it


class Update(NamedTuple):
    """What one update did."""

    step: int            # iteration of the method, from 0
    loss: str            # which loss: "task", "discriminator", "generator", ...
    value: float         # its value before the update
    subset: str          # which parameters moved: a key of the method's subsets()
    gradient_norm: float  # of that subset, before clipping
    lr: float            # learning rate of the first group of the optimiser
    tokens: int          # word pieces that were read
    accuracy: float | None = None     # of the discriminator, where there is one


def step_rng(seed: int, step: int, loss: int, xp: Any) -> Any:
    """The generator of one update's dropout masks: a function of seed and step, so any step can be replayed."""
    if xp is np:
        return np.random.Generator(np.random.SFC64([seed, step, loss]))
    return xp.random.Generator(xp.random.Philox4x3210(np.random.SeedSequence([seed, step, loss])))


def train_step(model: Model, batch: Batch, optimizer: Optimizer, subset: Sequence[str], settings: Settings, seed: int,
               step: int) -> Update:
    """The task's loss of one labelled batch, backward, clip, update, gradients back to zero."""
    rng = step_rng(seed, step, 0, model.store.xp)
    total = 0.0
    for part in split(batch, settings["train.accumulate"]):
        share = model.loss_share(part, batch)                              # the loss is a mean over the whole batch
        loss, cache = model.loss_forward(part, rng=rng)
        model.loss_backward(share, cache)
        del cache                                                          # before the next part makes its own
        total += loss * share
    norm = update_parameters(model, optimizer, subset, settings["optim.clip"])
    return Update(step, "task", total, "task", norm, optimizer.last_lr, batch.tokens)


def update_parameters(model: Model, optimizer: Optimizer, subset: Sequence[str], clip: float) -> float:
    """Clip, step, zero the gradients; returns the norm of the subset's gradients before clipping.  Raises Diverged."""
    norm = clip_gradients(model.store, subset, clip) if clip else gradient_norm(model.store, subset)
    if not np.isfinite(norm):
        error = Diverged(f"the gradient became {norm}")
        error.optimizer = optimizer
        raise error
    optimizer.step()
    model.store.zero_grad()
    return norm


def make_optimizer(model: Model, names: Sequence[str], settings: Settings, total_steps: int, epoch_steps: int) -> Optimizer:
    """The optimiser of settings [optim] over `names`, the head with its own learning rate.  epoch_steps: see make_schedule."""
    head = set(model.head_names())
    decay = settings["optim.weight_decay"] if settings["optim.name"] == "adamw" else 0.0
    groups: list[Group] = []
    for part, lr in (([n for n in names if n not in head], settings["optim.lr"]),
                     ([n for n in names if n in head], settings["optim.head_lr"] or settings["optim.lr"])):
        groups += decay_groups(model.store, part, lr, decay, lowest_rate(settings))
    schedule = make_schedule(settings, total_steps, epoch_steps)
    if settings["optim.name"] == "sgd":
        return SGD(model.store, groups, schedule)
    return AdamW(model.store, groups, schedule, betas=(settings["optim.beta1"], settings["optim.beta2"]),
                 eps=settings["optim.eps"])


def make_schedule(settings: Settings, total_steps: int, epoch_steps: int | Fraction) -> Schedule:
    """Update -> factor of the learning rate: optim.schedule and optim.warmup, the same for every loss of a method.

    epoch_steps: updates in an epoch of the stream "source"; not a whole number where a loss moves in some iterations only.
    """
    warmup = round(settings["optim.warmup"] * total_steps)
    if settings["optim.schedule"] == "linear":
        return linear_schedule(total_steps, warmup)
    shape = inverse_schedule(epoch_steps, settings["optim.decay"]) if settings["optim.schedule"] == "inverse" else constant
    return (lambda step: min(1.0, step / warmup) * shape(step)) if warmup else shape


def lowest_rate(settings: Settings) -> float:
    """What no learning rate falls below: optim.floor, which is the inverse schedule's alone."""
    return float(settings["optim.floor"]) if settings["optim.schedule"] == "inverse" else 0.0
