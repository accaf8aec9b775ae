"""Opens a text file for every reader here: plain or gzip, any encoding, and one clear error for what can be wrong.

    read_lines(path)   the lines without their endings and without a byte order mark
    raw_lines(path)    the lines as they are, for a reader that has to write them again unchanged

Only a line feed ends a line (a carriage return before it belongs to the ending): the other characters Unicode counts as
line ends, such as U+2028 or U+0085, do occur inside words, and splitting there would shift every line number after it.
"""
from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from minixl.errors import UserError, nearest

PathLike = str | os.PathLike[str]

GZIP = b"\x1f\x8b"
MARK = "\ufeff"                          # the byte order mark, once decoded
HOST_NAMES = ("idna", "punycode")        # what Python counts as encodings of text, though no text is in them
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """Every line without its ending; the first loses its byte order mark.  Raises UserError as raw_lines does."""
    for i, line in enumerate(raw_lines(path, encoding)):
        yield (line if i else line.removeprefix(MARK)).rstrip("\r\n")


def raw_lines(path: PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """Every line with its ending and byte order mark, one at a time (wide encodings such as UTF-16: read at once).

    Raises UserError, when the first line is asked for or when the fault is met: a file that is missing, a directory,
    not readable, a damaged gzip file, not text, or not in this encoding (naming the line).
    """
    _line_feed(encoding)                               # a wrong name is the first thing to say
    with _open(path) as stored, _unpacked(stored) as file:
        yield from stream_lines(file, path, encoding)


def stream_lines(file: BinaryIO, name: PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """As raw_lines, of a stream that is open already (standard input); name stands for the path in messages."""
    wide = _line_feed(encoding) != b"\n"
    number = 0
    try:
        texts = iter(_decode_all(file, name, encoding)) if wide else _decode_each(file, name, encoding)
        for number, text in enumerate(texts, 1):
            if "\0" in text:
                raise UserError(f"{name}:{number}: expected text, found a zero byte; give a text file "
                                "(or, for UTF-16 text, --set data.encoding=utf-16)")
            yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{name}:{number + 1}: expected a complete gzip file, found a damaged one ({error}); "
                        "copy or download it again") from error
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror or error})") from error


def kind_of(path: PathLike) -> str:
    """What a file's name says it holds, packed with gzip or not: ".tsv", ".csv", ".jsonl" (.ndjson as well), ..., or ""."""
    suffix = Path(str(path).lower().removesuffix(".gz")).suffix
    return ".jsonl" if suffix == ".ndjson" else suffix


def shown(text: str, most: int = 40) -> str:
    """The text quoted for an error message: on one line, and cut after `most` characters."""
    return repr(text if len(text) <= most else text[:most] + "…")


def _open(path: PathLike) -> io.BufferedReader:
    place = Path(path)
    if place.is_dir():
        inside = sorted(entry.name for entry in place.iterdir() if entry.is_file())
        raise UserError(f"{path}: expected a file, found a directory; name a file in it"
                        + (f", such as {place / inside[0]}" if inside else ""))
    try:
        return open(place, "rb")
    except FileNotFoundError:
        siblings = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
        hint = nearest(place.name, siblings) or "; check the path"
        where = "" if place.parent.is_dir() else f" (there is no directory {place.parent} either)"
        raise UserError(f"{path}: expected a file, found nothing{where}{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _unpacked(file: io.BufferedReader) -> BinaryIO:
    """The file unpacked if it starts as a gzip file does (its name is not asked), else itself."""
    return cast(BinaryIO, gzip.open(file) if file.peek(2)[:2] == GZIP else file)


def _line_feed(encoding: str) -> bytes:
    """A line feed in this encoding.  Raises UserError where it is none of text."""
    try:
        if codecs.lookup(encoding).name not in HOST_NAMES:
            return "\n".encode(encoding)
    except (LookupError, ValueError):                                  # ValueError: "undefined", or a zero byte in the name
        pass
    raise UserError(f"data.encoding: expected an encoding such as utf-8, latin-1 or utf-16, found {encoding!r}")


def _decode_each(file: BinaryIO, path: PathLike, encoding: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        yield _decode(line, path, number, encoding)


def _decode(line: bytes, path: PathLike, number: int, encoding: str) -> str:
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        if number == 1 and line.startswith(WIDE_MARKS):
            other = "utf-16"
        elif codecs.lookup(encoding).name != "utf-8":
            other = "utf-8"
        else:
            other = "cp1252" if 0x80 <= line[error.start] < 0xA0 else "latin-1"
        raise UserError(f"{path}:{number}: expected {encoding}, found byte 0x{line[error.start]:02x} after "
                        f"{shown(line[:error.start].decode(encoding, 'replace')[-20:])}; "
                        f"name the file's encoding, for example --set data.encoding={other}") from None


def _decode_all(file: BinaryIO, path: PathLike, encoding: str) -> list[str]:
    """The lines of a file whose line feed is not the single byte 10."""
    content = file.read()
    try:
        return io.StringIO(content.decode(encoding), newline="\n").readlines()
    except UnicodeDecodeError as error:
        number = content[:error.start].decode(encoding, "replace").count("\n") + 1
        raise UserError(f"{path}:{number}: expected {encoding}, found bytes that are not; "
                        "name the file's encoding, for example --set data.encoding=utf-8") from None
