"""Counts what passes between host and device: copies and waits, with the line that caused each.

    to host      the host waits for the device: .get(), .item(), float(x), bool(x), a boolean mask, nonzero
    to device    a copy that the device makes in its own time: asarray of host data, a list of indices
    numpy        a NumPy function called with a device array, which CuPy passes on to its own function of that name
"""
from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cupy

TO_HOST, TO_DEVICE, NUMPY = "to host", "to device", "numpy"
HERE = str(Path(__file__).parent)
PACKAGES = (str(Path(cupy.__file__).parent), str(Path(cupy.__file__).parent.parent / "cupyx"))
ROOT = Path(__file__).resolve().parents[2]
FETCHES = "to_numpy"                                # of minixl/backend.py: its caller decided to fetch
_active: list[list[Crossing]] = []


class Crossing(NamedTuple):
    """One copy or wait."""

    kind: str
    bytes: int
    line: str            # "minixl/ops/crf.py:51"


@contextlib.contextmanager
def crossings() -> Iterator[list[Crossing]]:
    """List what passes between host and device inside the block."""
    seen: list[Crossing] = []
    _active.append(seen)
    try:
        yield seen
    finally:
        _active[:] = [other for other in _active if other is not seen]


def record(kind: str, count: int) -> None:
    """Add a crossing of `count` bytes to every list that is open."""
    if _active:
        crossing = Crossing(kind, count, _line())
        for seen in _active:
            seen.append(crossing)


def by_line(seen: list[Crossing], kind: str) -> Counter[str]:
    """How many crossings of a kind each line caused."""
    return Counter(crossing.line for crossing in seen if crossing.kind == kind)


def _line() -> str:
    """The innermost line outside this folder, CuPy and NumPy."""
    frame = sys._getframe(2)
    while frame.f_back and (frame.f_code.co_filename.startswith((HERE, *PACKAGES)) or "/numpy/" in frame.f_code.co_filename
                            or frame.f_code.co_name == FETCHES):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename).resolve()
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{frame.f_lineno}"
