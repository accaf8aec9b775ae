"""Show an event of a recording as text: formula, source, shapes, statistics and some of the numbers.

Nothing here knows an op: formulas are those in its file, arrays those that the recorder saw.
"""
from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minixl.study.events import BACKWARD, FORWARD, OpCall, Recording, UpdateRecord, is_array, norm_of

Paint = Callable[[str, float], str]    # a number as text and its value -> the text, perhaps with a colour for its sign

ROWS, CELL, MOST_SOURCE, MOST_PARAMETERS = 3, 10, 14, 12
INDENT = "    "


def title(recording: Recording, number: int) -> str:
    """Return the heading of an event: what it is, and where in the model."""
    event = recording.events[number]
    place = f"[{number + 1}/{len(recording.events)}]"
    if isinstance(event, UpdateRecord):
        return f"{place} update by the loss {event.loss!r}"
    inside = f", inside {event.site.rpartition('.')[0]}" if event.depth else ""
    return f"{place} {event.kind} {event.site}: {event.op}{inside}"


def describe(recording: Recording, number: int, width: int, paint: Paint, height: int = 0) -> list[str]:
    """Return all lines about an event, at most `width` characters wide without the colours.

    height: so many lines fit; then the arrays have fewer rows, down to none.  0: any number.
    """
    for rows in range(ROWS, -1, -1):
        lines = _describe(recording, number, width, paint, rows)
        if not height or len(lines) <= height:
            break
    return lines


def _describe(recording: Recording, number: int, width: int, paint: Paint, rows: int) -> list[str]:
    event = recording.events[number]
    heading = _cut(title(recording, number), width)
    lines = [heading, "─" * len(heading)]
    if isinstance(event, UpdateRecord):
        return lines + [_cut(line, width) for line in update_lines(event)]
    for part, found in (("formula", formula(event)), (source_place(event), source(event))):
        if found:
            lines += [_cut(part, width), *(_cut(INDENT + line, width) for line in found)]
    for name, value in arrays_of(event).items():
        parameter = event.parameters.get(name) if event.kind == FORWARD else event.parameters.get(name.removeprefix("d"))
        lines += array_lines(f"{name} ({parameter})" if parameter else name, value, width, paint, rows)
    return lines


def arrays_of(event: OpCall | UpdateRecord) -> dict[str, np.ndarray]:
    """Return every array of an event by the name under which it can be printed."""
    if isinstance(event, UpdateRecord):
        return flat_arrays({name: gradient for name, gradient in event.gradients.items()})
    outputs = {FORWARD: "y", BACKWARD: "dx"}.get(event.kind, "result")
    return flat_arrays({**event.arguments, "cache": event.cache, outputs: event.outputs,
                        **{f"d{name}": gradient for name, gradient in event.grads.items()}})


def formula(event: OpCall) -> list[str]:
    """Return the lines of the op's formula: those of this pass, and those that belong to both."""
    return [line for kind, line in formula_lines(inspect.getdoc(inspect.getmodule(event.function)) or "")
            if kind in ("", event.kind)]


def formula_lines(docstring: str) -> list[tuple[str, str]]:
    """Return the indented lines of a docstring, each with its pass: FORWARD or BACKWARD from a line that begins with it, "" before.

    A line that is not indented ends a pass.
    """
    found, own = [], ""
    for line in docstring.splitlines():
        if not line.startswith(INDENT):
            own = ""
            continue
        first = line.split()[0].rstrip(",") if line.strip() else ""
        own = first if first in (FORWARD, BACKWARD) else own
        found.append((own, line.removeprefix(INDENT)))
    return found


def source_place(event: OpCall) -> str:
    """Return FILE:FIRST-LAST, from minixl down."""
    path, (lines, first) = Path(inspect.getsourcefile(event.function) or ""), inspect.getsourcelines(event.function)
    return f"{'/'.join(path.parts[-3:])}:{first}-{first + len(lines) - 1}"


def source(event: OpCall) -> list[str]:
    """Return the lines of the function that ran, without its signature and docstring."""
    text = textwrap.dedent(inspect.getsource(event.function))
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    body = definition.body[ast.get_docstring(definition) is not None:]
    lines = [line.removeprefix(INDENT) for line in text.splitlines()[body[0].lineno - 1:]]
    if len(lines) <= MOST_SOURCE + 1:
        return lines
    return [*lines[:MOST_SOURCE], f"... {len(lines) - MOST_SOURCE} more lines"]


