"""The header line of a file of labels and texts, and the names of its columns."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from minixl.data.lines import PathLike, quoted
from minixl.errors import UserError, nearest
from minixl.settings import Setting

LABEL_NAMES = ("label", "category", "intent", "topic", "class")
TEXT_NAMES = ("text", "sentence", "utterance")
TEXT_COLUMN, LABEL_COLUMN = "data.text_column", "data.label_column"
SETTINGS = {
    TEXT_COLUMN: Setting("", "name of the column, or key of JSON lines, that holds the text; empty: a usual name"),
    LABEL_COLUMN: Setting("", "name of the column, or key of JSON lines, that holds the label; empty: a usual name"),
}
NAME = re.compile(r"[^\W\d][\w-]{0,29}")          # of a column
MIN_ROWS = 2                                      # below a header that is recognised by its looks; fewer prove nothing


class Columns(NamedTuple):
    """The columns, or keys of JSON objects, that the user named; "" for the usual names."""

    text: str = ""
    label: str = ""

    def __bool__(self) -> bool:
        return bool(self.text or self.label)


USUAL = Columns()


def find_header(cells: Sequence[str], columns: Columns = USUAL, *, labels: bool = True) -> tuple[int | None, int] | None:
    """The columns of label and text in a header line, (None, i) if it names only the text; None for any other line.

    Without a column that the user named, a line of several columns must name both; with labels=False the text is enough.
    """
    label_at, text_at = _position(cells, columns.label, LABEL_NAMES), _position(cells, columns.text, TEXT_NAMES)
    if text_at is None or (label_at is None and labels and len(cells) > 1 and not columns.text):
        return None
    return label_at, text_at


def check_header(cells: Sequence[str], columns: Columns, place: str, labels: bool) -> None:
    """Raises UserError unless the line names the columns that the user named.  labels: whether the label is needed."""
    for setting, name, usual, needed in ((TEXT_COLUMN, columns.text, TEXT_NAMES, True),
                                         (LABEL_COLUMN, columns.label, LABEL_NAMES, labels)):
        if needed and _position(cells, name, usual) is None:
            expected = f"the column {quoted(name)}" if name else f"a column {' or '.join(usual)}"
            raise UserError(f"{place}: expected {expected} ({setting}) in the header line, found "
                            f"{', '.join(quoted(cell.strip()) for cell in cells)}{nearest(name, cells)}")


def missing_key(key: str, setting: str, keys: Sequence[str], path: PathLike, number: int) -> UserError:
    """Return the error about a JSON object that lacks a key.  key: as in the message.  keys: those that it has."""
    return UserError(f"{path}:{number}: expected the key {key}, found {', '.join(map(quoted, keys)) or 'none'}; add it, or name "
                     f"the key that holds it with --set {setting}=NAME")


def header_hint(rows: Sequence[Sequence[str]], columns: Columns = USUAL, *, labels: bool = True) -> str:
    """Return a hint where the first row looks like a header with names that find_header does not know, "" elsewhere.

    Its cells are names, different from each other and from all cells below them.  labels: whether the label is needed.
    """
    if len(rows) <= MIN_ROWS or columns or find_header(rows[0], labels=labels) is not None:
        return ""
    names, below = rows[0], rows[1:]
    if len(names) < 2 or len(set(names)) < len(names) or not all(map(NAME.fullmatch, names)):
        return ""
    cells = [[row[i] for row in below if i < len(row)] for i in range(len(names))]
    if any(name in column for name, column in zip(names, cells, strict=True)):
        return ""
    text_at, label_at = _position(names, "", TEXT_NAMES), _position(names, "", LABEL_NAMES)
    others = [i for i in range(len(names)) if i not in (text_at, label_at)]
    if text_at is None:                                              # the longest texts; of the others the fewest labels
        text_at = max(others, key=lambda i: (sum(len(cell.split()) for cell in cells[i]), i))
        others.remove(text_at)
    if label_at is None:
        label_at = min(others, key=lambda i: len(set(cells[i])))
    return (f"the first line looks like a header ({', '.join(names)}); name its columns with --text-column {names[text_at]}"
            + f" --label-column {names[label_at]}" * labels)


def _position(cells: Sequence[str], name: str, usual: Sequence[str]) -> int | None:
    """Return the first cell with the name, in the same case if there is one, or with one of the usual names."""
    stripped = [cell.strip() for cell in cells]
    if name in stripped and name:
        return stripped.index(name)
    wanted = (name.lower(),) if name else usual
    return next((i for i, cell in enumerate(stripped) if cell.lower() in wanted), None)
