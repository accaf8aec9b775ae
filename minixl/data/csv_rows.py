"""Read the rows of a .csv file, RFC 4180: quoted fields may hold separators, quotes and line ends.

The separator is a comma or, as Excel writes where the comma is the decimal mark, a semicolon; a first line `sep=;` names it.
"""
from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from minixl.data.header import Columns, find_header, header_hint
from minixl.data.lines import BYTE_ORDER_MARK, PathLike, raw_lines
from minixl.errors import UserError

MAX_FIELD = 2**31 - 1                     # characters of a text; Python's default limit is 131,072
COMMA, SEMICOLON = SEPARATORS = (",", ";")
DECLARED = re.compile(r"sep=([,;])[\r\n]*")

Row = tuple[int, list[str]]               # line number, from 1, where the row starts, and its cells


def read_csv(path: PathLike, encoding: str, columns: Columns, labels: bool) -> tuple[list[Row], str]:
    """Return the rows that are not blank, and the separator.  labels=False: texts alone may hold the same semicolons on each line.

    Raises UserError for a row that cannot be divided.
    """
    lines = list(raw_lines(path, encoding))
    if lines:
        lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
    before = 1 if lines and DECLARED.fullmatch(lines[0]) else 0
    separator = find_separator(lines, path, columns, labels)
    with long_fields():
        return list(csv_rows(lines[before:], separator, path, before)), separator


def find_separator(lines: Sequence[str], path: PathLike, columns: Columns, labels: bool, *, more: bool = False) -> str:
    """Return the separator of a file that begins with these lines, without a byte order mark.  labels: as for read_csv.

    more: whether other lines follow, so that the last row may be incomplete.
    """
    if declared := DECLARED.fullmatch(lines[0]) if lines else None:
        return declared[1]
    if not any(SEMICOLON in line for line in lines):
        return COMMA
    with long_fields():
        ratings = {mark: _rating(lines, mark, path, columns, labels, more) for mark in SEPARATORS}
    return max(SEPARATORS, key=lambda mark: ratings[mark])                      # the comma if both are as good


def _rating(lines: Sequence[str], separator: str, path: PathLike, columns: Columns, labels: bool, more: bool) -> tuple[int, int]:
    """Rate how well a separator fits: 3 a header, 2 two columns everywhere, 1 more; then the fewer labels, the better."""
    rows: list[list[str]] = []
    unread = iter(lines)
    try:
        for _, cells in csv_rows(unread, separator, path):
            rows.append(cells)
            if len(rows) == 1 and find_header(cells, columns, labels=labels):
                return 3, 0
    except UserError:
        if not more or next(unread, None) is not None:                          # else the lines end inside a row
            return 0, 0
    # possible where no header divides the cells: neither one with a column that the user named, nor one that looks like it
    texts_alone = not labels and not columns and not header_hint(rows, labels=False)
    kinds = len({cells[0] for cells in rows})
    if min(map(len, rows), default=0) < 2 or (separator == SEMICOLON and texts_alone and 2 * kinds > len(rows)):
        return 0, 0
    return 2 if max(map(len, rows)) == 2 else 1, -kinds


@contextmanager
def long_fields() -> Iterator[None]:
    """Raise the limit of Python's csv, which is global, and restore it afterwards."""
    limit = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def csv_rows(lines: Iterable[str], separator: str, path: PathLike, before: int = 0) -> Iterator[Row]:
    """Yield the rows that are not blank, and read no further than the row that is yielded.

    lines: with their endings, as a quoted field may span several, and without a byte order mark.  before: how many other lines of
    the file precede them.  Raises UserError for a row that cannot be divided.
    """
    reader = csv.reader(lines, strict=True, delimiter=separator)
    start = before + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            name = "comma" if separator == COMMA else "semicolon"
            raise UserError(f"{path}:{start}: expected {name}-separated values, found an invalid row ({error}); put texts with "
                            f"{name}s in double quotes and double any quotes inside them") from None
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = before + reader.line_num + 1
