"""Recognise how the inputs of `minixl predict` are laid out, from the first lines: texts, columns, JSON lines or a table."""
from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from minixl.data.conllu import is_conllu
from minixl.data.csv_rows import DECLARED, SEPARATORS, csv_rows, find_separator
from minixl.data.examples import TAGGING
from minixl.data.header import Columns, check_header, find_header, header_hint
from minixl.data.hints import MIN_SPACED_COLUMNS
from minixl.data.json_lines import TOKENS
from minixl.data.layout import looks_like_columns
from minixl.data.lines import BYTE_ORDER_MARK, PathLike, file_format
from minixl.data.records import TEXT, header_columns
from minixl.data.schemes import parse_tag
from minixl.errors import UserError

TEXTS, COLUMNS, OBJECTS, CSV, TSV = ("text", "conll", "jsonl", "csv", "tsv")
TABLES = (CSV, TSV)


def recognise_layout(lines: Sequence[str], name: PathLike, task: str, labels: Sequence[str], *, text_column: str = "",
                     columns: bool = False) -> str:
    """Return the layout of a file that begins with these lines.

    lines: without endings and byte order mark.  labels: of the model, whose classes may stand before the texts.  columns: whether
    columns are expected, so that lines that could be texts are columns.  Raises UserError if no line has the `text_column`.
    """
    rows, ending, tagger = [line for line in lines if line.strip()], file_format(name), task in TAGGING
    first = rows[0] if rows else ""
    if ending == ".jsonl" or _is_object(first, () if text_column else object_keys(task)):
        return OBJECTS
    if text_column:
        return _table_with(text_column, first, ending, f"{name}:{1 + list(lines).index(first) if rows else 1}")
    tabs, *marked = (_header_cells(first, mark) for mark in ("\t", *SEPARATORS))
    declared = DECLARED.fullmatch(first) is not None
    if tagger and not declared and (is_conllu(lines, name) or (columns and not any(map(find_header, (tabs, *marked))))):
        return COLUMNS
    if declared or ending == ".csv":
        return CSV
    header = header_columns(tabs) and not (tagger and (parse_tag(tabs[-1]) or tabs[-1].isupper()))     # text TAB O is no header
    enough = bool(rows) and (len(rows) >= MIN_SPACED_COLUMNS or bool(tabs))
    if tagger and not header and enough and looks_like_columns(task, rows):
        return COLUMNS
    if header or (not tagger and (ending == ".tsv" or (tabs and tabs[0] in labels))):
        return TSV
    return CSV if any(header_columns(cells) and not any(cell[:1] == " " for cell in cells) for cells in marked) else TEXTS


def _header_cells(line: str, separator: str) -> list[str]:
    """Return the cells of a line that may be a header; none if it has one column."""
    cells = [cell.strip('"') for cell in line.split(separator)]
    return cells if len(cells) > 1 else []


def object_keys(task: str) -> tuple[str, ...]:
    """Return the keys that hold the words or the text of an object, the preferred one first."""
    return (TOKENS, TEXT) if task in TAGGING else (TEXT, TOKENS)


def _is_object(line: str, keys: Sequence[str]) -> bool:
    """Whether the line is a JSON object, with one of these keys if there are any."""
    try:
        entry = json.loads(line)
    except (RecursionError, ValueError):
        return False
    return isinstance(entry, dict) and (not keys or any(key in entry for key in keys))


def separator_of(layout: str, lines: Sequence[str], name: PathLike, text_column: str = "") -> str:
    """Return what separates the cells of a table that begins with these lines, with their endings; "" for other layouts."""
    if layout != CSV:
        return "\t" if layout == TSV else ""
    bare = [line if i else line.removeprefix(BYTE_ORDER_MARK) for i, line in enumerate(lines)]
    return find_separator(bare, name, Columns(text_column), labels=False, more=True)


def table_hint(separator: str, lines: Sequence[str], name: PathLike, labels: Sequence[str]) -> str:
    """Return a hint where a table that begins with these lines has a header without a usual name.

    lines: with their endings.  labels: of the model, which are no names of columns.  The reader refuses a .csv of more than two
    columns itself.
    """
    bare = [line if i else line.removeprefix(BYTE_ORDER_MARK) for i, line in enumerate(lines)]
    rows: list[list[str]] = []
    if separator == "\t":
        rows = [line.rstrip("\r\n").split("\t") for line in bare if line.strip()]
    else:
        before = 1 if bare and DECLARED.fullmatch(bare[0]) else 0
        with suppress(UserError):                           # the lines may end inside a row; the reader reports any mistake
            rows.extend(cells for _, cells in csv_rows(bare[before:], separator, name))
    refused = separator != "\t" and bool(rows) and len(rows[0]) > 2
    return header_hint(rows, labels=False) if rows and not refused and set(rows[0]).isdisjoint(labels) else ""


def _table_with(text_column: str, first: str, ending: str, place: str) -> str:
    """Raises UserError, unless the name or a declaration makes this a table, if no separator gives the column."""
    if ending in (".csv", ".tsv"):
        return ending[1:]
    if DECLARED.fullmatch(first):
        return CSV
    headers = {mark: _header_cells(first, mark) or [first] for mark in ("\t", *SEPARATORS)}
    for mark, cells in headers.items():
        if header_columns(cells, text_column):
            return TSV if mark == "\t" else CSV
    check_header(max(headers.values(), key=len), Columns(text_column), place, labels=False)
    return TEXTS
