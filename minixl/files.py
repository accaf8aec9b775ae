"""Write files and folders atomically, so that a reader finds the old or the new one, never a part of it; digests of files.

    with replaced_file(path) as fresh          write the file `fresh`; it replaces `path` at the end of the block
    with replaced_folder(folder) as fresh      write into the folder `fresh`; it replaces `folder` at the end of the block
    write_atomically(path, text)               replaced_file for text
    digest(path), folder_digest(folder)        SHA-256 of the contents, compared by --resume and for stored results

A digest depends on a file's contents, not on its date.

Of several processes that train together, one writes; the others write to a place that is thrown away, and go on when the file
or folder is there.
Checked in tests/test_files.py.
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from minixl.distributed import group, using
from minixl.distributed.group import ALONE
from minixl.errors import UserError

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
               "special_tokens_map.json", "lexicon.json", "minixl.json", "README.md", "modeling_minixl.py")
READ = (".json", ".safetensors", ".txt")       # what the digest of a model's or encoder's folder covers: not the model card
ROOM = "make room, or choose another place"


@contextmanager
def replaced_file(path: str | Path, fix: str = ROOM) -> Iterator[Path]:
    """Yield a file to write, NAME.new beside `path`; it replaces `path` when the block ends without an exception.

    Creates missing parent folders.  The umask decides who may read the file, even if a writer such as safetensors allows only
    the owner.  Raises UserError, ending with `fix`, if writing fails, most often because the disk is full.
    """
    path = Path(path)
    if group().size > 1:
        with _by_one(path, lambda: replaced_file(path, fix)) as place:
            yield place
        return
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)                  # a killed process may have left one
        fresh.touch()
        mode = fresh.stat().st_mode & 0o777
        yield fresh
        fresh.chmod(mode)
        os.replace(fresh, path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({_reason(error)}); {fix}") from error
    finally:
        with suppress(OSError):                        # do not hide the first error
            fresh.unlink(missing_ok=True)


def write_atomically(path: Path, text: str, fix: str = ROOM) -> None:
    """Replace a text file atomically.  Raises UserError, ending with `fix`, if it cannot be written."""
    with replaced_file(path, fix) as fresh:
        fresh.write_text(text, encoding="utf-8")


@contextmanager
def replaced_folder(folder: str | Path, replaceable: Collection[str] = MODEL_FILES) -> Iterator[Path]:
    """Yield an empty folder, .NAME.PID.partial beside `folder`; it replaces `folder` when the block ends without an exception.

    An existing folder is replaced unless it holds files other than `replaceable`, which may be somebody's work.  Replacing
    takes two renames; a process killed between them leaves the old folder as .NAME.old.  Partial folders of killed processes
    are removed.
    """
    folder = Path(os.path.realpath(folder))            # replace the target of a link, not the link
    if group().size > 1:
        with _by_one(folder, lambda: replaced_folder(folder, replaceable)) as place:
            place.mkdir(exist_ok=True)
            yield place
        return
    _check_replaceable(folder, replaceable)
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


@contextmanager
def _by_one(path: Path, writing: Callable[[], AbstractContextManager[Path]]) -> Iterator[Path]:
    """Yield what `writing` yields in the leading process, and a place of their own in the others.

    It begins when all processes have come here, so none still reads what is replaced, and they go on when it has finished.
    """
    together = group()
    together.barrier()
    if together.leads:
        with using(ALONE), writing() as place:
            yield place
    else:
        with tempfile.TemporaryDirectory() as scratch, using(ALONE):
            yield Path(scratch) / path.name
    together.barrier()


def digest(path: Path) -> str:
    """SHA-256 of a file, which may be larger than memory.  Raises UserError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def folder_digest(folder: Path) -> str:
    """SHA-256 of the files that minixl reads in a folder: weights, vocabulary, configuration; "" if there are none."""
    entries = folder.iterdir() if folder.is_dir() else []
    files = sorted(path for path in entries if path.is_file() and path.suffix in READ)
    return hashlib.sha256("".join(f"{path.name} {digest(path)}\n" for path in files).encode()).hexdigest() if files else ""


def _reason(error: OSError | SafetensorError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _check_replaceable(folder: Path, replaceable: Collection[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder to write to, found a file")
    other = sorted({entry.name for entry in folder.iterdir()} - set(replaceable)) if folder.exists() else []
    if other:
        raise UserError(f"{folder}: cannot be replaced, because it holds {other[0]!r}"
                        f"{f' and {len(other) - 1} more files' if len(other) > 1 else ''} that minixl did not write; "
                        f"choose another folder")


def _remove_leftovers(folder: Path) -> None:
    """Remove the .NAME.PID.partial folders of processes that have ended; one with our own PID is from an earlier process."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.([1-9][0-9]{{0,8}})\.partial")
    for entry in folder.parent.iterdir() if folder.parent.is_dir() else ():
        partial = name.fullmatch(entry.name)
        if partial and (int(partial[1]) == os.getpid() or not _is_running(int(partial[1]))):
            shutil.rmtree(entry, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)                                # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:                            # it runs, as another user
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
