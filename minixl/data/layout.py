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

FEW_TEXTS = 3                      # fewer lines prove nothing, unless they end as sentences do
SENTENCE_ENDS = tuple(".!?…。")


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


def check_labelled(task: str, path: Path, lines: Sequence[str], columns: Columns = USUAL) -> None:
    """Raises UserError if a labelled file is one for another kind of task, or raw text.

    lines: the first of the file, without their endings.  Where they are not conclusive, the readers report the first line that is
    wrong.
    """
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith(("# ", "-DOCSTART-"))]
    if not rows or file_format(path) == ".jsonl" or (columns and find_header(rows[0][1].split("\t"), columns)):
        return
    place, bare = f"{path}:{rows[0][0]}", [line for _, line in rows]
    if task not in TAGGING:
        between = any(not line.strip() for line in lines[rows[0][0]:rows[-1][0]])
        if file_format(path) != ".csv" and (is_conllu(lines, path) or (between and looks_like_columns(task, bare))):
            raise UserError(f"{place}: expected a label and a text on each line, found columns of words and tags in "
                            f"{quoted(bare[0])}; use the task ner for entity tags, pos for part-of-speech tags")
    elif not is_conllu(lines, path):
        if _labels_and_texts(bare, path):
            raise UserError(f"{place}: expected one word and its tag on each line, found a label and a text in "
                            f"{quoted(bare[0])}; use the task classification for labelled texts")
        if _raw_text(task, bare):
            raise UserError(f"{place}: expected one word and its tag on each line, found texts such as {quoted(bare[0])}; the "
                            "labels are missing (train reads text without labels as --unlabelled)")


def _labels_and_texts(rows: Sequence[str], path: Path) -> bool:
    """Whether every line has a tab (in a .csv a comma or a semicolon) and most have a text of several words after it, or a header
    names both."""
    for mark in ",;" if file_format(path) == ".csv" else "\t":
        texts = [row.rpartition(mark)[2].strip() for row in rows]
        if all(mark in row for row in rows) and 2 * sum(" " in text for text in texts) > len(rows):
            return True
    headers = (find_header(rows[0].split(mark)) for mark in "\t,;")
    return any(header is not None and header[0] is not None for header in headers)


def _raw_text(task: str, rows: Sequence[str]) -> bool:
    """Whether most lines have more than two words, no tabs, and end as sentences do or, if they differ in their number of words,
    nearly never in a tag.

    The words of one line may be three columns by chance, but not of FEW_TEXTS lines.
    """
    words = [row.split() for row in rows]
    if any("\t" in row for row in rows) or 2 * sum(len(row) > 2 for row in words) <= len(rows):
        return False
    if 2 * sum(row[-1].endswith(SENTENCE_ENDS) for row in words) > len(rows):
        return True
    tags = sum(parse_tag(row[-1]) is not None if task == "ner" else row[-1].isupper() for row in words)
    return len({len(row) for row in words}) > 1 and len(rows) >= FEW_TEXTS and 10 * tags < len(rows)


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
