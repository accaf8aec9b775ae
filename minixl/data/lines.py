"""Read the lines of a text file, plain or gzipped, in any encoding, with one clear error for each thing that can go wrong.

    read_lines(path)   the lines without their endings and without a byte order mark
    raw_lines(path)    the lines as they are, for a reader that writes them out again unchanged

Only a line feed ends a line (a carriage return before it belongs to the ending); in a file without any, a carriage return
does, as on old Macs.  The other characters that Unicode treats as line ends, such as U+2028 or U+0085, occur inside words, and
splitting there would shift every later line number.  A line of more than MAX_LINE characters is an error, so no file is read
without bound.
"""
from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from minixl.errors import UserError, nearest

PathLike = str | os.PathLike[str]

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = "\ufeff"                          # the byte order mark, once decoded
MAX_LINE = 10_000_000                               # characters
MAX_BYTES = 4 * MAX_LINE                            # of such a line, in any encoding
CHUNK = 1 << 22                                     # bytes read together from a file in a wide encoding
HOST_NAMES = ("idna", "punycode")        # Python lists them as text encodings, but no file is written in them
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Stream(Protocol):
    """What is read of an open file; minixl/data/arriving.py has one for pipes."""

    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self, limit: int = -1, /) -> bytes: ...


def read_lines(path: PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """Yield every line without its ending, the first without its byte order mark.  Raises UserError as raw_lines does."""
    for i, line in enumerate(raw_lines(path, encoding)):
        yield (line if i else line.removeprefix(BYTE_ORDER_MARK)).rstrip("\r\n")


def raw_lines(path: PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """Yield every line with its ending and byte order mark (wide encodings such as UTF-16 are read at once).

    Raises UserError, at the first line or where the fault is, for a file that is missing, a directory, unreadable, a damaged
    gzip file, not text, or not in this encoding (with the line).
    """
    _line_feed(encoding)                               # check the encoding's name before opening the file
    with _open(path) as stored, _unpacked(stored) as file:
        yield from stream_lines(file, path, encoding)


def stream_lines(file: Stream, name: PathLike, encoding: str = "utf-8") -> Iterator[str]:
    """Yield the lines of an open stream, such as standard input, as raw_lines does.  name: used in messages instead of a path."""
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


def file_format(path: PathLike) -> str:
    """Return the format that a file's name implies, gzipped or not: ".tsv", ".csv", ".jsonl" (also for .ndjson), ..., or ""."""
    suffix = Path(str(path).lower().removesuffix(".gz")).suffix
    return ".jsonl" if suffix == ".ndjson" else suffix


def quoted(text: str, most: int = 40) -> str:
    """Quote a text for an error message, on one line and cut after `most` characters."""
    return repr(text if len(text) <= most else text[:most] + "…")


def _open(path: PathLike) -> io.BufferedReader:
    file = Path(path)
    if file.is_dir():
        names = sorted(entry.name for entry in file.iterdir() if entry.is_file())
        raise UserError(f"{path}: expected a file, found a directory; give a file in it"
                        + (f", such as {file / names[0]}" if names else ""))
    try:
        return open(file, "rb")
    except FileNotFoundError:
        siblings = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        hint = nearest(file.name, siblings) or "; check the path"
        where = "" if file.parent.is_dir() else f" (there is no directory {file.parent} either)"
        raise UserError(f"{path}: expected a file, found nothing{where}{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _unpacked(file: io.BufferedReader) -> BinaryIO:
    """Unzip the file if its first bytes, whatever its name, are those of gzip."""
    return cast(BinaryIO, gzip.open(file) if file.peek(2)[:2] == GZIP else file)


def _line_feed(encoding: str) -> bytes:
    """Return a line feed in this encoding.  Raises UserError if this is not a text encoding."""
    try:
        if codecs.lookup(encoding).name not in HOST_NAMES:
            return "\n".encode(encoding)
    except (LookupError, ValueError):                                  # ValueError: "undefined", or a zero byte in the name
        pass
    raise UserError(f"data.encoding: expected an encoding such as utf-8, latin-1 or utf-16, found {encoding!r}")


def _decode_each(file: Stream, path: PathLike, encoding: str) -> Iterator[str]:
    number = 0
    while line := file.readline(MAX_BYTES + 1):
        number += 1
        if len(line) > MAX_BYTES:
            raise _too_long(path, number)
        text = _decode(line, path, number, encoding)
        if number == 1 and "\r" in text and not text.endswith("\n"):
            yield from (_check_length(part, path, i) for i, part in enumerate(io.StringIO(text, newline="\r"), 1))
        else:
            yield _check_length(text, path, number)


def _check_length(line: str, path: PathLike, number: int) -> str:
    """Return the line.  Raises UserError if it is too long."""
    if len(line) > MAX_LINE:
        raise _too_long(path, number)
    return line


def _too_long(path: PathLike, number: int) -> UserError:
    return UserError(f"{path}:{number}: expected a line of at most {MAX_LINE:,} characters, found a longer one; is this a text "
                     "file? If so, divide the line")


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
                        f"{quoted(line[:error.start].decode(encoding, 'replace')[-20:])}; "
                        f"give the file's encoding, for example --set data.encoding={other}") from None


def _decode_all(file: Stream, path: PathLike, encoding: str) -> list[str]:
    """Return the lines of a file whose line feed is not the single byte 10."""
    content, last = bytearray(), 0                    # last: where the line that is being read starts, about
    while chunk := file.read(CHUNK):
        if b"\n" in chunk:
            last = len(content) + chunk.rindex(b"\n")
        content += chunk
        if len(content) - last > MAX_BYTES:
            raise _too_long(path, content.count(b"\n") + 1)
    try:
        text = content.decode(encoding)
        lines = io.StringIO(text, newline="\n" if "\n" in text else "\r").readlines()
        return [_check_length(line, path, i) for i, line in enumerate(lines, 1)]
    except UnicodeDecodeError as error:
        number = content[:error.start].decode(encoding, "replace").count("\n") + 1
        raise UserError(f"{path}:{number}: expected {encoding}, found bytes that are not valid in it; "
                        "give the file's encoding, for example --set data.encoding=utf-8") from None
