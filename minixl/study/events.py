"""What a recording holds: the calls of ops and the updates of one training step, in order."""
from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from minixl import backend
from minixl.backend import BLOCK
from minixl.data.batching import Batch
from minixl.training.update import Update

FORWARD, BACKWARD, HELPER = "forward", "backward", "helper"


class OpCall(NamedTuple):
    """A call of an op.  Arrays are NumPy arrays, as they were when the op returned."""

    site: str                        # where it is in the model, such as bert.encoder.layer.3.attention
    op: str                          # its name without _forward or _backward
    kind: str                        # FORWARD, BACKWARD, or HELPER for an op with only one function
    function: Any                    # the undecorated function
    depth: int                       # 0, or the number of ops that it was called by
    arguments: dict[str, Any]        # by name, without the cache
    parameters: dict[str, str]       # argument -> the name of the parameter that it is; a backward's are its forward's
    outputs: Any                     # y, dx, or the result of a helper
    cache: Any                       # of the forward pass
    grads: dict[str, Any]            # of a backward: argument of forward -> gradient


class Weight(NamedTuple):
    """A chosen weight of an update: one element of a parameter, before and after."""

    name: str
    place: tuple[int, ...]           # its index
    before: float
    after: float
    gradient: float                  # before clipping
    moments: dict[str, tuple[float, float]]      # "m", "v" of Adam -> before, after


class ParameterUpdate(NamedTuple):
    """What an update did to a parameter."""

    gradient_norm: float
    change_norm: float


@dataclass
class UpdateRecord:
    """An update of the parameters."""

    step: int
    loss: str                        # a key of the objective's losses
    names: list[str]                 # of its subset
    gradients: dict[str, Any]        # name -> array or RowSparse, before clipping
    norm: float                      # of all gradients together, before clipping
    parameters: dict[str, ParameterUpdate] = field(default_factory=dict)
    moved_others: list[str] = field(default_factory=list)     # parameters outside the subset that changed: a mistake if any
    weights: list[Weight] = field(default_factory=list)
    value: float | None = None       # of the loss
    lr: float = 0.0                  # of the optimiser's first group
    accuracy: float | None = None

    @property
    def change_norm(self) -> float:
        """The Euclidean norm of the change of all parameters together."""
        return float(np.sqrt(sum(update.change_norm ** 2 for update in self.parameters.values())))


class Recording(NamedTuple):
    """One training step."""

    step: int
    events: list[OpCall | UpdateRecord]        # in order; nested ops before the op that calls them
    updates: list[Update]                      # what the objective returned
    batches: list[tuple[int, Batch]]           # what was encoded, and the number of the first event of each
    before: dict[str, np.ndarray]              # all parameters before the step
    after: dict[str, np.ndarray]               # and after it

    def calls(self, kind: str = "") -> list[OpCall]:
        """Return the calls of ops that are not nested in others, all or of one kind."""
        return [event for event in self.events if isinstance(event, OpCall) and not event.depth and kind in ("", event.kind)]

    def update_records(self) -> list[UpdateRecord]:
        """Return the updates in order."""
        return [event for event in self.events if isinstance(event, UpdateRecord)]


def is_array(value: Any) -> bool:
    """Whether the value is an array of NumPy or CuPy."""
    return isinstance(value, np.ndarray) or (backend.cupy is not None and isinstance(value, backend.cupy.ndarray))


def norm_of(gradient: Any, minus: np.ndarray | None = None) -> float:
    """Return the Euclidean norm of an array or a RowSparse, or of its difference from another array; 0 for None.

    It is computed in float64, block by block: a word table is large.
    """
    values = getattr(gradient, "values", gradient)
    if values is None:
        return 0.0
    flat, other = np.ravel(values), None if minus is None else np.ravel(minus)
    total = 0.0
    for first in range(0, flat.size, BLOCK):
        block = flat[first:first + BLOCK].astype(np.float64)
        if other is not None:
            block -= other[first:first + BLOCK]
        total += float(block @ block)
    return sqrt(total)
