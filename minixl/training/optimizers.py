"""Make the optimisers of a run from the settings in [optim]."""
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from minixl.models.family import Model
from minixl.optim import (SGD, AdamW, Group, Optimizer, Schedule, constant, decay_groups, exponential_schedule, inverse_schedule,
                          linear_schedule)
from minixl.settings import Section, Setting, Settings

SECTION = Section("optimiser", {
    "optim.name": Setting("adamw", "optimiser", ("adamw", "adam", "sgd")),
    "optim.lr": Setting(5e-5, "learning rate of the encoder", at_least=0),
    "optim.head_lr": Setting(0.0, "learning rate of the head; 0: optim.lr", at_least=0),
    "optim.schedule": Setting("linear", "course of the learning rate after the warm-up",
                              ("linear", "constant", "inverse", "exponential")),
    "optim.decay": Setting(0.01, "with schedule inverse: divide learning rates by 1 + decay * epoch; with exponential: multiply "
                           "them by (1 - decay)^epoch, for a decay of at most 1; the first epoch is 0", at_least=0),
    "optim.floor": Setting(0.0, "with schedule inverse: lower limit of every learning rate; one that starts lower is not raised",
                           at_least=0),
    "optim.warmup": Setting(0.1, "share of all steps, rounded to full steps, during which the learning rate rises from 0",
                            at_least=0, below=1),
    "optim.weight_decay": Setting(0.01, "decoupled weight decay of adamw, not applied to LayerNorm and biases", at_least=0),
    "optim.beta1": Setting(0.9, "Adam's decay of the first moment", at_least=0, below=1),
    "optim.beta2": Setting(0.999, "Adam's decay of the second moment", at_least=0, below=1),
    "optim.eps": Setting(1e-8, "Adam's epsilon", above=0),
    "optim.clip": Setting(1.0, "limit on the norm of all gradients together; 0: no limit", at_least=0),
})


def make_optimizer(model: Model, names: Sequence[str], settings: Settings, total_steps: int, epoch_steps: int) -> Optimizer:
    """Make the optimiser of [optim] for `names`; the head has its own learning rate.  epoch_steps: see make_schedule."""
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


def adam(model: Model, names: Sequence[str], lr: float, weight_decay: float, settings: Settings, updates: int,
         epoch_updates: int | Fraction) -> Optimizer:
    """Make an AdamW with the same weight decay for all of `names`, LayerNorm and biases too; without decay it is Adam.

    For losses other than the task's.  AdvPicker's code decays all parameters in this way (Chen et al. 2021).
    """
    group = Group(tuple(names), lr, weight_decay, lowest_rate(settings))
    return AdamW(model.store, [group], make_schedule(settings, updates, epoch_updates),
                 betas=(settings["optim.beta1"], settings["optim.beta2"]), eps=settings["optim.eps"])


def make_schedule(settings: Settings, total_steps: int, epoch_steps: int | Fraction) -> Schedule:
    """Make the schedule, update -> factor of the learning rate, of optim.schedule and optim.warmup; every loss has the same.

    epoch_steps: updates in an epoch of the stream "source"; a fraction for a loss with updates only in some iterations.
    """
    warmup = round(settings["optim.warmup"] * total_steps)
    if settings["optim.schedule"] == "linear":
        return linear_schedule(total_steps, warmup)
    decaying = {"inverse": inverse_schedule, "exponential": exponential_schedule}.get(settings["optim.schedule"])
    shape = decaying(epoch_steps, min(settings["optim.decay"], 1.0)) if decaying else constant
    return (lambda step: min(1.0, step / warmup) * shape(step)) if warmup else shape


def lowest_rate(settings: Settings) -> float:
    """Return the lower limit of every learning rate: optim.floor, which only the inverse schedule uses."""
    return float(settings["optim.floor"]) if settings["optim.schedule"] == "inverse" else 0.0
