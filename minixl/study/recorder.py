"""Record one training step: every call of an op, forward and backward, and every update.

    record(objective, step)     makes the step and returns its Recording (events.py)

The ops, the models and the methods know nothing about it.  `backend.recording` shows the calls, and the observers of an
objective see every update before it is made.  A call gets its place in the model from the parameters among its arguments, from
the functions that led to it (sites.py), and in the backward pass from its cache, which is that of its forward pass.  The
batches are those that the model's `encode` gets.

The arrays are copied, since models add into them, and updates change parameters.  The step itself is the same to the bit.
"""
from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, Call, recording, to_numpy
from minixl.data.batching import Batch
from minixl.errors import UserError, nearest
from minixl.optim import gradient_norm
from minixl.parameters import ParameterStore
from minixl.study.events import (BACKWARD, FORWARD, HELPER, OpCall, ParameterUpdate, Recording, UpdateRecord, Weight, is_array,
                                 norm_of)
from minixl.study.sites import Found, Site, base_name, sites_of
from minixl.training.objective import Objective
from minixl.training.update import PendingUpdate, Update, update_parameters

INSIDE_UPDATE = update_parameters.__code__

WeightName = tuple[str, tuple[int, ...]]


def weight_named(store: ParameterStore, text: str) -> WeightName:
    """Parse "classifier.weight[0,3]".  Raises UserError for a parameter or an element that the store does not have."""
    match = re.fullmatch(r"([^\[]+)\[([\d, ]+)\]", text)
    if not match:
        raise UserError(f"--weight: expected a parameter and an index, such as classifier.weight[0,3], got {text!r}")
    name, index = match[1], tuple(int(part) for part in match[2].split(",") if part.strip())
    if name not in store:
        raise UserError(f"--weight: there is no parameter {name!r}{nearest(name, store.names())}")
    shape = store[name].value.shape
    if len(index) != len(shape) or any(i >= size for i, size in zip(index, shape, strict=True)):
        raise UserError(f"--weight: {name} has the shape {shape}, expected an index inside it, got {list(index)}")
    return name, index


def record(objective: Objective, step: int, weights: Sequence[WeightName] = ()) -> Recording:
    """Make the objective's step and return what happened in it.

    weights: (parameter, index) of weights whose moments to record.
    """
    recorder = _Recorder(objective.model.store, weights)
    objective.observers.append(recorder.before_update)
    try:
        with recording(recorder.call), _encoding(objective.model, recorder.batch):
            updates = objective.step(step)
    finally:
        objective.observers.remove(recorder.before_update)
    return Recording(step, recorder.finish(updates), updates, recorder.batches, recorder.before, recorder.values)


@contextmanager
def _encoding(model: Any, observer: Callable[[Batch], None]) -> Iterator[None]:
    """Show `observer` every batch that the model, or the model inside it, encodes."""
    def watched(encode: Any) -> Any:
        def seen(batch: Batch, **options: Any) -> Any:
            observer(batch)
            return encode(batch, **options)
        return seen

    models = [model, *([model.source] if hasattr(model, "source") else [])]
    for one in models:
        one.encode = watched(one.encode)
    try:
        yield
    finally:
        for one in models:
            del one.encode                     # what hid the method


class _Raw(NamedTuple):
    """A call before its site is known."""

    call: Call
    arguments: dict[str, Any]
    result: Any
    frames: list[FrameType]
    parameters: dict[str, str]


