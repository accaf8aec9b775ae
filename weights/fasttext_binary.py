"""Read fastText's binary files (.bin): Bojanowski et al. 2017 (arXiv:1607.04606).

Little endian (i32 etc. as in struct), as fastText 0.9 writes it:

    i32 793712314   i32 version 12
    i32 dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate   f64 t
    i32 entries, words, labels   i64 tokens   i64 pruned (-1: not pruned)
    (word in UTF-8, a zero byte, i64 count, i8 type: 0 word, 1 label) per entry, words first
    (i32 n-gram, i32 row) per n-gram that pruning kept
    u8 quantised   i64 rows, columns   f32 input matrix         then the output matrix, which is not read

A word's vector is the mean of its own row (if it is in the vocabulary) and the rows of its character n-grams:

    n-grams      of <word>, minn to maxn characters long, without "<" and ">" alone; "</s>" has none
    hash         32-bit FNV-1a of the UTF-8 bytes, h <- 16777619 (h xor byte) mod 2^32 from h = 2166136261, where a byte
                 above 127 is taken as a signed char: it changes the upper 24 bits too, unlike FNV-1a as published
    row          words + hash mod bucket

The matrix is memory-mapped, so a file of 7 GB takes only the memory of the rows that are used.

Test: tests/weights/test_fasttext_binary.py
"""
from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from minixl.data.lines import PathLike
from minixl.errors import UserError
from minixl.weights.word_vectors_lookup import WordVectors

MAGIC = 793712314
MAGIC_BYTES = struct.pack("<i", MAGIC)
VERSIONS = (11, 12)
SUPERVISED = 3                                             # model types: 1 cbow, 2 skip-gram, 3 supervised
END_OF_SENTENCE = "</s>"
FNV_OFFSET, FNV_PRIME, MASK = 2166136261, 16777619, 0xFFFFFFFF
SIGNED = [byte if byte < 128 else byte | 0xFFFFFF00 for byte in range(256)]


def ngram_hashes(word: bytes, minn: int, maxn: int) -> list[int]:
    """Return the hashes of all n-grams of <word>, from left to right, shorter ones first."""
    text = b"<" + word + b">"
    starts = [i for i, byte in enumerate(text) if byte & 0xC0 != 0x80]         # of characters: not continuation bytes
    ends = [*starts[1:], len(text)]
    last = len(starts) - 1
    hashes = []
    for first in range(len(starts)):
        value = FNV_OFFSET
        for i in range(first, min(first + maxn, len(starts))):                 # extend the hash of the shorter n-gram
            for byte in text[starts[i]:ends[i]]:
                value = (value ^ SIGNED[byte]) * FNV_PRIME & MASK
            alone = i == first and first in (0, last)                          # "<" or ">"
            if i - first + 1 >= minn and not alone:
                hashes.append(value)
    return hashes


