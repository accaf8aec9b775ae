"""A table of word vectors that stays in its safetensors file: only the rows that are looked up are read and converted.

The word table of multilingual E5 or XLM-R is most of the model, and a sentence needs a few dozen of its 250,000 rows.  The file
is mapped, so the system reads the pages with these rows and drops them again when memory is short.

Test: tests/weights/test_mapped_table.py
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minixl.errors import UserError
from minixl.weights.folder import check_parameters
from minixl.weights.safetensors_reader import numbers


class MappedTable:
    """A read-only (V, H) table: table[ids] are its rows (T, H) in `dtype`; np.asarray(table) reads all of it."""

    def __init__(self, stored: np.ndarray, stored_dtype: str, dtype: np.dtype, where: str) -> None:
        """stored, stored_dtype: the numbers in the file, and their type there; where: the file and the name, for messages."""
        self._stored, self._stored_dtype, self._where = stored, stored_dtype, where
        self.dtype, self.shape, self.ndim, self.size = np.dtype(dtype), stored.shape, stored.ndim, stored.size

    def __getitem__(self, ids: Any) -> np.ndarray:
        """Copy rows.  Raises UserError for rows that are not finite, which would otherwise be noticed when loading."""
        rows = np.array(numbers(self._stored[ids], self._stored_dtype), self.dtype)
        if not np.isfinite(rows.sum()) and not np.isfinite(rows).all():
            raise UserError(f"{self._where}: expected finite weights, found NaN or infinity; copy or download it again")
        return rows

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return numbers(self._stored, self._stored_dtype).astype(dtype or self.dtype)


def mapped_table(folder: str | Path, name: str, dtype: Any) -> MappedTable:
    """Return the parameter `name` (canonical) of a folder or file without reading it.  Raises UserError if it is missing."""
    reader, stored = check_parameters(folder, {})
    if name not in stored:
        raise UserError(f"{folder}: {name} is missing; the model needs it")
    key = stored[name]
    return MappedTable(reader.stored(key), reader.dtype(key), np.dtype(dtype), f"{reader.file(key)}: {name}")
