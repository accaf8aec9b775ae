"""One update: compute the gradients, sum them over processes, call the observers, clip, let the optimiser step, zero them.

    own_sentences                   of several processes each has a part of the batch
    loss_forward, loss_backward     for each part of that; the gradients add up (task_gradients, gradients_of_workers)
    sum_gradients                   over the processes (summing.py); from here on all have the same
    observers                       see the gradients before anything changes them
    clip, step, zero                update_parameters

Parameters change only in update_parameters.  Code that inspects a step belongs there, before the clipping.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from minixl.backend import Array, in_parallel, side_by_side, threads
from minixl.data.batching import Batch, split, split_by_tokens
from minixl.distributed import group
from minixl.optim import Optimizer, clip_gradients, gradient_norm
from minixl.parameters import ParameterStore
from minixl.training.summing import sum_gradients, watched


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


def step_rng(seed: int, step: int, masks: int, xp: Any, *, worker: int = 0, shared: bool = False) -> Any:
    """Return the generator of an update's dropout masks; it depends on its arguments alone, so that any step can be repeated.

    masks: the number of the update within the step (Loss.masks); worker: which of its workers draws from it.  Of several
    processes, each draws other masks, unless `shared`.
    """
    together = group()
    process = 0 if shared or together.size == 1 else together.rank + 1
    own = [process, worker] if worker else [process] if process else []            # a 0 at the end would change nothing
    entropy = [seed, step, masks, *own]
    if xp is np:
        return np.random.Generator(np.random.SFC64(entropy))
    return xp.random.Generator(xp.random.Philox4x3210(np.random.SeedSequence(entropy)))


def own_sentences(batch: Batch) -> tuple[int, Batch]:
    """Return this process's part of a batch, all if it is alone, and how many sentences of the batch come before it.

    Parts have about equal numbers of tokens; one may be empty.
    """
    together = group()
    if together.size == 1:
        return 0, batch
    parts = split_by_tokens(batch, together.size)
    return sum(len(part.order) for part in parts[:together.rank]), parts[together.rank]


def gathered(rows: Array) -> tuple[int, Array]:
    """rows (n, ...) of this process -> the rows of all processes, and how many of them come before its own."""
    together = group()
    if together.size == 1:
        return 0, rows
    return sum(together.gather(len(rows))[:together.rank]), together.gather_rows(rows)


class TaskLoss(Protocol):
    """The loss of a task: every model has that of its labels, and a method may have another."""

    def loss_forward(self, batch: Batch, *, rng: Any = None, keep: Any = True, shift: Array | None = None) -> tuple[float, Any]:
        """Return the loss of a batch, and the cache for its backward; keep, shift: see models/family.py."""

    def loss_backward(self, dloss: float, cache: Any, *, need_dembeddings: bool = False) -> Array | None:
        """Add the gradient of dloss * loss to the store; return that of the embeddings (T, H) if needed."""

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Return the weight of a part's loss in that of the whole batch; 0 if the part has no labels."""


def task_gradients(loss: TaskLoss, batch: Batch, parts: int, rng: Any) -> float:
    """Add the gradients of the task's loss on this process's part of a batch, computed in `parts` parts.

    Returns the loss of the whole batch.
    """
    return group().add(_share_of_loss(loss, own_sentences(batch)[1], batch, parts, rng))[0]


def gradients_of_workers(loss: TaskLoss, batch: Batch, parts: int, rngs: Sequence[Any], store: ParameterStore) -> float:
    """Add the gradients of the task's loss as task_gradients does, with a worker for every generator of dropout masks.

    Each of the `parts` is cut into as many pieces of about equal numbers of tokens as there are workers.  The workers compute
    side by side, one thread each; their gradients are added in the order of the workers, so the result depends on the number
    of workers but not on that of threads.  The first worker adds to the store directly, the others need memory of their own.
    """
    pieces = [split_by_tokens(part, len(rngs)) for part in split(own_sentences(batch)[1], parts)]

    def work(worker: int) -> tuple[float, dict[str, Any]]:
        total = 0.0
        with contextlib.ExitStack() as stack:
            collected = stack.enter_context(store.collecting()) if worker else {}
            for piece in (of_part[worker] for of_part in pieces):
                total += _share_of_loss(loss, piece, batch, 1, rngs[worker], watch=False)
        return total, collected

    total = 0.0
    for value, collected in side_by_side(work, range(len(rngs))):
        total += value
        in_parallel(lambda item: store.accumulate("", dict([item])), collected.items())
    return group().add(total)[0]


def _share_of_loss(loss: TaskLoss, batch: Batch, whole: Batch, parts: int, rng: Any, *, watch: bool = True) -> float:
    """Add the gradients on a part of the whole batch, in `parts` parts of its own; return its share of the whole's loss.

    watch: the sums over processes may begin during the last backward pass.
    """
    total, own = 0.0, split(batch, parts)
    for number, part in enumerate(own, 1):
        share = loss.loss_share(part, whole)                               # the loss is a mean over the whole batch
        if share:
            value, cache = loss.loss_forward(part, rng=rng)
            with watched(watch and number == len(own)):
                loss.loss_backward(share, cache)
            del cache                                                      # free its memory before the next part
            total += share * value
    return total


def workers_for(batch: Batch, store: ParameterStore) -> int:
    """Return how many workers are fastest: at most one for each thread, each with enough to do; 1 on a GPU."""
    if store.xp is not np or len(store.values) < WORTH_WORKERS:
        return 1
    return max(1, min(threads(), batch.tokens // WORTH_A_WORKER))


def update_parameters(pending: PendingUpdate, clip: float, observers: Sequence[Observer] = ()) -> float:
    """Sum the gradients over processes, call the observers, clip, step, zero; return the norm before clipping.  Raises Diverged.

    clip: limit on the norm of all gradients together; 0: no limit.
    """
    sum_gradients(pending.store, pending.names)
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
