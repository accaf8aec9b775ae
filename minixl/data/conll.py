"""Column files: a word a line with its tag, a blank line between sentences (CoNLL 2002 and 2003, WikiNEuRal, ...).

    Dresden <tab> B-LOC            any number of columns; the word in the first, the tag in the last

Columns are separated by tabs if the file has any, else by runs of spaces.  No-break and other Unicode spaces belong to
the word.  -DOCSTART- lines are skipped.  A line starting "# " is a comment if no sentence has started and it has not as
many columns as the file's other lines, so the word "#" stays a word.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from minixl.data.examples import Sentence
from minixl.data.lines import MARK, PathLike, read_lines, shown
from minixl.data.schemes import convert, detect_scheme
from minixl.errors import UserError, nearest


class ConllFile(NamedTuple):
    sentences: list[Sentence]
    scheme: str           # of the tags in sentences: "IOB2", or "none" for plain tags (and where tags were not read)
    path: str
    found: str = "none"   # the scheme the file is written in: "IOB1", "IOB2", "IOBES", "BIOUL", "none"
    repaired: int = 0     # tags that do not obey that scheme; they were read as conlleval reads them


class _Layout(NamedTuple):
    tabs: bool            # columns are separated by tabs, else by spaces
    columns: int          # of most lines
    example: int          # index of a line that has as many


def read_conll(path: PathLike, *, encoding: str = "utf-8", tags: bool = True, scheme: str | None = None) -> ConllFile:
    """The sentences of a column file, span tags converted to IOB2.

    tags=False reads the words only (one column is enough).  scheme: how the tags are written, else it is detected;
    naming it also accepts what detection refuses.
    Raises UserError, with file and line, for a file that cannot be read (minixl.data.lines), has no sentence, has lines
    with another number of columns, an empty word or tag, or mixed schemes.
    """
    return parse_conll(read_lines(path, encoding), str(path), tags=tags, scheme=scheme)


def parse_conll(lines: Iterable[str], name: str, *, tags: bool = True, scheme: str | None = None) -> ConllFile:
    """As read_conll, from lines that were read already (standard input); name stands for the path in messages."""
    lines = list(lines)
    layout = _layout(lines)
    needed = 1 + tags
    sentences: list[Sentence] = []
    for start, stop in _sentences(lines, layout):
        rows = [_cells(lines[i], layout.tabs) for i in range(start, stop)]
        for i, row in enumerate(rows, start):
            _check_row(row, f"{name}:{i + 1}", layout, needed, tags)
            if not row[0]:
                raise UserError(f"{name}:{i + 1}: expected a word in column 1, found nothing; write a word there or make it a "
                                "blank line")
            if tags and not row[-1]:
                raise UserError(f"{name}:{i + 1}: expected a tag in column {len(row)}, found nothing; write the tag, or O "
                                "outside names")
        sentences.append(Sentence(tuple(row[0] for row in rows), tuple(row[-1] for row in rows) if tags else None, start + 1))
    if not sentences:
        raise UserError(f"{name}: expected a word a line, found no sentence; is this the right file?")
    return _in_iob2(sentences, name, scheme) if tags else ConllFile(sentences, "none", name)


def check_words(file: ConllFile) -> None:
    """Raises UserError where the first column numbers the words: in CoNLL-U, for one, they are in the second."""
    if not any(letter.isalpha() for sentence in file.sentences for word in sentence.words for letter in word):
        first = file.sentences[0]
        raise UserError(f"{file.path}:{first.line}: expected words in the first column, found none that has a letter, but "
                        f"{shown(first.words[0])}; keep the columns of words and tags, for example of CoNLL-U with cut -f 2,4")


def check_labels(file: ConllFile, labels: Sequence[str]) -> None:
    """Raises UserError for the first tag of the file that is not among the labels: its line and the nearest one."""
    known = set(labels)
    for sentence in file.sentences:
        for i, tag in enumerate(sentence.tags or ()):
            if tag not in known:
                as_iob2 = "" if file.found in ("IOB2", "none") else f" (in IOB2; the file is {file.found})"
                raise UserError(f"{file.path}:{sentence.line + i}: expected one of the tags {_listed(labels)}, found "
                                f"{tag!r}{as_iob2} for the word {shown(sentence.words[i])}{nearest(tag, labels)}")


def add_column(lines: Iterable[str], predictions: Iterable[Sequence[str]]) -> Iterator[str]:
    """Every line as it was, with its ending (lines as raw_lines gives them), and on the lines of words one more column.

    predictions: one sequence a sentence, one value a word, in the order parse_conll reads them.  Raises ValueError
    where they do not fit the lines.  The separator is the file's; a file of one column gets a tab.
    """
    lines = list(lines)
    bare = [line.removeprefix(MARK).rstrip("\r\n") for line in lines]
    layout = _layout(bare)
    separator = "\t" if layout.tabs or layout.columns < 2 else " "
    done = 0
    for run, values in zip_longest(_sentences(bare, layout), predictions):
        if run is None or values is None or len(values) != run[1] - run[0]:
            found = "no prediction" if values is None else f"a prediction of {len(values)} values"
            raise ValueError("predictions: expected " + ("no more sentences" if run is None else
                             f"{run[1] - run[0]} values for the sentence on line {run[0] + 1}") + f", found {found}")
        yield from lines[done:run[0]]
        for line, value in zip(lines[run[0]:run[1]], values):
            body = line.rstrip("\r\n")
            yield f"{body}{separator}{value}{line[len(body):]}"
        done = run[1]
    yield from lines[done:]


def _layout(lines: list[str]) -> _Layout:
    """How the lines are divided, judged by most of them.  lines: without ending and byte order mark."""
    words = [i for i, line in enumerate(lines) if not _blank(line) and not _docstart(line)]
    certain = [i for i in words if not lines[i].startswith("# ")] or words     # the others may be comments
    tabs = any("\t" in lines[i] for i in certain)
    counts = Counter(_columns(lines[i], tabs) for i in certain)
    if not counts:
        return _Layout(tabs, 0, 0)
    columns = counts.most_common(1)[0][0]
    return _Layout(tabs, columns, next(i for i in certain if _columns(lines[i], tabs) == columns))


def _sentences(lines: list[str], layout: _Layout) -> Iterator[tuple[int, int]]:
    """First line and first line after it, from 0, of every sentence: its words stand on all lines between."""
    start: int | None = None
    for i, line in enumerate(lines):
        if _blank(line) or _docstart(line):
            if start is not None:
                yield start, i
            start = None
        elif start is None:
            comment = line.startswith("# ") and _columns(line, layout.tabs) != layout.columns
            start = None if comment else i
    if start is not None:
        yield start, len(lines)


def _check_row(row: list[str], place: str, layout: _Layout, needed: int, tags: bool) -> None:
    """Raises UserError for too few columns, or for a number of columns that says they were divided in the wrong place.
    With tabs and without tags more or fewer do no harm: the word is where it should be."""
    divider = "tabs" if layout.tabs else "spaces"
    found = f"{len(row)} in {shown(' '.join(row))}"
    if layout.columns < needed and len(row) < needed:
        raise UserError(f"{place}: expected at least {needed} column{'s' * (needed > 1)}{' (word and tag)' * tags} "
                        f"separated by {divider}, found {found}; is this a file of tagged words?")
    if len(row) == layout.columns or (layout.tabs and not tags and len(row) >= needed):
        return
    cure = "complete the line" if len(row) < layout.columns else "a word with spaces needs tabs between the columns"
    if layout.tabs:
        cure = "separate its columns by tabs too" if len(row) == 1 else "give every line the same columns"
    raise UserError(f"{place}: expected {layout.columns} columns separated by {divider} as on line "
                    f"{layout.example + 1}, found {found}; {cure}")


def _in_iob2(sentences: list[Sentence], name: str, scheme: str | None) -> ConllFile:
    """The same sentences with span tags in IOB2, and what scheme they were in (detected unless it is given)."""
    sequences = [sentence.tags or () for sentence in sentences]
    found = scheme or detect_scheme(sequences, lambda i, j: f"{name}:{sentences[i].line + j}")
    if found == "none":
        return ConllFile(sentences, "none", name)
    converted, repaired = [], 0
    for sentence, tags in zip(sentences, sequences):
        try:
            proper = convert(tags, found, found)
        except UserError as error:
            raise UserError(f"{name}: the sentence on line {sentence.line}: {error}") from None
        repaired += sum(tag != other for tag, other in zip(tags, proper))
        iob2 = proper if found == "IOB2" else convert(tags, found, "IOB2")
        converted.append(Sentence(sentence.words, tuple(iob2), sentence.line))
    return ConllFile(converted, "IOB2", name, found, repaired)


def _cells(line: str, tabs: bool) -> list[str]:
    """The columns of a line, without the spaces around them."""
    if tabs:
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in line.split(" ") if cell]


def _columns(line: str, tabs: bool) -> int:
    return line.count("\t") + 1 if tabs else len(_cells(line, tabs))


def _blank(line: str) -> bool:
    return not line.strip(" \t\r")


def _docstart(line: str) -> bool:
    return line.startswith("-DOCSTART-") and line[10:11] in ("", " ", "\t")


def _listed(labels: Sequence[str], most: int = 12) -> str:
    return ", ".join(labels[:most]) + (f", ... ({len(labels)} in all)" if len(labels) > most else "")
