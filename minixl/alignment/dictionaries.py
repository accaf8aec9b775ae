"""Bilingual dictionaries: read one, or take the words that two languages share.

    cat gato          a source word and its translation, separated by white space; a word with several has several lines

A word that the vectors lack as written is looked up in lower case and with digits as 0 (weights/word_vectors_lookup.py).
Test: tests/alignment/test_dictionaries.py
"""
from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from minixl.data.bilingual import read_pairs
from minixl.data.lines import PathLike
from minixl.errors import UserError
from minixl.weights.word_vectors import WordVectors

SHARED_WORDS = ("all", "numerals")
NUMERAL = re.compile(r"\d+([.,:/-]\d+)*%?")


class Dictionary(NamedTuple):
    """The entries of a file whose words have vectors.

    rows      (p, 2) int64, rows of the source and target words, in the order of the file, each pair once
    sources   distinct source words of the file
    known     those among them with an entry in rows
    """

    rows: np.ndarray
    sources: int
    known: int


def read_dictionary(path: PathLike, source: WordVectors, target: WordVectors) -> Dictionary:
    """Read a dictionary file.  Raises UserError for a line without two words, and if no entry has both words in the vectors."""
    rows: dict[tuple[int, int], None] = {}
    sources: dict[str, bool] = {}
    for word, translation in read_pairs(path):
        pair = source.lookup(word), target.lookup(translation)
        known = pair[0] is not None and pair[1] is not None
        sources[word] = sources.get(word, False) or known
        if known:
            rows[pair] = None                                          # type: ignore[index]
    if not rows:
        raise UserError(f"{path}: none of its {len(sources):,} source words has an entry with vectors for both words; expected a "
                        "dictionary from the source to the target language, one 'word translation' a line")
    return Dictionary(np.array(list(rows), np.int64), len(sources), sum(sources.values()))


def shared_words(source: WordVectors, target: WordVectors, which: str) -> np.ndarray:
    """Return the rows (p, 2) of words that are spelt alike in both languages: all, or only numerals.

    Raises UserError if there are none.
    """
    rows = [(row, other) for row, word in enumerate(source.words)
            if (which == "all" or NUMERAL.fullmatch(word)) and (other := target.row(word)) is not None]
    if not rows:
        raise UserError(f"--method identical: {source.path} and {target.path} have no {'words' if which == 'all' else 'numerals'} "
                        "in common; try --method similarity, or --method dictionary with a dictionary")
    return np.array(rows, np.int64)
