"""Read labelled texts: label TAB text (.tsv or any other name), .csv or .jsonl, each optionally gzipped.

    .tsv      everything after the first tab is the text; quotes have no special meaning
    .csv      commas or semicolons, see minixl/data/csv_rows.py
    .jsonl    {"label": "travel", "text": "..."} per line; other keys are ignored

A first line that names the columns ("label" or "category", "intent", "topic", "class"; "text" or "sentence",
"utterance"; or as the user named them) is a header; the columns may be in any order, among others.  Without a header they are
label, text.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from minixl.data.csv_rows import Row, read_csv
from minixl.data.examples import Document
from minixl.data.header import LABEL_COLUMN, TEXT_COLUMN, USUAL, Columns, check_header, find_header, header_hint, missing_key
from minixl.data.json_lines import check_unicode, read_objects
from minixl.data.lines import PathLike, file_format, quoted, read_lines
from minixl.errors import UserError, nearest

SEPARATORS = {"\t": "a tab", ",": "commas", ";": "semicolons"}
WRONG_SEPARATOR_FIXES = {"\t": "rename the file to end in .tsv", ",": "rename the file to end in .csv",
                         ";": "rename the file to end in .csv"}


def read_classification(path: PathLike, *, encoding: str = "utf-8", labels: bool = True,
                        columns: Columns = USUAL) -> list[Document]:
    """Read the labelled texts of a file.

    labels=False reads only the texts: it ignores the labels of a labelled file and also takes a file with one text per line.
    columns: if the user named any, the file must have them in its header line, or as keys.
    Raises UserError, with file and line, for a file that cannot be read (minixl.data.lines) or has no text, and for a line
    without a text or (labels=True) without a label.
    """
    hint = ""
    if file_format(path) == ".jsonl":
        rows = _jsonl_rows(read_lines(path, encoding), path, labels, columns)
    else:
        table, separator = read_csv(path, encoding, columns, labels) if file_format(path) == ".csv" else \
            (_tsv_rows(read_lines(path, encoding)), "\t")
        hint = header_hint([cells for _, cells in table], columns, labels=labels)
        if separator == "\t":
            table = _with_tabs_in_texts(table, columns, labels)
        rows = _label_and_text(table, path, labels, separator, columns, hint)
    documents = [_document(label, text, line, path, labels) for line, (label, text) in rows]
    if not documents:
        raise UserError(f"{path}: expected one text per line, found none; is this the right file?")
    return [replace(documents[0], hint=hint), *documents[1:]] if hint else documents


def check_document_labels(documents: Iterable[Document], labels: Sequence[str], path: PathLike,
                          hint: Callable[[str], str] = lambda label: "") -> None:
    """Raises UserError for the first label that is not in `labels`: its line, the nearest label and hint(label)."""
    known = set(labels)
    for document in documents:
        if document.label is not None and document.label not in known:
            if document.hint:
                raise header_error(document, path)
            listed = ", ".join(labels[:12]) + (f", ... ({len(labels)} in all)" if len(labels) > 12 else "")
            raise UserError(f"{document.place(path)}: expected one of the labels {listed}, found {quoted(document.label)}"
                            f"{nearest(document.label, labels)}{hint(document.label)}")


def header_error(document: Document, path: PathLike) -> UserError:
    """An error about a header that was read as a text.  path: of the document's corpus."""
    return UserError(f"{document.place(path)}: expected a label and a text, but {document.hint}")


def _document(label: str, text: str, line: int, path: PathLike, labels: bool) -> Document:
    label, text = label.strip(), text.strip()
    if labels and not label:
        raise UserError(f"{path}:{line}: expected a label before {quoted(text)}, found none; add the label")
    if not text:
        raise UserError(f"{path}:{line}: expected a text{f' after the label {quoted(label)}' if labels else ''}, "
                        "found nothing; add it or delete the line")
    return Document(text, label if labels else None, line)


def _tsv_rows(lines: Iterable[str]) -> list[Row]:
    """Return the rows that are not blank, divided at every tab."""
    return [(i, line.split("\t")) for i, line in enumerate(lines, 1) if line.strip()]


