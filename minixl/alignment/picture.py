"""Two-dimensional pictures of two spaces before and after the map.

Principal components of the words that are shown, both languages together; t-SNE (scikit-learn, which seqeval installs) on request.
Test: tests/alignment/test_picture.py
"""
from __future__ import annotations

import importlib
from typing import Any

import numpy as np

KINDS = ("pca", "tsne", "none")
WORDS = 150                                        # of each language, the most frequent ones


def picture(x: np.ndarray, y: np.ndarray, kind: str, seed: int) -> list[list[list[float]]]:
    """x (n, H), y (m, H) in one space -> the points of both, [[[a, b], ...], [[a, b], ...]], each coordinate from 0 to 1."""
    points = np.concatenate([x, y]).astype(np.float64)
    flat = _components(points) if kind == "pca" else _tsne(points, seed)               # (n + m, 2)
    low, high = flat.min(axis=0), flat.max(axis=0)
    flat = ((flat - low) / np.where(high > low, high - low, 1)).round(4)
    return [flat[:len(x)].tolist(), flat[len(x):].tolist()]


def _components(points: np.ndarray) -> np.ndarray:
    """Project on the two directions of largest variance; the largest entry of each is positive: always the same picture."""
    points = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(points, full_matrices=False)
    largest = np.take_along_axis(directions, abs(directions).argmax(axis=1)[:, None], 1)
    return points @ (directions * np.sign(largest))[:2].T


def _tsne(points: np.ndarray, seed: int) -> np.ndarray:
    tsne: Any = importlib.import_module("sklearn.manifold").TSNE
    return tsne(n_components=2, init="pca", perplexity=min(30, (len(points) - 1) // 3), random_state=seed).fit_transform(points)
