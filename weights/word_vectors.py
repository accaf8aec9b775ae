"""Word vectors from the files they are published in.

    read_vectors("wiki.es.vec", top=200_000)             fastText and word2vec text: a header "count dimension", then
                                                         a word and its numbers a line
    read_vectors("glove.txt.gz")                         GloVe text, without that header; any text file also as gzip
    read_vectors("cc.es.300.bin")                        fastText binary, memory-mapped; vectors for unknown words too

The format is seen from the content, not from the name.  What comes back is a WordVectors: words, matrix, and the look-up
chain as written -> lower case -> digits as 0 (word_vectors_lookup.py).  Text: word_vectors_text.py; binary:
fasttext_binary.py.

Test: tests/weights/test_word_vectors.py
"""
from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

from minixl.data.lines import GZIP, PathLike
from minixl.errors import UserError
from minixl.weights.fasttext_binary import MAGIC, MAGIC_BYTES, FasttextVectors, read_fasttext
from minixl.weights.word_vectors_lookup import STEPS, OovReport, WordVectors
from minixl.weights.word_vectors_text import read_text_vectors

__all__ = ["STEPS", "FasttextVectors", "OovReport", "WordVectors", "read_vectors"]


def to_stderr(message: str) -> None:
    """Where reports go if the caller does not say."""
    print(message, file=sys.stderr)


def read_vectors(path: PathLike, *, top: int = 0, report: Callable[[str], None] = to_stderr) -> WordVectors:
    """The vectors of a file, float32; its words are UTF-8.  Memory is taken for those that are kept only.

    top        the first `top` words of the file (the most frequent ones), 0 for all
    report     is told, a line each, what was left out (the first line number and how many): words that come again (the
               first is kept), empty words, undecodable words; and a header that promises another number of words

    Raises UserError for a file that cannot be read or is damaged, for a line without exactly `dimension` finite numbers,
    and for formats that are not read (word2vec binary, quantised fastText).
    """
    if top < 0:
        raise UserError(f"top: expected a number of words, or 0 for all, found {top}")
    start, packed = _beginning(path)
    if start == MAGIC_BYTES and packed:
        raise UserError(f"{path}: expected a fastText .bin as it is, found one packed with gzip; unpack it first: gunzip it")
    if start == MAGIC_BYTES:
        return read_fasttext(path, top=top, report=report)
    if start is not None and Path(path).suffix in (".bin", ".ftz"):
        raise UserError(f"{path}: expected a fastText .bin, which begins with the number {MAGIC}, found bytes {start!r}; "
                        "word2vec .bin files and those of old fastText are not read, give the vectors as text (.vec)")
    return read_text_vectors(path, top=top, report=report)


def _beginning(path: PathLike) -> tuple[bytes | None, bool]:
    """The first four bytes, unpacked, and whether they were packed; None for what is no file (its reader will say why)."""
    if not Path(path).is_file():                           # a pipe, which can be read once, is left alone
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