def _with_tabs_in_texts(rows: list[Row], columns: Columns, labels: bool) -> list[Row]:
    """Return the rows with as many cells as the header has, or two: further tabs belong to the last column."""
    header = bool(rows) and (bool(columns) or find_header(rows[0][1], labels=labels) is not None)
    last = len(rows[0][1]) - 1 if header else 1
    return [(i, cells if len(cells) <= last else [*cells[:last], "\t".join(cells[last:])]) for i, cells in rows]


def _label_and_text(rows: list[Row], path: PathLike, labels: bool, separator: str, columns: Columns, hint: str) -> Iterator[Row]:
    """Yield [label, text] of every row, with the label "" if the file has only texts.  hint: see header_hint."""
    if rows and columns:
        check_header(rows[0][1], columns, f"{path}:{rows[0][0]}", labels)
    header, separated_by = find_header(rows[0][1], columns, labels=labels) if rows else None, SEPARATORS[separator]
    if rows and not header:
        _check_separator(rows, path, labels, separator)
    width = len(rows[0][1]) if header else max((len(cells) for _, cells in rows), default=0)
    label_at, text_at = header or ((0, 1) if width > 1 else (None, 0))
    if rows and labels and label_at is None:
        raise UserError(f"{path}:{rows[0][0]}: expected label and text separated by {separated_by}, found "
                        f"{quoted(separator.join(rows[0][1]))}; put the label before the text")
    expected = width if header else min(width, 2)
    for line, cells in rows[1 if header else 0:]:
        if len(cells) != expected:
            needed = "label and text" if expected == 2 else f"{expected} columns"
            marks = separated_by if separator in ",;" else "tabs"
            if len(cells) < expected:
                fix = "complete the row" if header else "put the label before the text" if labels else "label every line or none"
            elif hint and len(rows[0][1]) > expected:
                fix = hint
            else:
                otherwise = f"; {hint}" if hint else "" if header else ", or name the columns in a header line"
                fix = f"quote texts with {marks}{otherwise}"
            raise UserError(f"{path}:{line}: expected {needed} separated by {separated_by}, found {len(cells)} "
                            f"column{'s' * (len(cells) != 1)} in {quoted(separator.join(cells))}; {fix}")
        yield line, ["" if label_at is None else cells[label_at], cells[text_at]]


def _check_separator(rows: list[Row], path: PathLike, labels: bool, separator: str) -> None:
    """Raises UserError where the columns have another separator: it divides a header, or, in a labelled file with a one-column
    line, it follows the first word of every line."""
    first_line = separator.join(rows[0][1])
    one_column = labels and any(len(cells) == 1 for _, cells in rows)
    for other, name in SEPARATORS.items():
        parts = [cells[0].partition(other) for _, cells in rows]
        after_a_word = one_column and all(mark and len(label.split()) == 1 for label, mark, _ in parts)
        if other != separator and (find_header(first_line.split(other)) or after_a_word):
            raise UserError(f"{path}:{rows[0][0]}: expected label and text separated by {SEPARATORS[separator]}, found {name} in "
                            f"{quoted(first_line)}; {WRONG_SEPARATOR_FIXES[other]}")


def _jsonl_rows(lines: Iterable[str], path: PathLike, labels: bool, columns: Columns) -> Iterator[Row]:
    text_key, label_key = columns.text or "text", columns.label or "label"
    for number, entry in read_objects(lines, path, f"{label_key} and {text_key}", f'{{"{label_key}": ..., "{text_key}": ...}}'):
        text = _value(entry, text_key, TEXT_COLUMN, path, number, lambda v: isinstance(v, str), "a string")
        label = ""
        if labels:
            label = _value(entry, label_key, LABEL_COLUMN, path, number, lambda v: type(v) in (str, int), "a string or a number")
        yield number, [label, text]


def _value(entry: dict[str, object], key: str, setting: str, path: PathLike, number: int,
           fits: Callable[[object], bool], kind: str) -> str:
    if key not in entry:
        raise missing_key(repr(key), setting, list(entry), path, number)
    value = entry[key]
    if not fits(value):
        raise UserError(f"{path}:{number}: expected {kind} for {key!r}, found {quoted(json.dumps(value))}; correct it")
    text = str(value)
    check_unicode(text, key, path, number)
    return text
