"""Packed arrays: sentences of any lengths, one after another without padding; `starts` says where each begins.

    lengths  3 1 2          starts  0 3 4 6          packed  a a a b c c          owner  0 0 0 1 2 2
"""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def starts_of(lengths: Iterable[int]) -> np.ndarray:
    """Lengths of B sentences -> starts (B+1,) int64; the last entry is T, the total length."""
    return np.cumsum([0, *lengths], dtype=np.int64)


def owner_of(starts: np.ndarray) -> np.ndarray:
    """starts (B+1,) -> the sentence number of each row (T,)."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))
