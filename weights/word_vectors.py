"""Read word vectors in their published formats.

    read_vectors("wiki.es.vec", top=200_000)             fastText and word2vec text: a header "count dimension", then
                                                         one word and its numbers per line
    read_vectors("glove.txt.gz")                         GloVe text, without that header; any text file may be gzipped
    read_vectors("cc.es.300.bin")                        fastText binary, memory-mapped; vectors for unknown words too
    stream_vectors("cc.es.300.vec")                      the same words and vectors, a block at a time

The format is detected from the content, not the name.  The result is a WordVectors: words, matrix, and lookup as written ->
lower case -> digits as 0 (word_vectors_lookup.py).  Text: word_vectors_text.py; binary: fasttext_binary.py.

Test: tests/weights/test_word_vectors.py
"""
from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minixl.data.lines import GZIP, PathLike
from minixl.errors import UserError
from minixl.weights.fasttext_binary import MAGIC, MAGIC_BYTES, FasttextVectors, read_fasttext
from minixl.weights.word_vectors_lookup import STEPS, OovReport, WordVectors
from minixl.weights.word_vectors_text import read_text_vectors, stream_text_vectors

__all__ = ["STEPS", "FasttextVectors", "OovReport", "WordVectors", "read_vectors", "stream_vectors"]


def print_to_stderr(message: str) -> None:
    """Print a message; the default `report`."""
    print(message, file=sys.stderr)


def read_vectors(path: PathLike, *, top: int = 0, strict: bool = False,
                 report: Callable[[str], None] = print_to_stderr) -> WordVectors:
    """Read the vectors of a file, float32, with words in UTF-8.  Takes memory only for the vectors it keeps.

    top        keep the first `top` words of the file (the most frequent ones); 0 keeps all
    strict     a header with the wrong number of words is an error
    report     called with one line for each kind of omission (first line number and count): repeated words (the first is
               kept), empty words, undecodable words; and for a header with the wrong number of words

    Raises UserError for a file that cannot be read or is damaged, for a line without exactly `dimension` finite numbers,
    and for unsupported formats (word2vec binary, quantised fastText).
    """
    if top < 0:
        raise UserError(f"top: expected a number of words, or 0 for all, found {top}")
    start, zipped = _beginning(path)
    if start == MAGIC_BYTES and zipped:
        raise UserError(f"{path}: expected an uncompressed fastText .bin, found a gzipped one; unpack it with gunzip")
    if start == MAGIC_BYTES:
        return read_fasttext(path, top=top, report=report)
    if start is not None and Path(path).suffix in (".bin", ".ftz"):
        raise UserError(f"{path}: expected a fastText .bin, which begins with the number {MAGIC}, found bytes {start!r}; "
                        "for word2vec .bin files and those of old fastText, give the vectors as text (.vec)")
    return read_text_vectors(path, top=top, strict=strict, report=report)


def stream_vectors(path: PathLike, rows: int = 4096, *,
                   report: Callable[[str], None] = print_to_stderr) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield the words and vectors (n, D) of a file, at most `rows` at a time, as read_vectors reads them.

    Takes memory for all words, but only for `rows` vectors.
    """
    start, _ = _beginning(path)
    if start != MAGIC_BYTES:
        yield from stream_text_vectors(path, rows, report)
        return
    vectors = read_fasttext(path, top=0, report=report)
    for first in range(0, len(vectors), rows):
        words = vectors.words[first:first + rows]
        yield words, np.stack([vectors.known(word) for word in words])


def _beginning(path: PathLike) -> tuple[bytes | None, bool]:
    """Return the first four bytes, unzipped, and whether they were gzipped; None if unreadable (the reader will say why)."""
    if not Path(path).is_file():                           # a pipe can be read only once
        return None, False
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        if start[:2] != GZIP:
            return start, False
        with gzip.open(path) as unpacked:
            return unpacked.read(4), True
    except (OSError, EOFError, zlib.error):
        return None, False
