"""Writing a folder so that a reader finds the old one or the new one, never half of either.

Test: tests/weights/test_atomic.py
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from minixl.errors import UserError

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
               "special_tokens_map.json", "lexicon.json", "minixl.json", "README.md")


@contextmanager
def replaced_folder(folder: str | Path, ours: Collection[str] = MODEL_FILES) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which takes its place when the block ends without an exception.

    A folder that is already there is replaced, unless it holds files other than `ours`: those are somebody's work.
    The change is two renames; killed between them, the old folder is left beside the place as .NAME.old.
    """
    folder = Path(os.path.realpath(folder))            # a link keeps pointing to the place that is renewed
    _check_replaceable(folder, ours)
    fresh = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    try:
        fresh.mkdir(parents=True)
        yield fresh
        _swap(fresh, folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_replaceable(folder: Path, ours: Collection[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder to write to, found a file")
    other = sorted({entry.name for entry in folder.iterdir()} - set(ours)) if folder.exists() else []
    if other:
        raise UserError(f"{folder}: would be replaced, but holds {other[0]!r}"
                        f"{f' and {len(other) - 1} more files' if len(other) > 1 else ''} that minixl did not write; "
                        f"choose another folder")


def _swap(fresh: Path, folder: Path) -> None:
    old = folder.parent / f".{folder.name}.old"
    if not folder.exists():
        fresh.rename(folder)
        return
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
