"""Texts in two languages: `en-es=FILE` or `en-es=FILE,FILE`, plain or gzip.

    one file    source TAB target, a pair a line and no header
    two files   text n of the one is the translation of text n of the other
    four files  two to train on and two to test on (--probe): FILE,FILE,TEST,TEST; these need not be translations

A file of one language may have any form minixl reads (minixl.data.corpus.form_of): raw text, a text a line; labelled texts,
without their labels; or columns, whose sentences are the texts, their words a space apart, without their tags.  It is read
alike for every model, so that the models are compared on the same texts.

In raw text a blank line counts as a text; a pair with an empty side is left out and counted.  A value that names a file is
one file, even with a comma in it; any other comma stands between two.  Test: tests/data/test_translations.py
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minixl.data.corpus import form_of, in_columns, read_unlabelled
from minixl.data.examples import Document
from minixl.data.hints import labels_of_texts
from minixl.data.lines import read_lines, shown
from minixl.errors import UserError

PAIR = re.compile(r"([^-=/,\s]+)-([^-=/,\s]+)")
TASK = "classification"            # whole texts are wanted, whatever the model is for
PROBE = "--probe"                  # the option that takes four files too


class LanguagePair(NamedTuple):
    """What an option such as --translations was given."""

    source: str
    target: str
    paths: tuple[Path, ...]      # one file with both languages, or one of each, or two of each

    @property
    def name(self) -> str:
        """As it was written, en-es."""
        return f"{self.source}-{self.target}"


class PairedTexts(NamedTuple):
    source: list[Document]       # N of them
    target: list[Document]       # as many, if they are translations
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
    if not match or not all(paths) or len(paths) not in ((1, 2, 4) if option == PROBE else (1, 2)):
        four = " (to train on, to test on: FILE,FILE,TEST,TEST)" if option == PROBE else ""
        raise UserError(f"{option} {text}: expected SOURCE-TARGET=FILE or SOURCE-TARGET=FILE,FILE{four}, for example "
                        "en-es=pairs.tsv or en-es=en.txt,es.txt")
    if match[1] == match[2]:
        raise UserError(f"{option} {text}: expected two languages, found {match[1]} twice; for two texts of one language give them "
                        f"two names, such as {match[1]}1-{match[1]}2")
    return LanguagePair(match[1], match[2], tuple(map(Path, paths)))


def read_probed(pair: LanguagePair, *, encoding: str = "utf-8", limit: int = 0, least: int = 2) -> list[PairedTexts]:
    """What a discriminator is trained and tested on: one pair of lists for both, or, of four files, one for each."""
    return [read_pair(pair._replace(paths=pair.paths[i:i + 2]), encoding=encoding, limit=limit, least=least, translated=False)
            for i in range(0, len(pair.paths), 2)]


def read_pair(pair: LanguagePair, *, encoding: str = "utf-8", limit: int = 0, least: int = 2,
              translated: bool = True) -> PairedTexts:
    """The texts of both languages; the first `limit` of them, 0 is all.

    translated=False takes two files with different numbers of texts as well; then the two lists are independent.
    Raises UserError for a file that cannot be read (minixl.data.lines), a line of one file without its tab, different
    numbers of texts, and for fewer than `least` of them.
    """
    source, target = _columns(pair.paths[0], encoding) if len(pair.paths) == 1 else (
        _texts(language, path, encoding) for language, path in zip(pair[:2], pair.paths, strict=True))
    paired = len(source) == len(target)
    if translated and not paired:
        raise UserError(f"{pair.paths[1]}: expected as many texts as {pair.paths[0]}, {len(source)}, found {len(target)}; "
                        "text n must be the translation of text n")
    if paired:
        both = [bool(a.text and b.text) for a, b in zip(source, target, strict=True)]
        one = sum(bool(a.text) != bool(b.text) for a, b in zip(source, target, strict=True))
        source, target = ([side[i] for i, whole in enumerate(both) if whole] for side in (source, target))
    else:
        one, source, target = 0, [a for a in source if a.text], [b for b in target if b.text]
    texts = PairedTexts(source[:limit or None], target[:limit or None], one)
    found = min(len(texts.source), len(texts.target))
    if found < least:
        what = "pairs of texts" if translated else "texts of each language"
        cure = "; raise --limit" if 0 < limit < least else "; give a larger file"
        raise UserError(f"{','.join(map(str, pair.paths))}: expected at least {least} {what}, found {found}{cure}")
    return texts


def _columns(path: Path, encoding: str) -> tuple[list[Document], list[Document]]:
    """Both columns of a file of pairs; a blank line is an empty pair."""
    source, target = [], []
    lines = list(read_lines(path, encoding))
    if in_columns(TASK, [line for line in lines if line.strip()]):
        raise UserError(f"{path}: expected source and target separated by a tab, found words and their tags; give the sentences "
                        "of each language in a file of their own, FILE,FILE")
    for number, line in enumerate(lines, 1):
        cells = line.split("\t") if line.strip() else ["", ""]
        if len(cells) != 2:
            found = f"{len(cells)} columns" if len(cells) > 2 else "no tab"
            cure = "keep two columns" if len(cells) > 2 else "write the translation after a tab, or give two files, FILE,FILE"
            raise UserError(f"{path}:{number}: expected source and target separated by a tab, found {found} in {shown(line)}; "
                            f"{cure}")
        source.append(Document(cells[0].strip(), None, number))
        target.append(Document(cells[1].strip(), None, number))
    _check_text(source + target, path, "a source, a tab and its translation a line")
    _check_sides([(a.text, b.text) for a, b in zip(source, target, strict=True) if a.text and b.text], path)
    return source, target


def _check_sides(pairs: Sequence[tuple[str, str]], path: Path) -> None:
    """Raises UserError where one column of a file of pairs holds labels."""
    sides = list(zip(*pairs))
    for number, (column, other) in enumerate((sides, sides[::-1]) if sides else (), 1):
        if labels_of_texts(column, other):
            raise UserError(f"{path}: expected source and target separated by a tab, found labels such as {shown(column[-1])} in "
                            f"column {number}; give the texts of each language in a file of their own, FILE,FILE")


def _texts(language: str, path: Path, encoding: str) -> list[Document]:
    """The texts of a file in one language; in raw text a blank line is an empty one."""
    lines = list(read_lines(path, encoding))
    if form_of(TASK, path, lines) != "lines":
        return read_unlabelled(TASK, language, path, encoding=encoding).documents()
    texts = [Document(line.strip(), None, number) for number, line in enumerate(lines, 1)]
    _check_text(texts, path, "a sentence or paragraph a line")
    return texts


def _check_text(texts: Sequence[Document], path: Path, expected: str) -> None:
    if not any(document.text for document in texts):
        raise UserError(f"{path}: expected {expected}, found no text; is this the right file?")
