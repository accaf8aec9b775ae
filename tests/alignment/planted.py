"""Two languages whose spaces differ by a rotation that the test knows, and noise."""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minixl.alignment.normalization import Normalization, unit
from minixl.backend import Array, array_module


class Planted(NamedTuple):
    """x and y are unit, centred, unit; row i of both is the same meaning."""

    x: Array               # (n, H) float32
    y: Array               # (n, H) float32
    rotation: np.ndarray   # (H, H)  y is about rotation @ x


def planted_spaces(words: int, dim: int, *, noise: float = 0.1, seed: int = 0, topics: int = 40) -> Planted:
    """Words of topics of unequal size, in a space whose dimensions have unequal variance, as in real vectors.

    noise: standard deviation of what each language adds, relative to the word's own.
    """
    rng = np.random.default_rng(seed)
    spread = np.arange(1, dim + 1) ** -0.5
    shares = 1 / np.arange(1, topics + 1)
    topic = rng.choice(topics, words, p=shares / shares.sum())
    meaning = (rng.normal(size=(topics, dim))[topic] + rng.normal(size=(words, dim))) * spread     # (n, H)
    rotation = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    rotation[0] *= np.sign(np.linalg.det(rotation))                    # no reflection
    x, y = (Normalization.fit((meaning + noise * rng.normal(size=meaning.shape) * spread).astype(np.float32),
                              ("unit", "center", "unit"))[1] for _ in range(2))
    return Planted(x, y @ rotation.T.astype(np.float32), rotation)


def share_right(mapping: Array, spaces: Planted, *, step: int = 4096) -> float:
    """How many of the words have their own meaning as nearest neighbour; `step` words are compared with all at a time."""
    xp = array_module(mapping)
    words, y = unit(spaces.x @ mapping.T), unit(spaces.y)
    right = [xp.argmax(words[start:start + step] @ y.T, axis=1) == xp.arange(start, min(start + step, len(words)))
             for start in range(0, len(words), step)]
    return float(xp.concatenate(right).mean())


def write_vectors(path: Path, words: list[str], matrix: np.ndarray) -> Path:
    """Write a .vec file."""
    lines = [f"{len(words)} {matrix.shape[1]}"]
    lines += [f"{word} {' '.join(f'{value:.5f}' for value in row)}" for word, row in zip(words, matrix, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
