"""Read word vectors in text form: fastText and word2vec with a header, GloVe without.

    2000000 300                  fastText, word2vec: words and dimension D; GloVe files begin with the first word
    de 0.0123 -0.4 ...           a word and D numbers, separated by single spaces; a trailing space is common

Only spaces (and tabs) separate fields.  Words may contain other Unicode white space, such as the no-break space in "10 000",
and some words of GloVe contain spaces (". . ."), so the last D fields are the numbers.  A line with more than D numbers is
still detected, since its word would end in a number.

Lines are read as Latin-1, where every byte is a character, and only the word is decoded: numbers need no decoding, and an
undecodable word loses one word, not the file.

Test: tests/weights/test_word_vectors.py
"""
from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain, islice, takewhile

import numpy as np

from minixl.data.lines import PathLike, quoted, raw_lines
from minixl.errors import UserError
from minixl.weights.word_vectors_lookup import WordVectors

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COUNT = re.compile(r"\d{1,15}", re.ASCII)
MARK = "\u00ef\u00bb\u00bf"                                # the UTF-8 byte order mark as Latin-1
FIRST_ROWS = 1024

Line = tuple[int, str]                                     # line number, text


def read_text_vectors(path: PathLike, *, top: int, report: Callable[[str], None], strict: bool = False) -> WordVectors:
    """See read_vectors in word_vectors.py."""
    with closing(_lines(path)) as lines:
        parser = _Parser(path, next(lines, None))
        for number, line in chain(parser.pending, lines):
            if top and parser.read == top:
                break
            parser.add(number, line)
        else:
            parser.check_count(report, strict)
    for fault, (number, count) in parser.faults.items():
        report(f"{path}:{number}: {fault}" + (f" ({count:,} such lines)" if count > 1 else ""))
    return WordVectors(list(parser.rows), parser.matrix(), path)


def stream_text_vectors(path: PathLike, rows: int, report: Callable[[str], None]) -> Iterator[tuple[list[str], np.ndarray]]:
    """See stream_vectors in word_vectors.py."""
    with closing(_lines(path)) as lines:
        parser = _Parser(path, next(lines, None))
        for number, line in chain(parser.pending, lines):
            parser.add(number, line)
            if parser.held == rows:
                yield parser.take()
        if parser.held:
            yield parser.take()
        parser.check_count(report)


def _lines(path: PathLike) -> Generator[Line, None, None]:
    """Yield the non-blank lines with their numbers."""
    for number, line in enumerate(raw_lines(path, "latin-1"), 1):
        text = line.rstrip(" \t\r\n").replace("\t", " ")
        if number == 1:
            text = text.removeprefix(MARK)
        if text:
            yield number, text


class _Parser:
    """Collects words and vectors line by line.

    dim       D, from the header or the first line        rows     word -> row of the matrix
    read      lines with a word                           faults   kind of omission -> first line number, count
    pending   the first line if it is a word and not a header
    """

    def __init__(self, path: PathLike, first: Line | None) -> None:
        if first is None:
            raise UserError(f"{path}: expected word vectors, found an empty file")
        self.path = path
        number, line = first
        fields = line.split(" ")
        self.promised: int | None = None
        self.pending = [first]
        if len(fields) == 2 and all(COUNT.fullmatch(field) for field in fields):
            self.promised, self.dim = map(int, fields)
            self.pending = []
        else:
            self.dim = sum(1 for _ in takewhile(NUMBER.fullmatch, reversed(fields[1:])))
        if not self.dim:
            raise UserError(f"{path}:{number}: expected a header 'words dimension' or a word and its numbers, found "
                            f"{quoted(line)}; give word vectors as text (.vec, .txt), or a fastText .bin")
        self.dim_source = f"as {'the header on ' if self.promised is not None else 'on '}line {number}"
        self.read = 0
        self.rows: dict[str, int] = {}
        self.faults: dict[str, tuple[int, int]] = {}
        self.first = 0                                     # words taken so far
        self._matrix = np.empty((0, 0), np.float32)

    @property
    def held(self) -> int:
        """Number of words read and not taken."""
        return len(self.rows) - self.first

    def take(self) -> tuple[list[str], np.ndarray]:
        """Return the words and vectors read since the last call, and forget these vectors."""
        words, matrix = list(islice(reversed(self.rows), self.held))[::-1], self._matrix[:self.held].copy()
        self.first = len(self.rows)
        return words, matrix

    def add(self, number: int, line: str) -> None:
        """Add a line, reading its numbers only if the word is kept."""
        self.read += 1
        stored, fields = self._split(number, line)
        try:
            word = stored.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return self._fault("a word that is not UTF-8 was left out", number)
        if not word.strip(" "):
            return self._fault("a line without a word was left out", number)
        if word in self.rows:
            return self._fault("a repeated word was left out; the first one counts", number)
        values = self._numbers(number, fields)             # (D,)
        row, self.rows[word] = self.held, len(self.rows)
        if row == len(self._matrix):                       # grow in place by half, without a second copy
            self._matrix.resize((max(FIRST_ROWS, row + row // 2), self.dim), refcheck=False)
        self._matrix[row] = values
        return None

    def matrix(self) -> np.ndarray:
        """Return the matrix (V, D) at its final size."""
        self._matrix.resize((len(self.rows), self.dim), refcheck=False)
        return self._matrix

    def check_count(self, report: Callable[[str], None], strict: bool = False) -> None:
        """Raise UserError for a file without words; report a file shorter or longer than its header says (strict: raise it)."""
        if not self.read:
            raise UserError(f"{self.path}: expected {self.promised:,} word vectors, found only a header; download it again")
        if self.promised not in (None, self.read):
            problem = (f"{self.path}: the header promises {self.promised:,} words, but the file has {self.read:,}"
                       + ("; it may be truncated, download it again" if self.read < (self.promised or 0) else ""))
            if strict:
                raise UserError(problem)
            report(problem)

    def _fault(self, fault: str, number: int) -> None:
        first, count = self.faults.get(fault, (number, 0))
        self.faults[fault] = first, count + 1

    def _split(self, number: int, line: str) -> tuple[str, list[str]]:
        """Split a line into the word, still in Latin-1, and its D fields."""
        word, _, rest = line.partition(" ")
        fields = rest.split(" ")
        if len(fields) == self.dim:
            return word, fields
        fields = line.split(" ")
        words = fields[:-self.dim]
        if len(fields) <= self.dim or NUMBER.fullmatch(words[-1]):
            raise UserError(f"{self.path}:{number}: expected {self.dim} numbers ({self.dim_source}), found {len(fields) - 1}; "
                            "the file is damaged or truncated, download it again")
        return " ".join(words), fields[-self.dim:]

    def _numbers(self, number: int, fields: list[str]) -> np.ndarray:
        try:
            with np.errstate(over="ignore"):
                values = np.array(fields, np.float32)
            if np.isfinite(values).all() and "_" not in "".join(fields):       # Python reads 1_0 as 10
                return values
        except ValueError:
            pass
        limit = float(np.finfo(np.float32).max)
        position = next(i for i, field in enumerate(fields)
                        if not NUMBER.fullmatch(field) or abs(float(field)) > limit)
        raise UserError(f"{self.path}:{number}: expected {self.dim} finite float32 numbers ({self.dim_source}), found "
                        f"{quoted(fields[position])} as number {position + 1}; the file is damaged, download it again")
