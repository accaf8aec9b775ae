"""Files that a stage makes once: arrays with a record of what they were made from, so that they are never used for anything else.

    NAME.safetensors     the arrays; in its metadata, under "minixl", JSON: the kind, what it was made from, notes, a digest

A stopped run finds its finished files again.  If the text, a model or a setting that a file was made from has changed since,
reading it is an error that names what changed.  Test: tests/run/test_once.py.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minixl import __version__
from minixl.errors import UserError
from minixl.files import replaced_file

CURE = "make room and continue with --resume"                           # where a file cannot be written
UNREADABLE = (OSError, SafetensorError, ValueError, KeyError, TypeError)   # raised by files that minixl did not write

Origin = Mapping[str, str]             # "unlabelled es", "teacher seed-1", "setting data.max_length" -> digest or value


class Content(NamedTuple):
    """What such a file holds."""

    arrays: dict[str, np.ndarray]
    notes: Mapping[str, Any]           # ready for JSON; the names of the header's own entries are taken


def once(path: Path, kind: str, made_from: Origin, make: Callable[[], Content], elsewhere: Sequence[Path] = ()) -> Content:
    """The content of `path`, made by make() and written atomically if it is not there.

    elsewhere: files that are used, but never written, if they were made from the same.
    Raises UserError for a file that is damaged, of another kind, or made from something else.
    """
    path = where(path, made_from, elsewhere)
    if not path.is_file():
        write(path, kind, made_from, make())
    return read(path, kind, made_from)


def where(path: Path, made_from: Origin, elsewhere: Sequence[Path] = ()) -> Path:
    """The first file of `elsewhere` that was made from just this, or else `path`."""
    return next((other for other in elsewhere if is_made_from(other, made_from)), path)


def settings_of(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The part of an origin that records these settings."""
    return {f"setting {name}": json.dumps(settings[name]) for name in names}


def is_made_from(path: Path, made_from: Origin) -> bool:
    """Whether the file was made from just this.  Reads only its header: the arrays may be damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return bool(_header(file)["made_from"] == made_from)
    except UNREADABLE:
        return False


def write(path: Path, kind: str, made_from: Origin, content: Content) -> None:
    """Write the file atomically."""
    arrays = {name: np.ascontiguousarray(array) for name, array in content.arrays.items()}
    header = {"kind": kind, **content.notes, "made_from": made_from, "arrays": _digest(arrays), "version": __version__}
    with replaced_file(path, CURE) as fresh:
        save_file(arrays, fresh, {"minixl": json.dumps(header, ensure_ascii=False)})


def read(path: Path, kind: str, made_from: Origin | None = None) -> Content:
    """The opposite of write; made_from=None: whatever it was made from.  Raises UserError as once() does."""
    if not path.is_file():
        raise UserError(f"{path}: expected {kind}, found {'a folder' if path.is_dir() else 'no file'}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(file)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        stored_kind, origin, digest = header["kind"], header["made_from"], header["arrays"]
    except UNREADABLE as error:
        raise damaged(path, str(error) if isinstance(error, SafetensorError | OSError) else "no header of minixl") from None
    if stored_kind != kind:
        raise UserError(f"{path}: expected {kind}, found {stored_kind}")
    if digest != _digest(arrays):
        raise damaged(path, "the arrays have changed")
    if made_from is not None and origin != made_from:
        name = next(name for name in [*made_from, *origin] if made_from.get(name) != origin.get(name))
        change = "is new" if name not in origin else "is gone" if name not in made_from else "has changed"
        raise UserError(f"{path}: made from something else: {name} {change}; delete the file to have it made again")
    return Content(arrays, header)


def damaged(path: Path, reason: str) -> UserError:
    """The error for a file whose content cannot be used."""
    return UserError(f"{path}: the file is damaged ({reason}); delete it to have it made again")


def _header(file: Any) -> dict[str, Any]:
    """The header in an open file's metadata.  Raises one of UNREADABLE for a file that minixl did not write."""
    header: dict[str, Any] = json.loads((file.metadata() or {})["minixl"])
    return header


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name in sorted(arrays):
        content.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        content.update(arrays[name].tobytes())
    return content.hexdigest()
