"""Texts in two languages: `en-es=FILE` or `en-es=FILE,FILE`, plain or gzip.

    one file    source TAB target, a pair a line and no header
    two files   line n of the one is the translation of line n of the other

Each of two files is read by its name.  A .tsv, .csv or .jsonl file (also .gz) is one of labelled texts and is read as
minixl.data.classification reads it, without its labels.  Any other file is raw text, a text a line; but if every line that
is not blank has exactly one tab, what stands before the tab is a label and is dropped.

A blank line counts as a line; a pair with an empty side is left out and counted.  A value that names a file is one file,
even with a comma in it; any other comma stands between two.  Test: tests/data/test_parallel_text.py
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minixl.data.classification import read_classification
from minixl.data.examples import Document
from minixl.data.lines import read_lines, shown
from minixl.errors import UserError

PAIR = re.compile(r"([^-=/,\s]+)-([^-=/,\s]+)")
LABELLED = (".tsv", ".csv", ".jsonl", ".ndjson")


class LanguagePair(NamedTuple):
    """What an option such as --parallel was given."""

    source: str
    target: str
    paths: tuple[Path, ...]      # one file with both languages, or one of each

    @property
    def name(self) -> str:
        """As it was written, en-es."""
        return f"{self.source}-{self.target}"


class PairedTexts(NamedTuple):
    source: list[Document]       # N of them
    target: list[Document]       # as many, if they are parallel
    left_out: int                # pairs with an empty side


def parse_pairs(texts: Sequence[str], option: str) -> list[LanguagePair]:
    """The values of an option.  Raises UserError for one that is not like en-es=FILE, and for a pair given twice."""
    pairs = [_parse_pair(text, option) for text in texts]
    names = [pair.name for pair in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"{option} {twice}=...: given twice; expected each pair of languages once")
    return pairs


def _parse_pair(text: str, option: str) -> LanguagePair:
    name, _, value = text.partition("=")
    match = PAIR.fullmatch(name)
    paths = [value] if Path(value).is_file() else value.split(",")
    if not match or not all(paths) or len(paths) > 2:
        raise UserError(f"{option} {text}: expected SOURCE-TARGET=FILE or SOURCE-TARGET=FILE,FILE, for example en-es=pairs.tsv "
                        "or en-es=en.txt,es.txt")
    return LanguagePair(match[1], match[2], tuple(map(Path, paths)))


def read_pair(pair: LanguagePair, *, encoding: str = "utf-8", limit: int = 0, least: int = 2,
              parallel: bool = True) -> PairedTexts:
    """The texts of both languages; the first `limit` of them, 0 is all.

    parallel=False takes two files with different numbers of lines as well; then the two lists are independent.
    Raises UserError for a file that cannot be read (minixl.data.lines), a line of one file without its tab, different
    numbers of lines, and for fewer than `least` texts.
    """
    source, target = _columns(pair.paths[0], encoding) if len(pair.paths) == 1 else (_texts(p, encoding) for p in pair.paths)
    paired = len(source) == len(target)
    if parallel and not paired:
        raise UserError(f"{pair.paths[1]}: expected as many lines as {pair.paths[0]}, {len(source)}, found {len(target)}; "
                        "line n must be the translation of line n")
    if paired:
        both = [bool(a.text and b.text) for a, b in zip(source, target, strict=True)]
        one = sum(bool(a.text) != bool(b.text) for a, b in zip(source, target, strict=True))
        source, target = ([side[i] for i, whole in enumerate(both) if whole] for side in (source, target))
    else:
        one, source, target = 0, [a for a in source if a.text], [b for b in target if b.text]
    texts = PairedTexts(source[:limit or None], target[:limit or None], one)
    found = min(len(texts.source), len(texts.target))
    if found < least:
        what = "pairs of texts" if parallel else "texts of each language"
        cure = "; raise --limit" if 0 < limit < least else "; give a larger file"
        raise UserError(f"{','.join(map(str, pair.paths))}: expected at least {least} {what}, found {found}{cure}")
    return texts


def _columns(path: Path, encoding: str) -> tuple[list[Document], list[Document]]:
    """Both columns of a file of pairs; a blank line is an empty pair."""
    source, target = [], []
    for number, line in enumerate(read_lines(path, encoding), 1):
        cells = line.split("\t") if line.strip() else ["", ""]
        if len(cells) != 2:
            found = f"{len(cells)} columns" if len(cells) > 2 else "no tab"
            cure = "keep two columns" if len(cells) > 2 else "write the translation after a tab, or give two files, FILE,FILE"
            raise UserError(f"{path}:{number}: expected source and target separated by a tab, found {found} in {shown(line)}; "
                            f"{cure}")
        source.append(Document(cells[0].strip(), None, number))
        target.append(Document(cells[1].strip(), None, number))
    _check_text(source + target, path, "a source, a tab and its translation a line")
    return source, target


def _texts(path: Path, encoding: str) -> list[Document]:
    """The texts of a file in one language; a blank line is an empty text."""
    if path.name.lower().removesuffix(".gz").endswith(LABELLED):
        return read_classification(path, encoding=encoding, labels=False)
    lines = list(read_lines(path, encoding))
    if all(line.count("\t") == 1 for line in lines if line.strip()):
        lines = [line.partition("\t")[2] for line in lines]
    texts = [Document(line.strip(), None, number) for number, line in enumerate(lines, 1)]
    _check_text(texts, path, "a sentence or paragraph a line")
    return texts


def _check_text(texts: Sequence[Document], path: Path, expected: str) -> None:
    if not any(document.text for document in texts):
        raise UserError(f"{path}: expected {expected}, found no text; is this the right file?")
