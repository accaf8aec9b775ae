"""What the page shows, as data: events, arrays, formulas, sources, verdicts.  page.js draws it.

Nothing here knows an op, except for what some have of their own (special.py): formulas and sources are those in its file, arrays
those that the recorder saw.
"""
from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minixl.study.events import BACKWARD, FORWARD, HELPER, OpCall, Recording, UpdateRecord, is_array, norm_of
from minixl.study.page.arrays import Arrays, shown
from minixl.study.page.batches import BatchText, axes_of, batch_text
from minixl.study.page.formulas import formulas
from minixl.study.page.special import special_of_call
from minixl.study.view import flat_arrays, source_place

Figure = list[Any]                     # name, number of the array, what its rows are, what its columns are
LOSS, UPDATE = "loss", "update"        # parts of a step, beside forward and backward
MOST_LINES = 90                        # of a function's source


class Content:
    """Reads a recording for the page.  tokenizer, labels: of the model."""

    def __init__(self, recording: Recording, tokenizer: Any, labels: Sequence[str]) -> None:
        self.recording, self.labels, self.arrays = recording, labels, Arrays()
        self.texts = [batch_text(batch, tokenizer, labels) for _, batch in recording.batches]
        self.phases = _phases(recording)
        self.partners = _partners(recording, self.phases)

    def events(self) -> list[dict[str, Any]]:
        """Return what the page knows of every event."""
        parts = _parts(self.recording, self.partners)
        return [{"part": part, "phase": phase, **(self._update(event) if isinstance(event, UpdateRecord)
                                                  else self._call(number, event))}
                for number, (event, part, phase) in enumerate(zip(self.recording.events, parts, self.phases, strict=True))]

    def ops(self) -> dict[str, dict[str, Any]]:
        """Return formulas and sources of every op, by its name."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.recording.events:
            if isinstance(event, OpCall):
                known = found.setdefault(event.op, _of_file(event.function))
                known["sources"][event.kind] = _source(event)
        return found

    def files(self) -> set[str]:
        """Return the files of all ops, without .py."""
        return {event.function.__module__.rpartition(".")[2] for event in self.recording.events if isinstance(event, OpCall)}

    def figures(self, values: Mapping[str, Any], text: BatchText | None, *, parameters: bool = False,
                whole: bool = False) -> list[Figure]:
        """Return a figure for every array in some values."""
        return [[name, self.arrays.add(value, whole=whole), *axes_of(value, text, self.labels, parameter=parameters)]
                for name, value in flat_arrays(values).items()]

    def _call(self, number: int, call: OpCall) -> dict[str, Any]:
        partner, batch = self.partners[number], self._batch_of(number, call)
        common = {"kind": call.kind, "site": call.site, "op": call.op, "depth": call.depth, "batch": batch, "partner": partner,
                  "norm": shown(_size(call))}
        text = self.texts[batch] if batch >= 0 else None
        if call.kind == BACKWARD and partner is not None:
            return common                                              # the forward has its figures
        backward = self.recording.events[partner] if partner is not None else None
        assert backward is None or isinstance(backward, OpCall)
        return {**common, "rows": self._rows(call, backward, text), "plain": _plain(call),
                "cache": self.figures({} if call.cache is None else {"cache": call.cache}, text),
                **special_of_call(self, call, backward, text)}

    def _batch_of(self, number: int, call: OpCall) -> int:
        """Return the number of the batch that a call is about, that of its forward for a backward; -1 if there is none."""
        partner = self.partners[number]
        begun = partner if call.kind == BACKWARD and partner is not None else number
        return bisect_right([first for first, _ in self.recording.batches], begun) - 1

    def _rows(self, call: OpCall, backward: OpCall | None, text: BatchText | None) -> list[dict[str, Any]]:
        """Return the arguments and the result, each with its gradient."""
        names = [name for name, value in call.arguments.items() if flat_arrays({name: value})]
        gradients = _gradients(call, backward, names)
        rows = []
        for name in names:
            is_parameter = name in call.parameters
            rows.append({"name": name, "parameter": call.parameters.get(name, ""),
                         FORWARD: self.figures({name: call.arguments[name]}, text, parameters=is_parameter),
                         BACKWARD: self.figures(gradients.pop(name, {}), text, parameters=is_parameter)})
        upstream = {} if backward is None else dict([next(iter(backward.arguments.items()))])
        return [*rows, {"name": "result", "parameter": "", FORWARD: self.figures({_result(call, names): call.outputs}, text),
                        BACKWARD: self.figures(upstream, text)}]

    def _update(self, update: UpdateRecord) -> dict[str, Any]:
        changed = sorted(update.parameters.items(), key=lambda item: -item[1].change_norm)
        return {"kind": UPDATE, "loss": update.loss, "value": update.value, "lr": update.lr, "accuracy": update.accuracy,
                "norm": shown(update.norm), "change": update.change_norm, "moved_others": update.moved_others,
                "parameters": [[name, one.gradient_norm, one.change_norm] for name, one in changed],
                "weights": [weight._asdict() for weight in update.weights], "batch": -1, "depth": 0, "partner": None}


def _phases(recording: Recording) -> list[int]:
    """Return the number of updates before each event."""
    phases, count = [], 0
    for event in recording.events:
        phases.append(count)
        count += isinstance(event, UpdateRecord)
    return phases


def _partners(recording: Recording, phases: Sequence[int]) -> list[int | None]:
    """Return for every forward its backward and for every backward its forward."""
    found: dict[tuple[Any, ...], int] = {}
    partners: list[int | None] = [None] * len(recording.events)
    for number, (event, phase) in enumerate(zip(recording.events, phases, strict=True)):
        if isinstance(event, OpCall) and event.kind in (FORWARD, BACKWARD):
            other = found.setdefault((phase, event.site, event.op), number)
            if other != number:
                partners[number], partners[other] = other, number
    return partners


def _parts(recording: Recording, partners: Sequence[int | None]) -> list[str]:
    """Return the part of the step of each event.  A loss is an op whose backward follows directly on a forward."""
    parts = [event.kind if isinstance(event, OpCall) else UPDATE for event in recording.events]
    outer = [i for i, event in enumerate(recording.events) if isinstance(event, OpCall) and not event.depth]
    for before, here in zip(outer, outer[1:], strict=False):
        forward = partners[here]
        if parts[here] == BACKWARD and parts[before] in (FORWARD, LOSS) and forward is not None:
            parts[forward] = LOSS
    owner = len(parts) - 1
    for i in range(len(parts) - 1, -1, -1):                            # a nested op is in the part of the op that calls it
        event = recording.events[i]
        if isinstance(event, OpCall) and event.depth:
            parts[i] = parts[owner]
        else:
            owner = i
    for i, part in enumerate(parts):                                   # a helper is in the part that it interrupts
        if part == HELPER:
            parts[i] = FORWARD if not i or parts[i - 1] == UPDATE else BACKWARD if parts[i - 1] == LOSS else parts[i - 1]
    return parts


def _gradients(call: OpCall, backward: OpCall | None, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return argument -> its gradients by name: dx belongs to the first argument that is not in grads."""
    if backward is None:
        return {}
    gradients = {name: {f"d{name}": gradient} for name, gradient in backward.grads.items()}
    first = next((name for name in names if name not in gradients), None)
    if first is not None and backward.outputs is not None:
        gradients[first] = {f"d{first}": backward.outputs}
    return gradients


