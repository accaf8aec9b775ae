"""Read column files: one word and its tag per line, a blank line between sentences (CoNLL 2002 and 2003, WikiNEuRal, ...).

    Dresden <tab> B-LOC            any number of columns; the word in the first, the tag in the last

Columns are separated by tabs if the file has any, else by runs of spaces.  No-break and other Unicode spaces belong to
the word.  -DOCSTART- lines are skipped.  A line that starts with "# " is a comment if it stands outside a sentence and does not
have as many columns as the file's other lines, so the word "#" remains a word.  CoNLL-U is recognised (minixl/data/conllu.py).
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from minixl.data import conllu
from minixl.data.examples import Sentence
from minixl.data.lines import BYTE_ORDER_MARK, PathLike, quoted, read_lines
from minixl.data.schemes import convert, detect_scheme
from minixl.errors import UserError, nearest


class ConllFile(NamedTuple):
    sentences: list[Sentence]
    scheme: str                # of the tags in sentences: "IOB2", or "none" for plain tags and where tags were not read
    path: str
    file_scheme: str = "none"  # of the tags in the file: "IOB1", "IOB2", "IOBES", "BIOUL" or "none"
    repaired: int = 0          # tags that violate file_scheme; they were read as conlleval reads them


class _Layout(NamedTuple):
    tabs: bool            # columns are separated by tabs, else by spaces
    columns: int          # that most lines have
    example: int          # index of a line with that many
    conllu: bool = False


def read_conll(path: PathLike, *, encoding: str = "utf-8", tags: bool = True, scheme: str | None = None) -> ConllFile:
    """Read the sentences of a column file and convert span tags to IOB2.

    tags=False reads only the words (one column is enough).  scheme: of the tags in the file, detected by default; a given
    scheme also accepts tags that detection rejects.
    Raises UserError, with file and line, for a file that cannot be read (minixl.data.lines) or has no sentence, for differing
    numbers of columns, an empty word or tag, and mixed schemes.
    """
    return parse_conll(read_lines(path, encoding), str(path), tags=tags, scheme=scheme)


def parse_conll(lines: Iterable[str], name: str, *, tags: bool = True, scheme: str | None = None) -> ConllFile:
    """Parse lines, such as those of standard input, as read_conll does.  name: used in messages instead of a path."""
    lines = list(lines)
    layout = _layout(lines, name)
    needed = 1 + tags
    sentences: list[Sentence] = []
    for numbers in _sentences(lines, layout):
        rows = [_cells(lines[i], layout.tabs) for i in numbers]
        if layout.conllu:
            sentences.append(_conllu_sentence(numbers, rows, name, tags))
            continue
        for i, row in zip(numbers, rows):
            _check_row(row, f"{name}:{i + 1}", layout, needed, tags)
            if not row[0]:
                raise UserError(f"{name}:{i + 1}: expected a word in column 1, found nothing; add the word or make the "
                                "line blank")
            if tags and not row[-1]:
                raise UserError(f"{name}:{i + 1}: expected a tag in column {len(row)}, found nothing; add the tag (O outside "
                                "entities)")
        words, last = tuple(row[0] for row in rows), tuple(row[-1] for row in rows) if tags else None
        sentences.append(Sentence(words, last, numbers[0] + 1))
    if not sentences:
        raise UserError(f"{name}: expected one word per line, found no sentence; is this the right file?")
    return in_iob2(sentences, name, scheme) if tags else ConllFile(sentences, "none", name)


def check_words(file: ConllFile) -> None:
    """Raises UserError if the first column only numbers the words."""
    if not any(letter.isalpha() for sentence in file.sentences for word in sentence.words for letter in word):
        first = file.sentences[0]
        raise UserError(f"{file.path}:{first.line}: expected words in the first column, found no letters but entries such "
                        f"as {quoted(first.words[0])}; keep only the columns of words and tags, for example with cut -f 2,4")


def check_labels(file: ConllFile, labels: Sequence[str], hint: Callable[[str], str] = lambda tag: "") -> None:
    """Raises UserError for the first tag that is not in `labels`: its line, the nearest label and hint(tag)."""
    known = set(labels)
    for sentence in file.sentences:
        for i, tag in enumerate(sentence.tags or ()):
            if tag not in known:
                as_iob2 = "" if file.file_scheme in ("IOB2", "none") else f" (in IOB2; the file is {file.file_scheme})"
                raise UserError(f"{sentence.place(file.path, i)}: expected one of the tags {_listed(labels)}, found "
                                f"{tag!r}{as_iob2} for the word {quoted(sentence.words[i])}{nearest(tag, labels)}{hint(tag)}")


def add_column(lines: Iterable[str], predictions: Iterable[Sequence[str | tuple[str, str]]], name: str = "", *,
               entities: bool = False) -> Iterator[str]:
    """Add a column of tags, or of confidences and one of tags, to the lines that hold words; leave everything else as it is.

    CoNLL-U keeps its ten columns: a part of speech replaces UPOS, an entity tag goes into MISC as NE=B-PER (entities=True), and a
    confidence goes there as Confidence=0.98.

    lines: with their endings, as from raw_lines.  predictions: one sequence per sentence, a tag or (confidence, tag) for each
    word, in the order of parse_conll.  name: as given to parse_conll.  The separator is the file's; a file of one column gets a
    tab.  Raises ValueError if the predictions do not fit the lines.
    """
    lines = list(lines)
    bare = [line.removeprefix(BYTE_ORDER_MARK).rstrip("\r\n") for line in lines]
    layout = _layout(bare, name)
    separator = "\t" if layout.tabs or layout.columns < 2 else " "
    written = 0                                                    # lines yielded so far
    for rows, values in zip_longest(_sentences(bare, layout), predictions):
        if rows is None or values is None or len(values) != len(rows):
            got = "no prediction" if values is None else f"a prediction of {len(values)} values"
            raise ValueError("predictions: expected " + ("no more sentences" if rows is None else
                             f"{len(rows)} values for the sentence on line {rows[0] + 1}") + f", found {got}")
        for i, value in zip(rows, values):
            yield from lines[written:i]
            body = lines[i].rstrip("\r\n")
            *confidence, tag = (value,) if isinstance(value, str) else value
            yield (conllu.with_tag(body, tag, entities, *confidence) if layout.conllu
                   else separator.join([body, *confidence, tag])) + lines[i][len(body):]
            written = i + 1
    yield from lines[written:]


def _conllu_sentence(numbers: Sequence[int], rows: Sequence[list[str]], name: str, tags: bool) -> Sentence:
    for i, row in zip(numbers, rows):
        conllu.check_row(row, f"{name}:{i + 1}", tags)
    return Sentence(tuple(row[conllu.FORM] for row in rows), tuple(row[conllu.UPOS] for row in rows) if tags else None,
                    numbers[0] + 1, tuple(i + 1 for i in numbers))


def _layout(lines: list[str], name: str) -> _Layout:
    """Find how most of the lines are divided.  lines: without ending and byte order mark."""
    if conllu.is_conllu(lines, name):
        return _Layout(True, len(conllu.COLUMNS), 0, conllu=True)
    words = [i for i, line in enumerate(lines) if not _blank(line) and not _docstart(line)]
    certain = [i for i in words if not lines[i].startswith("# ")] or words     # the others may be comments
    tabs = any("\t" in lines[i] for i in certain)
    counts = Counter(_columns(lines[i], tabs) for i in certain)
    if not counts:
        return _Layout(tabs, 0, 0)
    columns = counts.most_common(1)[0][0]
    return _Layout(tabs, columns, next(i for i in certain if _columns(lines[i], tabs) == columns))


def _sentences(lines: list[str], layout: _Layout) -> Iterator[Sequence[int]]:
    """Yield the lines, counted from 0, of the words of every sentence."""
    if not layout.conllu:
        yield from _blocks(lines, layout)
        return
    for block in _blocks(lines, layout):
        if rows := [i for i in block if conllu.holds_word(lines[i])]:
            yield rows


def _blocks(lines: list[str], layout: _Layout) -> Iterator[range]:
    """Yield the lines between blank ones, without the comments before them."""
    start: int | None = None
    for i, line in enumerate(lines):
        if _blank(line) or _docstart(line):
            if start is not None:
                yield range(start, i)
            start = None
        elif start is None:
            comment = line.startswith("# ") and _columns(line, layout.tabs) != layout.columns
            start = None if comment else i
    if start is not None:
        yield range(start, len(lines))


def _check_row(row: list[str], place: str, layout: _Layout, needed: int, tags: bool) -> None:
    """Raises UserError for too few columns or an unexpected number of them, which means they were split in the wrong place.

    With tabs and without tags any number will do, as the word is still the first column.
    """
    separator = "tabs" if layout.tabs else "spaces"
    columns = f"{len(row)} in {quoted(' '.join(row))}"
    if layout.columns < needed and len(row) < needed:
        raise UserError(f"{place}: expected at least {needed} column{'s' * (needed > 1)}{' (word and tag)' * tags} "
                        f"separated by {separator}, found {columns}; is this a file of tagged words?")
    if len(row) == layout.columns or (layout.tabs and not tags and len(row) >= needed):
        return
    fix = "complete the line" if len(row) < layout.columns else "if words contain spaces, separate the columns by tabs"
    if layout.tabs:
        fix = "separate its columns by tabs too" if len(row) == 1 else "give every line the same columns"
    if len(" ".join(row).split()) > layout.columns + 2:
        fix += "; if this is a text, put each word on its own line"
    raise UserError(f"{place}: expected {layout.columns} column{'s' * (layout.columns > 1)} separated by {separator} as on line "
                    f"{layout.example + 1}, found {columns}; {fix}")


def in_iob2(sentences: list[Sentence], name: str, scheme: str | None) -> ConllFile:
    """Convert span tags to IOB2.  scheme: of these tags; None detects it."""
    sequences = [sentence.tags or () for sentence in sentences]
    scheme = scheme or detect_scheme(sequences, lambda i, j: f"{name}:{sentences[i].line_of(j)}")
    if scheme == "none":
        return ConllFile(sentences, "none", name)
    converted, repaired = [], 0
    for sentence, tags in zip(sentences, sequences):
        try:
            valid = convert(tags, scheme, scheme)
        except UserError as error:
            raise UserError(f"{name}: the sentence on line {sentence.line}: {error}") from None
        repaired += sum(tag != other for tag, other in zip(tags, valid))
        iob2 = valid if scheme == "IOB2" else convert(tags, scheme, "IOB2")
        converted.append(replace(sentence, tags=tuple(iob2)))
    return ConllFile(converted, "IOB2", name, scheme, repaired)


def _cells(line: str, tabs: bool) -> list[str]:
    """Split a line into its columns, without the spaces around them."""
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
