"""Labelled texts: label TAB text (.tsv, and any other name), .csv, or .jsonl; each also packed with gzip.

    .tsv      everything after the first tab is the text; quotes mean nothing
    .csv      RFC 4180: quoted fields may hold commas, quotes and line ends
    .jsonl    {"label": "travel", "text": "..."} a line; other keys are passed over

A first line that names the columns ("label" or "category", "intent", "topic", "class"; "text" or "sentence",
"utterance") is a header and may give them in any order among others; without one they are label, text.
"""
from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from minixl.data.examples import Document
from minixl.data.lines import MARK, PathLike, kind_of, raw_lines, read_lines, shown
from minixl.errors import UserError, nearest

LABEL_NAMES = ("label", "category", "intent", "topic", "class")
TEXT_NAMES = ("text", "sentence", "utterance")
LONGEST = 2**31 - 1                       # characters of a text in a .csv; Python's own limit is 131,072

DIVIDERS = {"\t": "a tab", ",": "commas", ";": "semicolons"}
CURES = {"\t": "give the file a name that ends in .tsv", ",": "give the file a name that ends in .csv",
         ";": "write the file again with tabs, as .tsv, or with commas, as .csv"}

Row = tuple[int, list[str]]               # the line it starts on, from 1, and its cells


def read_classification(path: PathLike, *, encoding: str = "utf-8", labels: bool = True) -> list[Document]:
    """The labelled texts of a file.

    labels=False reads the texts only: of a labelled file, whose labels are passed over, or of one with a text a line.
    Raises UserError, with file and line, for a file that cannot be read (minixl.data.lines), holds no text, or has a
    line without a text or (labels=True) without a label.
    """
    if kind_of(path) == ".jsonl":
        rows = _jsonl_rows(read_lines(path, encoding), path, labels)
    elif kind_of(path) == ".csv":
        with _long_fields():
            cells = list(_csv_rows(raw_lines(path, encoding), path))
        rows = _columns(cells, path, labels, ",")
    else:
        rows = _tsv_rows(read_lines(path, encoding), path, labels)
    documents = [_document(label, text, line, path, labels) for line, (label, text) in rows]
    if not documents:
        raise UserError(f"{path}: expected a text a line, found none; is this the right file?")
    return documents


def check_document_labels(documents: Iterable[Document], labels: Sequence[str], path: PathLike) -> None:
    """Raises UserError for the first label that is not among these, with its line and the nearest one."""
    known = set(labels)
    for document in documents:
        if document.label is not None and document.label not in known:
            some = ", ".join(labels[:12]) + (f", ... ({len(labels)} in all)" if len(labels) > 12 else "")
            raise UserError(f"{path}:{document.line}: expected one of the labels {some}, found {shown(document.label)}"
                            f"{nearest(document.label, labels)}")


def _document(label: str, text: str, line: int, path: PathLike, labels: bool) -> Document:
    label, text = label.strip(), text.strip()
    if labels and not label:
        raise UserError(f"{path}:{line}: expected a label, found nothing before {shown(text)}; write the label")
    if not text:
        raise UserError(f"{path}:{line}: expected a text{f' after the label {shown(label)}' if labels else ''}, "
                        "found nothing; write it or delete the line")
    return Document(text, label if labels else None, line)


def _tsv_rows(lines: Iterable[str], path: PathLike, labels: bool) -> Iterator[Row]:
    rows = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    header = bool(rows) and header_of(rows[0][1].split("\t")) is not None
    most = rows[0][1].count("\t") if header else 1        # further tabs belong to the last column
    return _columns([(i, line.split("\t", most)) for i, line in rows], path, labels, "\t")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Python's csv has one limit for the whole process; it is put back."""
    limit = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _csv_rows(lines: Iterable[str], path: PathLike) -> Iterator[Row]:
    """lines with their endings: a quoted field may go over several."""
    reader = csv.reader((line if i else line.removeprefix(MARK) for i, line in enumerate(lines)), strict=True)
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path}:{start}: expected comma-separated values, found a row that is not ({error}); "
                            "put texts with commas in double quotes and double the quotes within") from None
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = reader.line_num + 1