def _result(call: OpCall, arguments: Sequence[str]) -> str:
    """Return a name for the result that no argument has."""
    return "y" if call.kind == FORWARD and "y" not in arguments else "result"


def _plain(call: OpCall) -> str:
    """Return the arguments that are no arrays."""
    return ", ".join(f"{name} = {value}" for name, value in call.arguments.items() if isinstance(value, bool | int | float | str))


def _size(call: OpCall) -> float:
    """Return the norm of what a call passes on: y of a forward, the gradients of its inputs of a backward.

    Where there are none, as at the embeddings, it is that of the gradients of the parameters.
    """
    inputs = [call.outputs, *(gradient for name, gradient in call.grads.items() if name not in call.parameters)]
    values = [value for value in flat_arrays({"": inputs}).values() if value.dtype.kind == "f"]
    values = values or [getattr(gradient, "values", gradient) for gradient in call.grads.values()]
    return float(np.linalg.norm([norm_of(value) for value in values if is_array(value)])) if values else 0.0


def _of_file(function: Any) -> dict[str, Any]:
    """Return the first line and the formulas of an op's file."""
    docstring = inspect.getdoc(inspect.getmodule(function)) or ""
    return {"title": docstring.partition("\n")[0], "formulas": [line._asdict() for line in formulas(docstring)], "sources": {},
            "file": function.__module__.rpartition(".")[2]}


def _source(call: OpCall) -> dict[str, str]:
    lines = inspect.getsource(call.function).splitlines()
    more = [f"    ... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    return {"place": source_place(call), "text": "\n".join(line for line in [*lines[:MOST_LINES], *more] if line != "@op")}
