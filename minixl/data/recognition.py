"""Recognise how the inputs of `minixl predict` are laid out, from the first lines: texts, columns, JSON lines or a table."""
from __future__ import annotations

import json
from collections.abc import Sequence

from minixl.data.conllu import is_conllu
from minixl.data.examples import TAGGING
from minixl.data.header import find_header
from minixl.data.hints import MIN_SPACED_COLUMNS
from minixl.data.json_lines import TOKENS
from minixl.data.layout import looks_like_columns
from minixl.data.lines import PathLike, file_format, quoted
from minixl.data.records import TEXT, header_columns
from minixl.data.schemes import parse_tag
from minixl.errors import UserError

TEXTS, COLUMNS, OBJECTS, COMMAS, TABS = LAYOUTS = ("text", "conll", "jsonl", "csv", "tsv")


def recognise_layout(lines: Sequence[str], name: PathLike, task: str, labels: Sequence[str], *, text_column: str = "",
                     columns: bool = False) -> str:
    """Return the layout of a file that begins with these lines.

    lines: without endings and byte order mark.  labels: of the model, whose classes may stand before the texts.  columns: whether
    columns are expected, so that lines that could be texts are columns.  Raises UserError if no line has the `text_column`.
    """
    rows, ending, tagger = [line for line in lines if line.strip()], file_format(name), task in TAGGING
    first = rows[0] if rows else ""
    if ending == ".jsonl" or _is_object(first, (text_column,) if text_column else object_keys(task)):
        return OBJECTS
    if text_column:
        return _table_with(text_column, first, ending, name)
    tabs, commas = (_header_cells(first, mark) for mark in "\t,")
    if tagger and (is_conllu(lines, name) or (columns and not find_header(tabs) and not find_header(commas))):
        return COLUMNS
    if ending == ".csv":
        return COMMAS
    header = header_columns(tabs) and not (tagger and (parse_tag(tabs[-1]) or tabs[-1].isupper()))     # text TAB O is no header
    enough = bool(rows) and (len(rows) >= MIN_SPACED_COLUMNS or bool(tabs))
    if tagger and not header and enough and looks_like_columns(task, rows):
        return COLUMNS
    if header or (not tagger and (ending == ".tsv" or (tabs and tabs[0] in labels))):
        return TABS
    return COMMAS if header_columns(commas) and not any(cell[:1] == " " for cell in commas) else TEXTS


def _header_cells(line: str, separator: str) -> list[str]:
    """Return the cells of a line that may be a header; none if it has one column."""
    cells = [cell.strip('"') for cell in line.split(separator)]
    return cells if len(cells) > 1 else []


def object_keys(task: str) -> tuple[str, ...]:
    """Return the keys that hold the words or the text of an object, the preferred one first."""
    return (TOKENS, TEXT) if task in TAGGING else (TEXT, TOKENS)


def _is_object(line: str, keys: Sequence[str]) -> bool:
    """Whether the line is a JSON object with one of these keys."""
    try:
        entry = json.loads(line)
    except (RecursionError, ValueError):
        return False
    return isinstance(entry, dict) and any(key in entry for key in keys)


def _table_with(text_column: str, first: str, ending: str, name: PathLike) -> str:
    if ending in (".csv", ".tsv"):
        return ending[1:]
    for layout, separator in ((TABS, "\t"), (COMMAS, ",")):
        if header_columns(_header_cells(first, separator) or [first], text_column):
            return layout
    raise UserError(f"{name}: expected {text_column!r} among the columns of a header or the keys of a JSON object, found "
                    f"{quoted(first)}; correct --text-column")
