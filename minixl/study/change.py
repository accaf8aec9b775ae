"""Break a formula on purpose: run `minixl study check` on a copy of minixl in which some text of a file is replaced."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from minixl.errors import UserError

MAPPED = ("kernels", "weights", "cli")                     # packages whose folders may lie elsewhere


class Change(NamedTuple):
    """Text of a file to replace wherever it occurs."""

    file: str                          # below minixl, such as ops/gelu.py
    old: str
    new: str


def changed_source(change: Change) -> tuple[Path, str]:
    """Return the path of the file below minixl and its new source.  Raises UserError for a change that cannot be made."""
    name = Path(*Path(change.file).parts[Path(change.file).parts[:1] == ("minixl",):])
    part = name.parts[0] if name.parts else ""
    path = (_package(part).parent if part in MAPPED else _package("")) / name
    if not path.is_file() or path.suffix != ".py" or ".." in name.parts:
        raise UserError(f"--change {change.file}: expected a Python file of minixl, for example ops/gelu.py, found none")
    source = path.read_text(encoding="utf-8")
    if not change.old or change.old not in source:
        raise UserError(f"--change {change.file}: expected text to replace, found no {change.old!r} in the file")
    changed = source.replace(change.old, change.new)
    try:
        compile(changed, str(name), "exec")
    except SyntaxError as error:
        raise UserError(f"--change {change.file}: line {error.lineno} is no Python any more ({error.msg})") from None
    return name, changed


def check_changed(change: Change, arguments: Sequence[str]) -> Iterator[str | int]:
    """Yield the lines that `minixl study check ARGUMENTS` prints with the change, and then its exit status."""
    name, source = changed_source(change)
    with tempfile.TemporaryDirectory(prefix="minixl-study-") as folder:
        copy = Path(folder) / "minixl"
        only_code = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_package(""), copy, ignore=only_code)
        for part in MAPPED:
            shutil.copytree(_package(part), copy / part, ignore=only_code, dirs_exist_ok=True)
        (copy / name).write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "minixl", "study", "check", *arguments]
        with subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": folder}, stdout=subprocess.PIPE, text=True,
                              encoding="utf-8") as process:
            assert process.stdout is not None
            for line in process.stdout:
                yield line.rstrip("\n")
        yield process.returncode


def _package(part: str) -> Path:
    """Return the folder of minixl, or of one of its mapped packages."""
    name = f"minixl.{part}" if part in MAPPED else "minixl"
    return Path(str(import_module(name).__file__)).parent
