"""Packed arrays: sentences of any lengths, one after another without padding; `starts` says where each begins.

    lengths  3 1 2          starts  0 3 4 6          packed  a a a b c c          owner  0 0 0 1 2 2
"""
from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np


def starts_of(lengths: Iterable[int]) -> np.ndarray:
    """Lengths of B sentences -> starts (B+1,) int64; the last entry is T, the total length."""
    return np.cumsum([0, *lengths], dtype=np.int64)


def owner_of(starts: np.ndarray) -> np.ndarray:
    """starts (B+1,) -> the sentence number of each row (T,)."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def sums_by_sentence(values: Any, starts: np.ndarray, xp: ModuleType) -> Any:
    """values (T, ...), NumPy or CuPy as xp says -> their sum in each sentence (B, ...), 0 for a sentence without rows.

    Twice the same bits, also on a GPU: CuPy's bincount and add.at add in an order that differs from call to call.
    """
    lengths = np.diff(starts)
    if xp is np:
        total = np.zeros((len(lengths), *values.shape[1:]), values.dtype)
        filled = lengths > 0
        total[filled] = np.add.reduceat(values, starts[:-1][filled], axis=0) if filled.any() else 0
        return total
    places = np.arange(lengths.max(initial=0))
    rows = np.where(places < lengths[:, None], starts[:-1, None] + places, len(values))        # (B, longest)
    with_zero = xp.concatenate([values, xp.zeros((1, *values.shape[1:]), values.dtype)])
    return with_zero[xp.asarray(rows)].sum(axis=1)