def _columns(rows: list[Row], path: PathLike, labels: bool, mark: str) -> Iterator[Row]:
    """Label and text of every row; label "" in a file of texts alone.  mark: what divides the columns."""
    header, divider = header_of(rows[0][1]) if rows else None, DIVIDERS[mark]
    if rows and not header:
        _check_divider(rows, path, labels, mark)
    width = len(rows[0][1]) if header else max((len(cells) for _, cells in rows), default=0)
    label_at, text_at = header or ((0, 1) if width > 1 else (None, 0))
    if rows and labels and label_at is None:
        raise UserError(f"{path}:{rows[0][0]}: expected label and text separated by {divider}, found "
                        f"{shown(' '.join(rows[0][1]))}; write the label before the text")
    wanted = width if header else min(width, 2)
    for line, cells in rows[1 if header else 0:]:
        if len(cells) != wanted:
            what = "label and text" if wanted == 2 else f"{wanted} columns"
            cure = "quote texts with commas, or name the columns in a first line" if len(cells) > wanted else \
                "write the label before the text" if labels else "give every line a label, or none"
            raise UserError(f"{path}:{line}: expected {what} separated by {divider}, found {len(cells)} "
                            f"column{'s' * (len(cells) != 1)} in {shown(' '.join(cells))}; {cure}")
        yield line, ["" if label_at is None else cells[label_at], cells[text_at]]


def _check_divider(rows: list[Row], path: PathLike, labels: bool, mark: str) -> None:
    """Raises UserError where something else divides the columns: the first line names them so, or, of a labelled file in which
    some line has one column only, it stands after a word in every line."""
    whole = mark.join(rows[0][1])
    one_column = labels and any(len(cells) == 1 for _, cells in rows)
    for other, name in DIVIDERS.items():
        parts = [cells[0].partition(other) for _, cells in rows]
        after_a_word = one_column and all(found and len(label.split()) == 1 for label, found, _ in parts)
        if other != mark and (header_of(whole.split(other)) or after_a_word):
            raise UserError(f"{path}:{rows[0][0]}: expected label and text separated by {DIVIDERS[mark]}, found {name} in "
                            f"{shown(whole)}; {CURES[other]}")


def header_of(cells: Sequence[str]) -> tuple[int | None, int] | None:
    """Where label and text stand, if these cells name them: (None, 0) for texts alone; None if they are no header."""
    names = [cell.strip().lower() for cell in cells]
    label_at = next((i for i, name in enumerate(names) if name in LABEL_NAMES), None)
    text_at = next((i for i, name in enumerate(names) if name in TEXT_NAMES), None)
    if text_at is None or (label_at is None and len(names) > 1):
        return None
    return label_at, text_at


def _jsonl_rows(lines: Iterable[str], path: PathLike, labels: bool) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: expected a JSON object a line, found {shown(line)} "
                            f"({error.msg}, column {error.colno}); write it on one line") from None
        if not isinstance(entry, dict):
            raise UserError(f"{path}:{number}: expected a JSON object with the keys label and text, "
                            f"found {shown(line)}; write {{\"label\": ..., \"text\": ...}}")
        text = _value(entry, "text", path, number, lambda v: isinstance(v, str), "a string")
        label = ""
        if labels:
            label = _value(entry, "label", path, number, lambda v: type(v) in (str, int), "a string or a number")
        yield number, [label, text]


def _value(entry: dict[str, object], key: str, path: PathLike, number: int,
           fits: Callable[[object], bool], kind: str) -> str:
    if key not in entry:
        keys = ", ".join(map(shown, entry)) or "none"
        raise UserError(f"{path}:{number}: expected the key {key!r}, found {keys}; name it {key!r}")
    value = entry[key]
    if not fits(value):
        raise UserError(f"{path}:{number}: expected {kind} for {key!r}, found {shown(json.dumps(value))}; correct it")
    text = str(value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):        # JSON can write half of a pair; UTF-8 cannot
        raise UserError(f"{path}:{number}: expected whole characters in {key!r}, found half of a surrogate pair; "
                        "write the file again with the other half")
    return text
