"""One update: compute the gradients, call the observers, clip, let the optimiser step, zero the gradients.

    loss_forward, loss_backward     for each part of the batch; the gradients add up (task_gradients, gradients_of_workers)
    observers                       see the gradients before anything changes them
    clip, step, zero                update_parameters

Parameters change only in update_parameters.  Code that inspects a step, or adds up the gradients of several workers, belongs
there, before the clipping.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from minixl.backend import Array, in_parallel, side_by_side, threads
from minixl.data.batching import Batch, split, split_by_tokens
from minixl.optim import Optimizer, clip_gradients, gradient_norm
from minixl.parameters import ParameterStore


class Update(NamedTuple):
    """The record of one update, the same for every method; read by the log, the report and the tests."""

    step: int             # iteration of the method, from 0
    loss: str             # "task", "discriminator", ..., a key of LOSSES
    value: float          # its value before the update
    gradient_norm: float  # of the parameters that it updates, before clipping
    lr: float             # learning rate of the optimiser's first group
    tokens: int           # word pieces read
    accuracy: float | None = None     # of a loss that has one


class PendingUpdate(NamedTuple):
    """An update before it is made, with complete gradients, as an observer sees it.

    An observer may change the gradients: the optimiser uses what it leaves.
    """

    step: int
    loss: str
    names: Sequence[str]           # the parameters to update
    store: ParameterStore          # with their gradients
    optimizer: Optimizer


Observer = Callable[[PendingUpdate], None]

WORTH_A_WORKER = 256     # word pieces: with fewer for each worker, one after another on all threads is faster
WORTH_WORKERS = 1 << 20  # weights besides tables: a smaller model's step is too short


class Diverged(FloatingPointError):
    """A gradient became infinite or not a number."""

    loss = ""                      # the loss of the update


def step_rng(seed: int, step: int, masks: int, xp: Any, worker: int = 0) -> Any:
    """Return the generator of an update's dropout masks; it depends on its arguments alone, so that any step can be repeated.

    masks: the number of the update within the step (Loss.masks); worker: which of its workers draws from it.
    """
    if xp is np:
        return np.random.Generator(np.random.SFC64([seed, step, masks, worker] if worker else [seed, step, masks]))
    return xp.random.Generator(xp.random.Philox4x3210(np.random.SeedSequence([seed, step, masks])))


class TaskLoss(Protocol):
    """The loss of a task: every model has that of its labels, and a method may have another."""

    def loss_forward(self, batch: Batch, *, rng: Any = None, keep: Any = True, shift: Array | None = None) -> tuple[float, Any]:
        """Return the loss of a batch, and the cache for its backward; keep, shift: see models/family.py."""

    def loss_backward(self, dloss: float, cache: Any, *, need_dembeddings: bool = False) -> Array | None:
        """Add the gradient of dloss * loss to the store; return that of the embeddings (T, H) if needed."""

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Return the weight of a part's loss in that of the whole batch; 0 if the part has no labels."""


def task_gradients(loss: TaskLoss, batch: Batch, parts: int, rng: Any, *, whole: Batch | None = None) -> float:
    """Add the gradients of the task's loss on a batch, computed in `parts` parts; return the loss.

    whole: the batch that this one is a part of; then the loss is the part's share of the whole's.
    """
    total = 0.0
    for part in split(batch, parts):
        share = loss.loss_share(part, batch if whole is None else whole)     # the loss is a mean over the whole batch
        if share:
            value, cache = loss.loss_forward(part, rng=rng)
            loss.loss_backward(share, cache)
            del cache                                                      # free its memory before the next part
            total += share * value
    return total


def gradients_of_workers(loss: TaskLoss, batch: Batch, parts: int, rngs: Sequence[Any], store: ParameterStore) -> float:
    """Add the gradients of the task's loss as task_gradients does, with a worker for every generator of dropout masks.

    Each of the `parts` is cut into as many pieces of about equal numbers of tokens as there are workers.  The workers compute
    side by side, one thread each; their gradients are added in the order of the workers, so the result depends on the number
    of workers but not on that of threads.  The first worker adds to the store directly, the others need memory of their own.
    """
    pieces = [split_by_tokens(part, len(rngs)) for part in split(batch, parts)]

    def work(worker: int) -> tuple[float, dict[str, Any]]:
        total = 0.0
        with contextlib.ExitStack() as stack:
            collected = stack.enter_context(store.collecting()) if worker else {}
            for piece in (of_part[worker] for of_part in pieces):
                total += task_gradients(loss, piece, 1, rngs[worker], whole=batch)
        return total, collected

    total = 0.0
    for value, collected in side_by_side(work, range(len(rngs))):
        total += value
        in_parallel(lambda item: store.accumulate("", dict([item])), collected.items())
    return total


def workers_for(batch: Batch, store: ParameterStore) -> int:
    """Return how many workers are fastest: at most one for each thread, each with enough to do; 1 on a GPU."""
    if store.xp is not np or len(store.values) < WORTH_WORKERS:
        return 1
    return max(1, min(threads(), batch.tokens // WORTH_A_WORKER))


def update_parameters(pending: PendingUpdate, clip: float, observers: Sequence[Observer] = ()) -> float:
    """Call the observers, clip, step, zero the gradients; return their norm before clipping.  Raises Diverged.

    clip: limit on the norm of all gradients together; 0: no limit.
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