class _Recorder:
    """Collects the calls and updates of a step."""

    def __init__(self, store: ParameterStore, weights: Sequence[WeightName]) -> None:
        self.store, self.weights = store, weights
        self.thread = threading.get_ident()
        self.addresses = {_address(parameter.value): parameter.name for parameter in store if parameter.value.size}
        self.values = {parameter.name: _copied(parameter.value) for parameter in store}
        self.before = dict(self.values)
        self.batches: list[tuple[int, Batch]] = []
        self.raw: list[_Raw | UpdateRecord] = []
        self.open: tuple[PendingUpdate, UpdateRecord, list[dict[str, float]]] | None = None

    def call(self, call: Call) -> None:
        """Observe a call of an op, unless an optimiser makes it: an update is one event, whatever threads it runs on."""
        if threading.get_ident() != self.thread:
            return
        frames = _frames(sys._getframe(1))
        if any(frame.f_code is INSIDE_UPDATE for frame in frames):
            return
        self._close_update()
        parameters = {argument: name for argument, value in call.arguments.items() if (name := self._name(value))}
        arguments = {argument: self._copy(value) for argument, value in call.arguments.items() if argument != "cache"}
        self.raw.append(_Raw(call, arguments, self._copy(call.result), frames, parameters))

    def batch(self, batch: Batch) -> None:
        """Observe a batch that is about to be encoded."""
        self._close_update()
        self.batches.append((len(self.raw), batch))

    def before_update(self, pending: PendingUpdate) -> None:
        """Observe an update that is about to be made."""
        self._close_update()
        names = list(pending.names)
        gradients = {name: self._copy(self.store[name].grad) for name in names}
        update = UpdateRecord(pending.step, pending.loss, names, gradients, gradient_norm(self.store, names))
        self.raw.append(update)
        self.open = pending, update, [_moments(pending, name, index) for name, index in self.weights]

    def finish(self, updates: Sequence[Update]) -> list[OpCall | UpdateRecord]:
        """Return the events.  updates: the records that the step returned."""
        self._close_update()
        records = [event for event in self.raw if isinstance(event, UpdateRecord)]
        for event in records:
            made = next(update for update in updates if update.loss == event.loss)
            event.value, event.lr, event.accuracy = made.value, made.lr, made.accuracy
        calls = [event for event in self.raw if isinstance(event, _Raw)]
        phases = [sum(isinstance(other, UpdateRecord) for other in self.raw[:i])
                  for i, event in enumerate(self.raw) if isinstance(event, _Raw)]
        sites = iter(sites_of([Found(raw.call, raw.frames, raw.parameters, phase)
                               for raw, phase in zip(calls, phases, strict=True)]))
        return [event if isinstance(event, UpdateRecord)
                else _op_call(event, site := next(sites), None if site.forward is None else calls[site.forward])
                for event in self.raw]

    def _close_update(self) -> None:
        """Complete the last update, now that the optimiser has made it: parameters change nowhere else."""
        if self.open is None:
            return
        (pending, update, moments), self.open = self.open, None
        subset = set(update.names)
        for parameter in self.store:
            name, before = parameter.name, self.values[parameter.name]
            size = norm_of(to_numpy(parameter.value), before)
            if name in subset:
                update.parameters[name] = ParameterUpdate(norm_of(update.gradients[name]), size)
            elif size:
                update.moved_others.append(name)
            if size:
                self.values[name] = _copied(parameter.value)
            update.weights += [_weight(pending, update, name, index, (before, self.values[name]), earlier)
                               for (held, index), earlier in zip(self.weights, moments, strict=True)
                               if held == name and name in subset]

    def _name(self, value: Any) -> str:
        """Return the name of the parameter that an array is; "" if it is none."""
        if not is_array(value) or not value.size:
            return ""
        name = self.addresses.get(_address(value), "")
        return name if name and self.store[name].value.shape == value.shape else ""

    def _copy(self, value: Any) -> Any:
        """Copy the arrays in nested tuples, lists and dictionaries; a parameter is shared with all other calls."""
        if is_array(value):
            name = self._name(value)
            return self.values[name] if name else _copied(value)
        if isinstance(value, tuple):
            items = [self._copy(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if isinstance(value, list):
            return [self._copy(item) for item in value]
        if isinstance(value, dict):
            return {key: self._copy(item) for key, item in value.items()}
        return value


def _copied(value: Array) -> np.ndarray:
    """Return a NumPy copy."""
    return np.array(to_numpy(value))


def _op_call(raw: _Raw, site: Site, forward: _Raw | None) -> OpCall:
    """Return the call as the reader of a recording sees it.  forward: the call whose cache this backward has."""
    name, result = raw.call.name, raw.result
    kind = next((kind for kind in (FORWARD, BACKWARD) if name.endswith(f"_{kind}")), HELPER)
    cache: Any = None
    grads: dict[str, Any] = {}
    if kind == FORWARD and isinstance(result, tuple) and len(result) == 2:
        result, cache = result
    elif kind == BACKWARD:
        cache = forward.result[1] if forward else None
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            result, grads = result
    parameters = forward.parameters if forward else raw.parameters
    return OpCall(site.name, base_name(name), kind, raw.call.function, site.depth, raw.arguments, parameters, result, cache, grads)


def _frames(frame: FrameType | None) -> list[FrameType]:
    """Return the frames from one of the decorator outwards, up to that of `record`."""
    frames = []
    while frame is not None and frame.f_code is not record.__code__:
        frames.append(frame)
        frame = frame.f_back
    return frames


def _address(value: Array) -> int:
    """Return where in memory an array begins."""
    return int(value.__array_interface__["data"][0] if isinstance(value, np.ndarray) else value.data.ptr)


def _weight(pending: PendingUpdate, update: UpdateRecord, name: str, index: tuple[int, ...], values: tuple[Array, Array],
            moments: dict[str, float]) -> Weight:
    before, after = values
    later = _moments(pending, name, index)
    gradient = update.gradients[name]
    if hasattr(gradient, "rows"):
        held = np.flatnonzero(gradient.rows == index[0])
        slope = float(gradient.values[(held[0], *index[1:])]) if len(held) else 0.0
    else:
        slope = 0.0 if gradient is None else float(gradient[index])
    return Weight(name, index, float(before[index]), float(after[index]), slope,
                  {key: (moment, later[key]) for key, moment in moments.items()})


def _moments(pending: PendingUpdate, name: str, index: tuple[int, ...]) -> dict[str, float]:
    """Return the moments of a weight; {} if the update does not move it."""
    if name not in pending.names:
        return {}
    return {key: float(moment[index]) for key, moment in pending.optimizer.moments_of(name).items()}
