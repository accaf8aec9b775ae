"""Recognise the layout of a text file: columns of words and tags, fields (a label and a text), or raw lines."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minixl.data.conllu import is_conllu
from minixl.data.examples import TAGGING
from minixl.data.header import USUAL, Columns, find_header
from minixl.data.json_lines import has_tokens
from minixl.data.lines import file_format, quoted
from minixl.data.schemes import parse_tag
from minixl.errors import UserError


def detect_layout(task: str, path: Path, lines: Sequence[str], columns: Columns = USUAL) -> str:
    """The layout of a file with these lines: "columns" (looks_like_columns), "tokens" (JSON lines), "fields" (a label and a text)
    or raw "lines".  columns: those that the user named."""
    rows = [line for line in lines if line.strip()]
    if file_format(path) in (".csv", ".jsonl"):
        return "tokens" if file_format(path) == ".jsonl" and has_tokens(rows, columns) else "fields"
    if rows and columns and find_header(rows[0].split("\t"), columns):
        return "fields"
    if is_conllu(lines, path) or looks_like_columns(task, rows):
        return "columns"
    has_tabs = bool(rows) and all("\t" in line for line in rows)
    if has_tabs and task in TAGGING:
        _check_fields(path, lines)
    return "fields" if has_tabs or (task not in TAGGING and file_format(path) == ".tsv") else "lines"


def looks_like_columns(task: str, lines: Sequence[str]) -> bool:
    """Whether these non-blank lines each hold a word and its tag rather than raw text.

    True for CoNLL-U, and if all lines have the same number of columns and the last is a tag: an entity tag for ner, ASCII without
    lower-case letters for pos, either for classification.  For ner and pos, lines with tabs may differ in length, and the last
    column may be anything that could be a tag; but if it is a text on any line, or if most lines have a space before the first
    tab, the lines are labels and texts.  Comments and -DOCSTART- lines are ignored.
    """
    if is_conllu(lines):
        return True
    rows = [line for line in lines if not line.startswith(("# ", "-DOCSTART-"))]
    tabs = any("\t" in line for line in rows)
    if not rows or (tabs and not all("\t" in line for line in rows)):
        return False
    cells = [line.split("\t" if tabs else None) for line in rows]
    if tabs and task in TAGGING:
        texts = not all(_may_be_tag(row[-1]) for row in cells) or 2 * sum(" " in row[0].strip() for row in cells) > len(cells)
        return not texts and find_header(cells[0]) is None
    tags = [row[-1].strip() for row in cells]
    tagged = (task != "pos" and all(map(parse_tag, tags))) or (task != "ner" and _may_be_pos_tags(tags))
    return tagged and len(cells[0]) > 1 and len({len(row) for row in cells}) == 1


def _check_fields(path: Path, lines: Sequence[str]) -> None:
    """Raises UserError for tab-separated lines that are neither words with tags nor labels with texts."""
    rows = [(number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip()]
    if find_header(rows[0][1]) is not None:
        return
    wrong = [(number, row) for number, row in rows if len(row) != 2]
    if not wrong and all(_may_be_tag(row[1]) for _, row in rows):
        wrong = rows                                                   # the text comes before the label
    if wrong:
        number, row = wrong[0]
        raise UserError(f"{path}:{number}: expected a word and its tag, or a label, a tab and a text, found "
                        f"{quoted(' TAB '.join(row))}; give only the texts, one per line")


def _may_be_tag(cell: str) -> bool:
    """Whether this may be a tag of any kind: one word, ASCII or an entity tag; texts in Chinese or Thai have no spaces."""
    tag = cell.strip()
    return " " not in tag and (tag.isascii() or parse_tag(tag) is not None)


def _may_be_pos_tags(tags: Sequence[str]) -> bool:
    """Whether these may be part-of-speech tags: ASCII, no spaces or lower case, and not all numbers or punctuation."""
    return all(tag.isascii() and tag == tag.upper() and len(tag.split()) == 1 for tag in tags) and any(map(str.isupper, tags))
