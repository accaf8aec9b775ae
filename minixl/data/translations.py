"""Texts in two languages: `en-es=FILE` or `en-es=FILE,FILE`, plain or gzip.

    one file    source TAB target, one pair per line, no header
    two files   text n of one file is the translation of text n of the other
    four files  two to train on and two to test on (--probe): FILE,FILE,TEST,TEST; these need not be translations

A file of one language may have any form that minixl reads (minixl.data.layout): raw text, one text per line; labelled
texts, without their labels; or columns, whose sentences are the texts, with spaces between words, without their tags.  It is
read in the same way for every model, so that models are compared on the same texts.

In raw text a blank line counts as a text; pairs with an empty side are skipped and counted.  A value that is the name of a
file is one file, even if it contains a comma; otherwise a comma separates two files.  Test: tests/data/test_translations.py
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minixl.data.corpus import read_unlabelled
from minixl.data.examples import Document
from minixl.data.header import USUAL, Columns
from minixl.data.hints import looks_like_labels
from minixl.data.layout import detect_layout, looks_like_columns
from minixl.data.limits import FIRST, kept_by_limit
from minixl.data.lines import quoted, read_lines
from minixl.errors import UserError

PAIR = re.compile(r"([^-=/,\s]+)-([^-=/,\s]+)")
TASK = "classification"            # read whole texts, whatever the model's task
PROBE = "--probe"                  # the option that also accepts four files


class LanguagePair(NamedTuple):
    """The value of an option such as --translations."""

    source: str
    target: str
    paths: tuple[Path, ...]      # one file with both languages, or one or two of each

    @property
    def name(self) -> str:
        """As on the command line: en-es."""
        return f"{self.source}-{self.target}"


class PairedTexts(NamedTuple):
    source: list[Document]       # N of them
    target: list[Document]       # N, too, if they are translations
    left_out: int                # pairs with an empty side


def parse_pairs(texts: Sequence[str], option: str) -> list[LanguagePair]:
    """Parse the values of an option.  Raises UserError for one that is not like en-es=FILE, and for a repeated pair."""
    pairs = [_parse_pair(text, option) for text in texts]
    names = [pair.name for pair in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise UserError(f"{option} {repeated}=...: given twice; expected each pair of languages once")
    return pairs


def _parse_pair(text: str, option: str) -> LanguagePair:
    name, _, value = text.partition("=")
    match = PAIR.fullmatch(name)
    paths = [value] if Path(value).is_file() else value.split(",")
    if not match or not all(paths) or len(paths) not in ((1, 2, 4) if option == PROBE else (1, 2)):
        four = " (to train on, to test on: FILE,FILE,TEST,TEST)" if option == PROBE else ""
        raise UserError(f"{option} {text}: expected SOURCE-TARGET=FILE or SOURCE-TARGET=FILE,FILE{four}, for example "
                        "en-es=pairs.tsv or en-es=en.txt,es.txt")
    if match[1] == match[2]:
        raise UserError(f"{option} {text}: expected two languages, found {match[1]} twice; to compare two texts in one language, "
                        f"use two names, such as {match[1]}1-{match[1]}2")
    return LanguagePair(match[1], match[2], tuple(map(Path, paths)))


def read_probed(pair: LanguagePair, *, encoding: str = "utf-8", limit: int = 0, sample: str = FIRST, least: int = 2,
                columns: Columns = USUAL) -> list[PairedTexts]:
    """Read the texts that a discriminator is trained and tested on: one pair of lists for both, or two pairs from four files."""
    return [read_pair(pair._replace(paths=pair.paths[i:i + 2]), encoding=encoding, limit=limit, sample=sample, least=least,
                      translated=False, columns=columns)
            for i in range(0, len(pair.paths), 2)]


def read_pair(pair: LanguagePair, *, encoding: str = "utf-8", limit: int = 0, sample: str = FIRST, least: int = 2,
              translated: bool = True, columns: Columns = USUAL) -> PairedTexts:
    """Read the texts of both languages, or `limit` of them (0: all).  columns: those that the user named, for two files.

    translated=False also accepts two files with different numbers of texts; then the two lists are independent.
    Raises UserError for a file that cannot be read (minixl.data.lines), a line of one file without a tab, different
    numbers of texts, and fewer than `least` texts.
    """
    source, target = _columns(pair.paths[0], encoding) if len(pair.paths) == 1 else (
        _texts(language, path, encoding, columns) for language, path in zip(pair[:2], pair.paths, strict=True))
    paired = len(source) == len(target)
    if translated and not paired:
        raise UserError(f"{pair.paths[1]}: expected as many texts as {pair.paths[0]}, {len(source)}, found {len(target)}; "
                        "text n must be the translation of text n")
    if paired:
        complete = [bool(a.text and b.text) for a, b in zip(source, target, strict=True)]
        left_out = sum(bool(a.text) != bool(b.text) for a, b in zip(source, target, strict=True))
        source, target = ([text for text, keep in zip(side, complete, strict=True) if keep] for side in (source, target))
    else:
        left_out, source, target = 0, [a for a in source if a.text], [b for b in target if b.text]
    kept = [[side[i] for i in kept_by_limit(len(side), limit, sample)] for side in (source, target)]
    texts = PairedTexts(kept[0], kept[1], left_out)
    count = min(len(texts.source), len(texts.target))
    if count < least:
        what = "pairs of texts" if translated else "texts of each language"
        fix = "; raise --limit" if 0 < limit < least else "; give a larger file"
        raise UserError(f"{','.join(map(str, pair.paths))}: expected at least {least} {what}, found {count}{fix}")
    return texts


def _columns(path: Path, encoding: str) -> tuple[list[Document], list[Document]]:
    """Read both columns of a file of pairs; a blank line is an empty pair."""
    source, target = [], []
    lines = list(read_lines(path, encoding))
    if looks_like_columns(TASK, [line for line in lines if line.strip()]):
        raise UserError(f"{path}: expected source and target separated by a tab, found words and their tags; put the sentences "
                        "of each language in a separate file, FILE,FILE")
    for number, line in enumerate(lines, 1):
        cells = line.split("\t") if line.strip() else ["", ""]
        if len(cells) != 2:
            problem = f"{len(cells)} columns" if len(cells) > 2 else "no tab"
            fix = "keep two columns" if len(cells) > 2 else "write the translation after a tab, or give two files, FILE,FILE"
            raise UserError(f"{path}:{number}: expected source and target separated by a tab, found {problem} in {quoted(line)}; "
                            f"{fix}")
        source.append(Document(cells[0].strip(), None, number))
        target.append(Document(cells[1].strip(), None, number))
    _check_text(source + target, path, "a text, a tab and its translation on each line")
    _check_sides([(a.text, b.text) for a, b in zip(source, target, strict=True) if a.text and b.text], path)
    return source, target


def _check_sides(pairs: Sequence[tuple[str, str]], path: Path) -> None:
    """Raise UserError when one column of a file of pairs contains labels."""
    sides = list(zip(*pairs))
    for number, (column, other) in enumerate((sides, sides[::-1]) if sides else (), 1):
        if looks_like_labels(column, other):
            raise UserError(f"{path}: expected source and target separated by a tab, found labels such as {quoted(column[-1])} in "
                            f"column {number}; put the texts of each language in a separate file, FILE,FILE")


def _texts(language: str, path: Path, encoding: str, columns: Columns) -> list[Document]:
    """Read the texts of a file in one language; in raw text a blank line is an empty text."""
    lines = list(read_lines(path, encoding))
    if detect_layout(TASK, path, lines, columns) != "lines":
        return read_unlabelled(TASK, language, path, encoding=encoding, columns=columns).documents()
    texts = [Document(line.strip(), None, number) for number, line in enumerate(lines, 1)]
    _check_text(texts, path, "a sentence or paragraph on each line")
    return texts


def _check_text(texts: Sequence[Document], path: Path, expected: str) -> None:
    if not any(document.text for document in texts):
        raise UserError(f"{path}: expected {expected}, found no text; is this the right file?")
