"""Files written so that a reader finds the old one or the new one, never half of either; and digests of what is read.

    with replaced_file(path) as fresh          write `fresh`, any file, and it takes the place of `path`
    with replaced_folder(folder) as fresh      write into `fresh`, and it takes the place of `folder`
    write_atomically(path, text)               replaced_file for a text
    digest(path), folder_digest(folder)        SHA-256 of the contents: --resume and stored results compare it

A file that was only touched has the same digest; a changed one has another, whatever its date.
Tests: tests/test_files.py
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from minixl.errors import UserError

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
               "special_tokens_map.json", "lexicon.json", "minixl.json", "README.md")
READ = (".json", ".safetensors", ".txt")       # of an encoder's or model's folder; its card decides nothing
ROOM = "make room, or choose another place"


@contextmanager
def replaced_file(path: str | Path, cure: str = ROOM) -> Iterator[Path]:
    """Yields a file to write beside `path`, NAME.new, which takes its place when the block ends without an exception.

    Folders above are made.  The file may be read by whom the umask says, whatever the writer (safetensors: the owner only)
    did.  Raises UserError, ending with `cure`, where writing fails, on a full disk most often.
    """
    path = Path(path)
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)                  # left by a process that was killed
        fresh.touch()
        mode = fresh.stat().st_mode & 0o777
        yield fresh
        fresh.chmod(mode)
        os.replace(fresh, path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({_reason(error)}); {cure}") from error
    finally:
        with suppress(OSError):                        # the reason to stop is the error before
            fresh.unlink(missing_ok=True)


def write_atomically(path: Path, text: str, cure: str = ROOM) -> None:
    """Replace a text file atomically.  Raises UserError, ending with `cure`, if it cannot be written."""
    with replaced_file(path, cure) as fresh:
        fresh.write_text(text, encoding="utf-8")


@contextmanager
def replaced_folder(folder: str | Path, ours: Collection[str] = MODEL_FILES) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which takes its place when the block ends without an exception.

    A folder that is already there is replaced, unless it holds files other than `ours`: those are somebody's work.
    The change is two renames; killed between them, the old folder is left beside the place as .NAME.old.  What is written
    lies in .NAME.PID.partial until then; one that a killed process left is removed.
    """
    folder = Path(os.path.realpath(folder))            # a link keeps pointing to the place that is renewed
    _check_replaceable(folder, ours)
    fresh = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    try:
        _remove_leftovers(folder)
        fresh.mkdir(parents=True)
        yield fresh
        _swap(fresh, folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written ({_reason(error)}); {ROOM}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def digest(path: Path) -> str:
    """SHA-256 of a file, which may be larger than memory.  Raises UserError for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def folder_digest(folder: Path) -> str:
    """SHA-256 of what is read of a folder: weights, vocabulary, configuration; "" where there is none of it."""
    entries = folder.iterdir() if folder.is_dir() else []
    files = sorted(path for path in entries if path.is_file() and path.suffix in READ)
    return hashlib.sha256("".join(f"{path.name} {digest(path)}\n" for path in files).encode()).hexdigest() if files else ""


def _reason(error: OSError | SafetensorError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _check_replaceable(folder: Path, ours: Collection[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder to write to, found a file")
    other = sorted({entry.name for entry in folder.iterdir()} - set(ours)) if folder.exists() else []
    if other:
        raise UserError(f"{folder}: would be replaced, but holds {other[0]!r}"
                        f"{f' and {len(other) - 1} more files' if len(other) > 1 else ''} that minixl did not write; "
                        f"choose another folder")


def _remove_leftovers(folder: Path) -> None:
    """The .NAME.PID.partial of processes that are gone; of this one's number too, which had another owner then."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.([1-9][0-9]{{0,8}})\.partial")
    for entry in folder.parent.iterdir() if folder.parent.is_dir() else ():
        found = name.fullmatch(entry.name)
        if found and (int(found[1]) == os.getpid() or not _runs(int(found[1]))):
            shutil.rmtree(entry, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)                                # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:                            # somebody else's
        pass
    return True


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