class FasttextFile:
    """dim, bucket, minn, maxn   as in the file
    count                     words of the vocabulary; the rows of the n-grams follow theirs
    rows                      word -> row, for the words that are kept
    undecodable               how many of the first `top` words are not UTF-8; they have no entry in rows
    matrix                    (count + n-grams, dim) float32, memory-mapped
    """

    def __init__(self, path: PathLike, *, top: int = 0) -> None:
        """Reads everything but the matrix, and the first `top` words; 0 reads all.

        Raises UserError for a file that is not a dense fastText model or is truncated.
        """
        self.path = path
        try:
            with open(path, "rb") as file:
                self._data: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:                                 # an empty file cannot be mapped
            self._data = b""
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
        self._position = 0
        magic, version = self._unpack("2i", "the opening number and the version")
        self._expect(magic == MAGIC, "opening number of a fastText model", MAGIC, magic)
        self._expect(version in VERSIONS, "version", "11 or 12", version)
        self._read_arguments(version)
        self._read_dictionary(top)
        self._read_matrix()

    def ngram_rows(self, word: str) -> list[int]:
        """Return the rows of the n-grams of a word."""
        if word == END_OF_SENTENCE or not self.maxn or self._kept == {}:
            return []
        ids = [value % self.bucket for value in ngram_hashes(word.encode("utf-8", "surrogatepass"), self.minn, self.maxn)]
        if self._kept is not None:
            ids = [self._kept[id] for id in ids if id in self._kept]
        return [self.count + id for id in ids]

    def mean(self, rows: Sequence[int], word: str) -> np.ndarray:
        """Average rows into the vector (dim,) float32 of a word."""
        with np.errstate(over="ignore", invalid="ignore"):
            vector: np.ndarray = self.matrix[rows].mean(axis=0)
        if not np.isfinite(vector).all():
            raise UserError(f"{self.path}: the vector of {word!r}: expected finite numbers, found NaN or infinity; "
                            "the file is damaged, download it again")
        return vector

    def _expect(self, holds: bool, what: str, expected: Any, found: Any) -> None:
        if not holds:
            raise UserError(f"{self.path}: {what}: expected {expected}, found {found}")

    def _advance(self, count: int, what: str) -> int:
        """Advance by `count` bytes and return where they begin."""
        start, end = self._position, self._position + count
        if end > len(self._data):
            raise UserError(f"{self.path}: truncated: expected {count} bytes for {what} at byte {start}, found a file of "
                            f"{len(self._data)} bytes; download it again")
        self._position = end
        return start

    def _unpack(self, format: str, what: str) -> tuple[Any, ...]:
        start = self._advance(struct.calcsize(f"<{format}"), what)
        return struct.unpack(f"<{format}", self._data[start:self._position])

    def _read_arguments(self, version: int) -> None:
        (self.dim, _, _, _, _, _, _, model, self.bucket, self.minn, self.maxn, _, _) = self._unpack("12id", "the settings")
        self._expect(self.dim > 0, "dim", "at least 1", self.dim)
        self._expect(self.minn >= 0, "minn", "at least 0", self.minn)
        self._expect(self.maxn >= 0, "maxn", "at least 0", self.maxn)
        if version == 11 and model == SUPERVISED:          # trained without n-grams, whatever maxn says
            self.maxn = 0
        self._expect(self.bucket > 0 or not self.maxn, "bucket", "at least 1", self.bucket)

    def _read_dictionary(self, top: int) -> None:
        entries, self.count, labels, _, pruned = self._unpack("3iqq", "the size of the dictionary")
        self._expect(self.count >= 0 and labels >= 0 and entries == self.count + labels, "entries",
                     f"{self.count} words and {labels} labels", entries)
        self.rows: dict[str, int] = {}
        self.undecodable = 0
        last = min(top or self.count, self.count)
        for i in range(entries):
            stored = self._entry(i)
            if i >= last:
                continue
            try:
                word = stored.decode("utf-8")
            except UnicodeDecodeError:
                self.undecodable += 1
                continue
            if word:
                self.rows.setdefault(word, i)
        self._kept: dict[int, int] | None = None           # n-gram -> row, if the model is pruned
        if pruned >= 0:
            start = self._advance(8 * pruned, "the pruned n-grams")
            pairs = np.frombuffer(self._data, "<i4", 2 * pruned, start).reshape(-1, 2)
            self._kept = dict(pairs.tolist())

    def _entry(self, i: int) -> bytes:
        """Read the next word or label."""
        what = f"entry {i} of the dictionary"
        start = self._position
        end = self._data.find(b"\0", start)
        self._advance((end if end >= 0 else len(self._data)) + 1 - start, what)       # without a zero byte: one byte too many
        kind = self._data[self._advance(9, what) + 8]                                 # after the count
        self._expect(kind == (i >= self.count), f"type of {what}", int(i >= self.count), kind)
        return self._data[start:end]

    def _read_matrix(self) -> None:
        quantised, = self._unpack("B", "the kind of matrix")
        if quantised:
            raise UserError(f"{self.path}: expected a full fastText model, found a quantised one (.ftz); "
                            "give the .bin it was made from, or text vectors (.vec)")
        rows, columns = self._unpack("2q", "the size of the matrix")
        self._expect(columns == self.dim, "columns of the matrix", self.dim, columns)
        if self._kept is not None:
            low, high = min(self._kept.values(), default=0), max(self._kept.values(), default=-1)
            self._expect(low >= 0, "row of a pruned n-gram", "at least 0", low)
            ngrams = high + 1
        else:
            ngrams = self.bucket if self.maxn else 0
        self._expect(rows >= self.count + ngrams, "rows of the matrix",
                     f"at least {self.count} words and {ngrams} n-grams", rows)
        start = self._advance(4 * rows * columns, "the matrix")
        self.matrix = np.frombuffer(self._data, "<f4", rows * columns, start).reshape(rows, columns)


class FasttextVectors(WordVectors):
    """The kept words of a fastText model; other words get the mean of their n-grams.

    matrix is computed on first use.
    """

    def __init__(self, file: FasttextFile) -> None:
        self._set_words(list(file.rows), file.path)
        self.dim = file.dim
        self._file = file

    @cached_property
    def matrix(self) -> np.ndarray:
        """(V, D)"""
        matrix = np.empty((len(self.words), self.dim), np.float32)
        for row, word in enumerate(self.words):
            matrix[row] = self.known(word)
        return matrix

    def find(self, word: str) -> tuple[int | None, str]:
        """As in WordVectors, but None and "subwords" for a word that only has n-grams."""
        row, step = super().find(word)
        return (row, step) if row is not None or not self._file.ngram_rows(word) else (None, "subwords")

    def vector(self, word: str) -> np.ndarray | None:
        """Return a word's vector (D,), from the vocabulary if lookup finds it, else from its n-grams; None if it has none."""
        row = self.lookup(word)
        if row is not None:
            return self.known(self.words[row])
        rows = self._file.ngram_rows(word)
        return self._file.mean(rows, word) if rows else None

    def known(self, word: str) -> np.ndarray:
        """Return the vector (D,) of a word of the vocabulary, as written."""
        rows = [self._file.rows[word], *self._file.ngram_rows(word)]
        return self._file.mean(rows, word)


def read_fasttext(path: PathLike, *, top: int, report: Callable[[str], None]) -> FasttextVectors:
    """See read_vectors in word_vectors.py."""
    file = FasttextFile(path, top=top)
    if file.undecodable:
        report(f"{path}: {file.undecodable:,} words that are not UTF-8 were left out")
    return FasttextVectors(file)
