"""The table printed by `minixl weights show`.  Test: tests/cli/test_weights.py"""
from __future__ import annotations

from pathlib import Path

from minixl.weights.safetensors_reader import SafetensorsReader


def tensor_table(path: str | Path) -> str:
    """List name, shape and dtype of every tensor, one per line, and the totals."""
    reader = SafetensorsReader(path)
    infos = {name: reader.info(name) for name in reader.names()}
    rows = [("name", "shape", "dtype")]
    rows += [(_printable(name), "x".join(map(str, info.shape)) or "scalar", info.dtype)
             for name, info in infos.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    size, weights = sum(info.end - info.start for info in infos.values()), sum(info.size for info in infos.values())
    return "\n".join([*lines, f"{len(infos)} tensors, {weights:,} weights, {size / 1e6:,.1f} MB"])


def _printable(name: str) -> str:
    """Escape characters that could control a terminal."""
    return name if name.isprintable() else ascii(name)
