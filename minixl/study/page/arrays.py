"""The arrays of a recording, packed for a page: each once, with its statistics; a large one has evenly spaced rows and columns.

    arrays = Arrays()
    number = arrays.add(value)             equal arrays have one number
    packed = arrays.packed(BUDGET)         a dictionary for each, which page.js reads

What is left out depends on the budget: the largest number of elements per array is chosen that fits into it.  The elements that
are kept have all their bits.  Kept row i of n is row ⌊i · rows / n⌋ of the array; columns likewise.  An array with more than two
axes is shown as rows of its last one, a vector as one row.
"""
from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from minixl.study.events import norm_of

BUDGET = 2_600_000                     # bytes of all elements, which base64 makes a third longer
ALL = 1 << 20                          # of a larger array, quantile and histogram are of evenly spaced elements
BINS, QUANTILE = 41, 0.99              # the colour scale ends where so many of the absolute values lie below
FEWEST = 16                            # elements of an array, however many arrays there are


class Kept(NamedTuple):
    """An array of the page."""

    value: np.ndarray
    whole: bool                        # show all of it, whatever the budget


class Arrays:
    """Collects arrays."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._known: dict[int, tuple[np.ndarray, int]] = {}            # by id: parameters are shared by many calls

    def add(self, value: np.ndarray, *, whole: bool = False) -> int:
        """Return the number of an array."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        contiguous = np.ascontiguousarray(value)
        key = value.shape, value.dtype.str, blake2b(contiguous.view(np.uint8).data, digest_size=16).digest() if value.size else b""
        if key not in self._numbers:
            self._numbers[key] = len(self.kept)
            self.kept.append(Kept(value, whole))
        elif whole:
            self.kept[self._numbers[key]] = Kept(value, True)
        self._known[id(value)] = value, self._numbers[key]
        return self._numbers[key]

    def packed(self, budget: int) -> list[dict[str, Any]]:
        """Return the arrays for the page."""
        tables = [as_table(kept.value) for kept in self.kept]
        most = _most(tables, [kept.whole for kept in self.kept], budget)
        return [_packed(kept.value, table, table.size if kept.whole else most)
                for kept, table in zip(self.kept, tables, strict=True)]


def as_table(value: np.ndarray) -> np.ndarray:
    """Return an array as rows of its last axis."""
    return value.reshape(-1, value.shape[-1]) if value.ndim and value.size else value.reshape(1, value.size)


def kept_places(total: int, kept: int) -> np.ndarray:
    """Return which of `total` rows or columns are kept."""
    return np.arange(kept) * total // max(kept, 1)


def kept_shape(shape: tuple[int, ...], most: int) -> tuple[int, int]:
    """Return how many rows and columns to keep of a table, about `most` elements.

    It is a square, unless the table is narrow or flat.
    """
    rows, columns = shape
    if rows * columns <= most:
        return rows, columns
    columns = min(columns, max(most // rows, isqrt(most)))
    rows = min(rows, max(most // columns, 1))
    return rows, min(shape[1], max(most // rows, 1))


def numbers(value: np.ndarray) -> np.ndarray:
    """Return an array in one of the types that the page reads, little-endian: float32 or 64, int32, uint8 for bool."""
    kind = {"f": "<f4" if value.dtype.itemsize <= 4 else "<f8", "b": "u1"}.get(value.dtype.kind, "<i4")
    return value.astype(kind)


def _most(tables: list[np.ndarray], whole: list[bool], budget: int) -> int:
    """Return the largest number of elements per array with which all of them fit into a budget of bytes."""
    width = [numbers(table[:0]).itemsize for table in tables]
    left = budget - sum(table.size * size for table, size, one in zip(tables, width, whole, strict=True) if one)
    most = max((table.size for table in tables), default=1)
    while most > FEWEST and left < sum(size * int(np.prod(kept_shape(table.shape, most)))
                                       for table, size, one in zip(tables, width, whole, strict=True) if not one):
        most = int(0.9 * most)
    return most


def _packed(value: np.ndarray, table: np.ndarray, most: int) -> dict[str, Any]:
    rows, columns = kept_shape(table.shape, most)
    part = table[np.ix_(kept_places(table.shape[0], rows), kept_places(table.shape[1], columns))]
    return {"shape": list(value.shape), "type": str(value.dtype), "table": list(table.shape), "kept": [rows, columns],
            "code": numbers(part[:0]).dtype.str[1:], "data": b64encode(numbers(part).tobytes()).decode(), **_statistics(table)}


def _statistics(table: np.ndarray) -> dict[str, Any]:
    """Return the statistics of a float array; the number of true elements of a bool array."""
    if table.dtype.kind == "b":
        return {"true": int(table.sum())}
    if table.dtype.kind != "f" or not table.size:
        return {}
    every = -(-table.size // ALL)
    values = table.ravel()[::every]
    finite = values[np.isfinite(values)]
    sizes = np.abs(finite)
    limit = float(np.quantile(sizes, QUANTILE)) if finite.size else 0.0
    limit = limit or float(sizes.max(initial=0.0))
    counts = np.histogram(np.clip(finite, -limit, limit), BINS, (-limit, limit))[0] if limit else np.zeros(BINS, int)
    return {"min": shown(table.min()), "mean": shown(table.mean(dtype=float)), "max": shown(table.max()),
            "norm": shown(norm_of(table)), "limit": limit, "bins": counts.tolist(), "every": every}


def shown(value: float) -> float | str:
    """Return a number that JSON can hold; infinity and NaN as text."""
    return float(value) if np.isfinite(value) else str(float(value))
