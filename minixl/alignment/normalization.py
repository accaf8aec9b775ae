"""Normalise word vectors before mapping: unit length, centred, in any order.

    unit      x ← x / |x|; a zero vector stays zero
    center    x ← x - mean of all words that the mapping is learnt from

The means are kept, so that words the mapping has never seen, or a file larger than memory, are normalised in the same way.
Test: tests/alignment/test_normalization.py
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minixl.backend import Array, array_module
from minixl.errors import UserError

STEPS = ("unit", "center")
TINY = 1e-12                                       # a shorter vector counts as zero


class Normalization:
    """The steps of one language with the means of its words."""

    def __init__(self, steps: Sequence[str], means: Sequence[np.ndarray]) -> None:
        """means: one (H,) for each step `center`."""
        self.steps, self.means = tuple(steps), tuple(means)

    @classmethod
    def fit(cls, matrix: Array, steps: Sequence[str]) -> tuple[Normalization, Array]:
        """matrix (n, H) -> the normalisation and the normalised matrix, a copy."""
        check_steps(steps)
        means: list[Array] = []
        matrix = matrix.copy()
        for step in steps:
            if step == "unit":
                matrix = unit(matrix)
            else:
                means.append(matrix.mean(axis=0, dtype=array_module(matrix).float64).astype(matrix.dtype))
                matrix -= means[-1]
        return cls(steps, means), matrix

    def apply(self, matrix: Array) -> Array:
        """matrix (n, H) of any words of the language -> normalised as those it was fitted on."""
        means = iter(self.means)
        for step in self.steps:
            matrix = unit(matrix) if step == "unit" else matrix - next(means)
        return matrix


def unit(matrix: Array) -> Array:
    """matrix (n, H) -> every row divided by its length; zero rows stay zero."""
    xp = array_module(matrix)
    lengths = xp.linalg.norm(matrix, axis=1, keepdims=True)                            # (n, 1)
    return matrix / xp.where(lengths > TINY, lengths, 1)


def check_steps(steps: Sequence[str]) -> None:
    """Raise UserError for a step that does not exist."""
    for step in steps:
        if step not in STEPS:
            raise UserError(f"--normalize: expected {' and '.join(STEPS)}, separated by commas, or none, got {step!r}")
