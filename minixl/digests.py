"""Digests of what a run reads, by which --resume and pseudo-labels know that it is still the same.

They are of the contents: a file that was only touched counts as the same, a changed one is noticed whatever its date.
Test: tests/test_digests.py.
"""
from __future__ import annotations

import hashlib
from pathlib import Path

from minixl.errors import UserError

READ = (".json", ".safetensors", ".txt")       # of an encoder's or model's folder; its card decides nothing


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
