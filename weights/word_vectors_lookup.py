"""Words, their vectors, and the lookup of a word's vector.

Lookup as in Lample et al. 2016 (arXiv:1603.01360, the released tagger): the word as written, then in lower case, then in
lower case with every digit replaced by 0; otherwise it is unknown.  Published vectors are often lower-cased, and the
authors' own contain "0000" for every year.

Test: tests/weights/test_word_vectors.py
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from minixl.data.lexicon import lookup_forms
from minixl.data.lines import PathLike

STEPS = ("exact", "lower", "digits")                       # by row; after them "subwords" (fastText binary) or "unknown"


class WordVectors:
    """words     list of V distinct words in the order of the file, most frequent first
    matrix    (V, D), one row per word
    dim       D
    path      the file, for messages
    """

    def __init__(self, words: list[str], matrix: np.ndarray, path: PathLike = "") -> None:
        """Raises ValueError if words and rows do not match, or a word is repeated."""
        if matrix.ndim != 2 or len(words) != len(matrix):
            raise ValueError(f"matrix: expected shape ({len(words)}, D), one row per word, got {matrix.shape}")
        self._set_words(words, path)
        self.dim: int = matrix.shape[1]
        self._matrix = matrix

    def _set_words(self, words: list[str], path: PathLike) -> None:
        self.words, self.path = words, path
        self._rows = {word: row for row, word in enumerate(words)}
        if len(self._rows) != len(words):
            raise ValueError(f"words: expected distinct words, got {len(words) - len(self._rows)} repeated ones")

    @property
    def matrix(self) -> np.ndarray:
        return self._matrix

    def __len__(self) -> int:
        return len(self.words)

    def row(self, word: str) -> int | None:
        """Return the row of a word as written, or None."""
        return self._rows.get(word)

    def find(self, word: str) -> tuple[int | None, str]:
        """Return the row of a word and the step that found it, one of STEPS; None and "unknown" if no step did."""
        for step, form in zip(STEPS, lookup_forms(word), strict=True):
            row = self._rows.get(form)
            if row is not None:
                return row, step
        return None, "unknown"

    def lookup(self, word: str) -> int | None:
        """Return the row of a word in matrix, or None."""
        return self.find(word)[0]

    def vector(self, word: str) -> np.ndarray | None:
        """Return a word's vector (D,), which must not be changed; None for an unknown word."""
        row = self.lookup(word)
        return None if row is None else self.matrix[row]

    def oov_report(self, words: Iterable[str] | Mapping[str, int], language: str) -> OovReport:
        """Count how the words of a text (a list or a Counter) are found."""
        counts = Counter(words)
        tokens, distinct = Counter[str](), Counter[str]()
        for word, count in counts.items():
            step = self.find(word)[1]
            tokens[step] += count
            distinct[step] += 1
        return OovReport(language, tokens, distinct)


class OovReport(NamedTuple):
    """Counts by lookup step ("exact", "lower", "digits", "subwords", "unknown"); str() is one line."""

    language: str
    tokens: Counter[str]
    words: Counter[str]                                    # distinct words

    def __str__(self) -> str:
        """vectors en: 96.1 % of 24,000 tokens found (exact 90.2, lower 5.5, digits 0.4), 3.9 % unknown; ..."""
        total, distinct = self.tokens.total(), self.words.total()
        if not total:
            return f"vectors {self.language}: no words to look up"
        steps = [*STEPS, *(["subwords"] if self.tokens["subwords"] else [])]
        parts = ", ".join(f"{step} {100 * self.tokens[step] / total:.1f}" for step in steps)
        unknown_tokens, unknown_words = self.tokens["unknown"] / total, self.words["unknown"] / distinct
        return (f"vectors {self.language}: {100 - 100 * unknown_tokens:.1f} % of {total:,} tokens found ({parts}), "
                f"{100 * unknown_tokens:.1f} % unknown; {100 - 100 * unknown_words:.1f} % of {distinct:,} distinct words found")
