"""Files that a stage makes once: arrays, with a record of what they were made from.

    NAME.safetensors     the arrays; in its metadata, under "minixl", JSON: the kind, what it was made from, notes, a digest

A run that continues reuses the files that it finished.  If the text, a model or a setting that a file was made from has
changed, reading the file is an error that names the change.  Test: tests/methods/advpicker/test_files.py.
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
from minixl.data.inputs import LanguageFiles, path_key
from minixl.distributed import on_one_rank
from minixl.errors import UserError
from minixl.files import replaced_file

CURE = "make room and continue with --resume"                           # where a file cannot be written
REMAKE = "delete the file to have it made again"                        # where it cannot be used
UNREADABLE = (OSError, SafetensorError, ValueError, KeyError, TypeError)   # raised by files that minixl did not write

Origin = Mapping[str, str]             # "unlabelled es", "teacher seed-1", "setting data.max_length" -> digest or value


class Content(NamedTuple):
    """The content of such a file."""

    arrays: dict[str, np.ndarray]
    notes: Mapping[str, Any]           # JSON values, under names that the header does not use itself


def once(path: Path, kind: str, made_from: Origin, make: Callable[[], Content], elsewhere: Sequence[Path] = ()) -> Content:
    """Return the content of `path`; if the file does not exist, make() makes it and it is written atomically.

    elsewhere: files to read instead if they were made from the same; they are never written.
    Raises UserError for a file that is damaged, of another kind, or made from something else.
    """
    path = where(path, made_from, elsewhere)
    if not path.is_file():
        write(path, kind, made_from, make())
    return read(path, kind, made_from)


def where(path: Path, made_from: Origin, elsewhere: Sequence[Path] = ()) -> Path:
    """Return the first file in `elsewhere` with exactly this origin, or else `path`."""
    return next((other for other in elsewhere if is_made_from(other, made_from)), path)


def settings_of(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the part of an origin that records these settings."""
    return {f"setting {name}": json.dumps(settings[name]) for name in names}


def text_digest(files: LanguageFiles, language: str, fingerprints: Mapping[str, str]) -> str:
    """Return the part of an origin that records a language's text: the digests of its files among `files`, in their order.

    fingerprints: path_key -> digest.
    """
    return " ".join(fingerprints[path_key(path)] for other, path in files if other == language)


def is_made_from(path: Path, made_from: Origin) -> bool:
    """Whether the file has exactly this origin.  Reads only the header: the arrays may be damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            return bool(_header(file)["made_from"] == made_from)
    except UNREADABLE:
        return False


@on_one_rank
def write(path: Path, kind: str, made_from: Origin, content: Content) -> None:
    """Write the file atomically."""
    arrays = {name: np.ascontiguousarray(array) for name, array in content.arrays.items()}
    header = {"kind": kind, **content.notes, "made_from": made_from, "arrays": _digest(arrays), "version": __version__}
    with replaced_file(path, CURE) as fresh:
        save_file(arrays, fresh, {"minixl": json.dumps(header, ensure_ascii=False)})


def read(path: Path, kind: str, made_from: Origin | None = None, *, cure: str = REMAKE) -> Content:
    """Read a file; made_from=None accepts any origin.  Raises UserError as once() does.

    cure: the end of the message about a file that cannot be used; another one where it would not be made again.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected {kind}, found {'a folder' if path.is_dir() else 'no file'}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(file)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        stored_kind, origin, digest = header["kind"], header["made_from"], header["arrays"]
    except UNREADABLE as error:
        raise damaged(path, str(error) if isinstance(error, SafetensorError | OSError) else "no minixl header", cure) from None
    if stored_kind != kind:
        raise UserError(f"{path}: expected {kind}, found {stored_kind}")
    if digest != _digest(arrays):
        raise damaged(path, "the arrays have changed", cure)
    if made_from is not None and origin != made_from:
        name = next(name for name in [*made_from, *origin] if made_from.get(name) != origin.get(name))
        change = "is new" if name not in origin else "is gone" if name not in made_from else "has changed"
        raise UserError(f"{path}: made from something else: {name} {change}; {cure}")
    return Content(arrays, header)


def damaged(path: Path, reason: str, cure: str = REMAKE) -> UserError:
    """Return the error for a file whose content cannot be used."""
    return UserError(f"{path}: the file is damaged ({reason}); {cure}")


def _header(file: Any) -> dict[str, Any]:
    """Return the header in an open file's metadata.  Raises one of UNREADABLE for a file that minixl did not write."""
    header: dict[str, Any] = json.loads((file.metadata() or {})["minixl"])
    return header


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    content = hashlib.sha256()
    for name in sorted(arrays):
        content.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        content.update(arrays[name].tobytes())
    return content.hexdigest()
