"""Read the word vectors of all languages and check that they can be mapped.

Test: tests/alignment/test_spaces.py
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from minixl.alignment.normalization import Normalization
from minixl.errors import WARNING, UserError
from minixl.weights.word_vectors import WordVectors, read_vectors

FEWEST = 1000                                      # words of a language


class Space(NamedTuple):
    """The most frequent words of one language."""

    language: str
    words: WordVectors                             # as in the file
    normalization: Normalization
    matrix: np.ndarray                             # (n, H) float32, normalised


def read_spaces(files: Mapping[str, str], top: int, steps: list[str], report: Callable[[str], None]) -> dict[str, Space]:
    """files: language -> path -> its space.  Raises UserError for files that cannot be mapped, naming file and problem."""
    spaces: dict[str, Space] = {}
    for language, path in files.items():
        words = read_vectors(path, top=top, strict=True, report=report)
        if len(words) < FEWEST:
            raise UserError(f"{path}: expected at least {FEWEST:,} words, found {len(words):,}; a map learnt from so few is noise")
        first = next(iter(spaces.values()), None)
        if first and first.words.dim != words.dim:
            raise UserError(f"{path}: expected vectors of {first.words.dim} dimensions, as in {first.words.path}, found "
                            f"{words.dim}; give vectors of the same size for all languages")
        if not np.isfinite(words.matrix).all():
            row = int(np.flatnonzero(~np.isfinite(words.matrix).all(axis=1))[0])
            raise UserError(f"{path}: expected finite numbers, found NaN or infinity in the vector of {words.words[row]!r}")
        zeros = int((~words.matrix.any(axis=1)).sum())
        if zeros:
            report(f"{WARNING}{path}: {zeros:,} of {len(words):,} vectors are zero; these words have no translation")
        spaces[language] = Space(language, words, *Normalization.fit(words.matrix, steps))
    return spaces
