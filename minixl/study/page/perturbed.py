"""The adversarial perturbation of a step: the gradient g of the embeddings, the shift r, and the loss along r.

    with watching(objective) as seen:
        recording = record(objective, step)
    loss_along(seen, objective, recording)         L(x + t r) for t from -1 to 2
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minixl.backend import to_numpy
from minixl.data.batching import Batch
from minixl.methods.perturbation import Perturbation
from minixl.study.events import Recording
from minixl.training.objective import TASK, Objective

PLACES = np.linspace(-1, 2, 25)        # in units of r


@dataclass
class Seen:
    """What a perturbation did in a step; empty without one."""

    loss: Any = None                   # the task's loss, and the batch
    batch: Batch | None = None
    parts: list[Batch] = field(default_factory=list)
    directions: list[np.ndarray] = field(default_factory=list)         # g, (T, H) of each part; or noise
    shifts: list[np.ndarray] = field(default_factory=list)             # r, (T, H)


@contextmanager
def watching(objective: Objective) -> Iterator[Seen]:
    """Keep what the objective's perturbation gets and makes inside the block."""
    seen = Seen()
    term = next((part for part in getattr(objective, "parts", ()) if isinstance(part, Perturbation)), None)
    if term is None:
        yield seen
        return
    main, gradients, shifts = term.main, term.main.gradients, term.shifts

    def watched_gradients(loss: Any, batch: Batch, step: int) -> float:
        seen.loss, seen.batch = loss, batch
        return gradients(loss, batch, step)

    def watched_shifts(parts: Sequence[Batch], directions: Sequence[Any]) -> list[Any]:
        made = shifts(parts, directions)
        if not seen.parts:                                             # those after it are only compared with it
            seen.parts = list(parts)
            seen.directions, seen.shifts = ([np.array(to_numpy(array)) for array in arrays] for arrays in (directions, made))
        return made

    main.gradients, term.shifts = watched_gradients, watched_shifts    # type: ignore[method-assign]
    try:
        yield seen
    finally:
        main.gradients = gradients
        del term.shifts


def loss_along(seen: Seen, objective: Objective, recording: Recording) -> list[float]:
    """Return the loss at every one of PLACES, with the parameters before the step and the dropout masks of the clean pass."""
    store = objective.model.store
    for parameter in store:
        parameter.value[...] = store.xp.asarray(recording.before[parameter.name])
    main = objective.parts[0]          # type: ignore[attr-defined]
    losses = []
    for place in PLACES:
        masks = main.rng(recording.step, TASK)
        losses.append(float(sum(
            seen.loss.loss_share(part, seen.batch)
            * seen.loss.loss_forward(part, rng=masks, shift=store.xp.asarray(shift * shift.dtype.type(place)), keep=False)[0]
            for part, shift in zip(seen.parts, seen.shifts, strict=True))))
    for parameter in store:
        parameter.value[...] = store.xp.asarray(recording.after[parameter.name])
    return losses
