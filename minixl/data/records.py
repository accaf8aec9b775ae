"""Read the inputs of `minixl predict` so that they can be written out again: texts, JSON lines and tables, one record at a time.

    {"id": 7, "text": "Anna lives ."}      or "tokens": ["Anna", "lives", "."], or the key that --text-column names
    id,text                                a table with a header; without one the text is the only or the second column

The cells of a .csv are separated by commas or semicolons.  A reader takes lines with their endings and reads no further than the
record that it yields, so that a pipe can be answered.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from minixl.data.classification import SEPARATORS
from minixl.data.csv_rows import DECLARED, csv_rows, long_fields
from minixl.data.header import TEXT_COLUMN, Columns, check_header, find_header, missing_key
from minixl.data.json_lines import TOKENS, check_unicode, parse_object
from minixl.data.lines import BYTE_ORDER_MARK, PathLike, quoted
from minixl.errors import UserError

PREDICTION, CONFIDENCE = "prediction", "confidence"              # what is added to an object or a table
TEXT = "text"
Row = tuple[int, str, list[str] | None]                          # line number, source, cells (None: a blank line, or sep=;)


class Record(NamedTuple):
    """One input, or a line of a table that holds none: its header (cells, no content), a blank line or sep=; (neither)."""

    line: int                                # where it starts, from 1
    source: str                              # as in the file; the lines of a table with their endings
    content: str | tuple[str, ...] | None    # a text or words; both may be empty
    cells: dict[str, str] | None = None      # of a table, by column


def text_records(lines: Iterable[str]) -> Iterator[Record]:
    """Yield every line as a text, without its ending and without a byte order mark."""
    for number, line in enumerate(lines, 1):
        text = (line if number > 1 else line.removeprefix(BYTE_ORDER_MARK)).rstrip("\r\n")
        yield Record(number, text, text)


def object_records(lines: Iterable[str], name: PathLike, keys: Sequence[str]) -> Iterator[Record]:
    """Yield the text or the words of every JSON object; a blank line becomes an object without words.

    keys: the first object has one of them, and so do all others.  Raises UserError, with file and line, for anything else.
    """
    key, expected = "", " or ".join(map(repr, keys))
    for number, line in enumerate(lines, 1):
        source = (line if number > 1 else line.removeprefix(BYTE_ORDER_MARK)).strip()
        if not source:
            source = json.dumps({key or keys[-1]: [] if key == TOKENS else ""})
        entry = parse_object(source, number, name, expected, f'{{"{keys[-1]}": ...}}')
        key = key or next((key for key in keys if key in entry), "")
        if key not in entry:
            raise missing_key(repr(key) if key else expected, TEXT_COLUMN, list(entry), name, number)
        if PREDICTION in entry:
            raise UserError(f"{name}:{number}: the key {PREDICTION!r} is already there; rename it")
        yield Record(number, source, _content(entry[key], key, name, number))


def table_records(lines: Iterable[str], name: PathLike, separator: str, text_column: str = "") -> Iterator[Record]:
    """Yield the header, the rows and the blank lines of a table, and its line sep=; if it has one.

    separator: a tab, a comma or a semicolon.  text_column: the name of the text's column.
    Raises UserError, with file and line, for a text column that is missing and for rows of another width.
    """
    columns: list[str] = []
    text_at = 0
    for number, source, cells in _tsv(lines, text_column) if separator == "\t" else _csv(lines, separator, name):
        if cells is None:
            yield Record(number, source, None)
        elif not columns and (header := header_columns(cells, text_column)):
            columns, text_at = header
            if added := {PREDICTION, CONFIDENCE} & set(columns):
                raise UserError(f"{name}:{number}: the column {min(added)!r} is already there; rename it")
            yield Record(number, source, None, dict(zip(columns, cells, strict=True)))
        else:
            if not columns:
                columns, text_at = _without_header(cells, text_column, f"{name}:{number}", separator)
            if len(cells) != len(columns):
                raise UserError(f"{name}:{number}: expected {len(columns)} column{'s' * (len(columns) > 1)} separated by "
                                f"{SEPARATORS[separator]}, found {len(cells)} in {quoted(separator.join(cells))}; correct the line")
            yield Record(number, source, cells[text_at].strip(), dict(zip(columns, cells, strict=True)))


def header_columns(cells: Sequence[str], text_column: str = "") -> tuple[list[str], int] | None:
    """Return the names of a header's columns and the number of the text's; None for any other row.

    text_column: the name to look for; by default a usual one.  A name that is missing or there twice gets its number.
    """
    header = find_header(cells, Columns(text_column), labels=False)
    if header is None:
        return None
    names = [cell.strip() for cell in cells]
    return [name if name and names.index(name) == i else f"{name or 'column'}_{i + 1}" for i, name in enumerate(names)], header[1]


def _without_header(cells: Sequence[str], text_column: str, place: str, separator: str) -> tuple[list[str], int]:
    """Return the columns of a table whose first row is this: a text, or a label and a text."""
    if text_column:
        check_header(cells, Columns(text_column), place, labels=False)
    if len(cells) > 2:
        raise UserError(f"{place}: expected a header with the column {TEXT!r}, or label and text separated by "
                        f"{SEPARATORS[separator]}, found {len(cells)} columns in {quoted(separator.join(cells))}; name the column "
                        f"of the text with --set {TEXT_COLUMN}=NAME")
    return (["label", TEXT], 1) if len(cells) == 2 else ([TEXT], 0)


def _tsv(lines: Iterable[str], text_column: str) -> Iterator[Row]:
    """Yield the rows of a table separated by tabs: further tabs belong to the last column, and quotes have no meaning."""
    splits = 0
    for number, line in enumerate(lines, 1):
        text = (line if number > 1 else line.removeprefix(BYTE_ORDER_MARK)).rstrip("\r\n")
        if not text.strip():
            yield number, line, None
            continue
        if not splits:
            cells = text.split("\t")
            splits = len(cells) - 1 if header_columns(cells, text_column) or text_column else min(1, len(cells) - 1)
            splits = splits or -1                                # one column: a tab in it would be a mistake
        yield number, line, text.split("\t", splits)


def _csv(lines: Iterable[str], separator: str, name: PathLike) -> Iterator[Row]:
    """Yield the rows of a .csv; a row may have several lines."""
    pending: list[str] = []                                      # lines that csv has read and no row has taken
    first = 1                                                    # the number of the first of them
    lines = iter(lines)
    beginning = list(islice(lines, 1))
    if beginning and DECLARED.fullmatch(beginning[0].removeprefix(BYTE_ORDER_MARK)):
        yield first, beginning.pop(), None
        first = 2

    def kept() -> Iterator[str]:
        for line in beginning:
            pending.append(line)
            yield line.removeprefix(BYTE_ORDER_MARK)
        for line in lines:
            pending.append(line)
            yield line

    with long_fields():
        for number, cells in csv_rows(kept(), separator, name, first - 1):
            blank = number - first
            yield from ((first + i, line, None) for i, line in enumerate(pending[:blank]))
            source, first = "".join(pending[blank:]), first + len(pending)
            pending.clear()
            yield number, source, cells
    yield from ((first + i, line, None) for i, line in enumerate(pending))


def _content(value: Any, key: str, name: PathLike, number: int) -> str | tuple[str, ...]:
    """Return a text or the words of a sentence.  Raises UserError for any other value."""
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) and (word.strip() or value is word) for word in words):
        raise UserError(f"{name}:{number}: expected a text or a list of words that are not empty for {key!r}, found "
                        f"{quoted(json.dumps(value))}; correct it")
    for word in words:
        check_unicode(word, key, name, number)
        if value is not word and any(mark in word.strip() for mark in "\t\r\n"):
            raise UserError(f"{name}:{number}: expected words for {key!r}, found a tab or a line end in {quoted(word)}; split it")
    return tuple(word.strip() for word in words) if isinstance(value, list) else value
