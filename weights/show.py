"""The table of `minixl weights show`.  Test: tests/cli/test_weights.py"""
from __future__ import annotations

from pathlib import Path

from minixl.weights.safetensors_reader import Checkpoint


def table(path: str | Path) -> str:
    """Name, shape and dtype of every tensor, one a line, and their totals."""
    checkpoint = Checkpoint(path)
    infos = {name: checkpoint.info(name) for name in checkpoint.names()}
    rows = [("name", "shape", "dtype")]
    rows += [(_printable(name), "x".join(map(str, info.shape)) or "scalar", info.dtype)
             for name, info in infos.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    size, weights = sum(info.end - info.start for info in infos.values()), sum(info.size for info in infos.values())
    return "\n".join([*lines, f"{len(infos)} tensors, {weights:,} weights, {size / 1e6:,.1f} MB"])


def _printable(name: str) -> str:
    """A name that cannot move the cursor of a terminal."""
    return name if name.isprintable() else ascii(name)