def array_lines(name: str, value: np.ndarray, width: int, paint: Paint, rows: int = ROWS) -> list[str]:
    """Return a line of statistics and the first numbers of an array."""
    shape = "×".join(map(str, value.shape)) or "scalar"
    line = f"{name}  {shape} {value.dtype}"
    if value.size and value.dtype.kind == "f":
        line += (f"  min {value.min():.3g}  mean {value.mean(dtype=float):.3g}  max {value.max():.3g}  "
                 f"norm {norm_of(value):.4g}")
    elif value.dtype.kind == "b":
        line += f"  {int(value.sum())} of {value.size} true"
    return [_cut(line, width), *number_lines(value, width, paint, rows)]


def number_lines(value: np.ndarray, width: int, paint: Paint, rows: int | None = None) -> list[str]:
    """Return the numbers of an array, rows of its last axis; what does not fit is marked with …  rows: at most so many."""
    if not value.size or rows == 0:
        return []
    table = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
    columns = max(1, (width - len(INDENT) - 2) // CELL)
    lines = []
    for row in table[:rows]:
        cells = [paint(_number(cell), float(cell)) for cell in row[:columns]]
        lines.append(INDENT + "".join(cells) + (" …" if len(row) > columns else ""))
    left = 0 if rows is None else len(table) - rows
    return lines + ([f"{INDENT}… {left} more row{'s' * (left > 1)}"] if left > 0 else [])


def update_lines(update: UpdateRecord) -> list[str]:
    """Return the lines about an update: the loss, the subset, and what moved most."""
    accuracy = "" if update.accuracy is None else f", accuracy {update.accuracy:.3f}"
    lines = [f"loss {'' if update.value is None else f'{update.value:.6g}'}{accuracy}, learning rate {update.lr:.4g}",
             f"norm of the gradient {update.norm:.6g} (before clipping), of the change {update.change_norm:.6g}",
             f"subset: {len(update.names)} parameters; outside it "
             + (f"MOVED: {', '.join(update.moved_others)}" if update.moved_others else "none moved")]
    for weight in update.weights:
        lines += [f"{weight.name}{list(weight.place)}: {weight.before:.8g} → {weight.after:.8g}, gradient {weight.gradient:.6g}",
                  *(f"{INDENT}{key}: {before:.6g} → {after:.6g}" for key, (before, after) in weight.moments.items())]
    lines.append(f"{'gradient':>12}{'change':>12}  parameter, most changed first")
    moved = sorted(update.parameters.items(), key=lambda item: -item[1].change_norm)
    lines += [f"{one.gradient_norm:>12.4g}{one.change_norm:>12.4g}  {name}" for name, one in moved[:MOST_PARAMETERS]]
    return lines + ([f"{INDENT}… {len(moved) - MOST_PARAMETERS} more"] if len(moved) > MOST_PARAMETERS else [])


def printed(event: OpCall | UpdateRecord, request: str, width: int, paint: Paint) -> list[str]:
    """Return the numbers of an array or a slice of it: "dx", "weight 0:3,1".  Raises ValueError, in one line, if there is none."""
    name, _, index = request.strip().partition(" ")
    arrays = arrays_of(event)
    if name not in arrays:
        raise ValueError(f"no array {name!r} here; there are {', '.join(arrays) or 'none'}")
    value = arrays[name]
    if index.strip():
        try:
            value = value[tuple(_slice(part.strip()) for part in index.strip(" []").split(","))]
        except (IndexError, ValueError):
            raise ValueError(f"{name} has the shape {value.shape}: expected an index such as 0:3,1, got {index!r}") from None
    return array_lines(f"{name} {index}".strip(), np.asarray(value), width, paint, rows=40)


def _slice(text: str) -> int | slice:
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(text)
    numbers = [int(part) if part else None for part in parts]
    return slice(*numbers) if len(parts) > 1 else int(text)


def flat_arrays(values: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Return the arrays in nested tuples, lists and dictionaries, named a.b for a field or key and a.0 for an item."""
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if is_array(value) or isinstance(value, np.generic):
            found[prefix + name] = np.asarray(value)
        elif isinstance(value, dict):
            found |= flat_arrays({str(key): item for key, item in value.items()}, f"{prefix}{name}.")
        elif isinstance(value, tuple | list):
            names = getattr(value, "_fields", range(len(value)))
            found |= flat_arrays({str(own): item for own, item in zip(names, value, strict=True)}, f"{prefix}{name}.")
    return found


def _number(value: Any) -> str:
    text = f"{value:.3g}" if np.asarray(value).dtype.kind == "f" else str(value)
    return f"{text:>{CELL}}"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[:max(width - 1, 0)] + "…"
