"""Average linkage: the distances between all points, and how each is pulled.

The gradient of a point x_i of n, with m points y of the other language, has two parts (ops/average_linkage.py):

    dx_i = 2/(nm) Σ_j (x_i - y_j)/d_ij  -  2/n² Σ_j (x_i - x_j)/d_ij

Against the first, an update moves it towards the other language; with the second, away from its own.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minixl.ops.average_linkage import HIGHEST, LOWEST
from minixl.study.events import OpCall


class Pulls(NamedTuple):
    """All N = n + m points, those of x before those of y."""

    border: int                        # n
    distances: np.ndarray              # (N, N)  within and between the languages
    to_others: np.ndarray              # (N,)    norm of the part towards the other language
    from_own: np.ndarray               # (N,)    norm of the part away from its own
    both: np.ndarray                   # (N,)    norm of the gradient


def pulls(call: OpCall) -> Pulls:
    """Return the distances and pulls of a call of average_linkage_forward, in float64."""
    x, y = (np.asarray(call.arguments[name], float) for name in "xy")
    points, n, m = np.concatenate([x, y]), len(x), len(y)
    to_others, from_own = np.zeros_like(points), np.zeros_like(points)
    distances = np.zeros((n + m, n + m))
    for i, point in enumerate(points):                                 # row by row: (N, N, H) may be large
        away = point - points
        square = (away * away).sum(axis=1)
        distances[i] = np.sqrt(np.clip(square, LOWEST, HIGHEST))
        away *= (((square >= LOWEST) & (square <= HIGHEST)) / distances[i])[:, None]
        own, others = (slice(0, n), slice(n, None)) if i < n else (slice(n, None), slice(0, n))
        to_others[i] = 2 / (n * m) * away[others].sum(axis=0)
        from_own[i] = 2 / (n if i < n else m) ** 2 * away[own].sum(axis=0)
    norms = (np.linalg.norm(part, axis=1) for part in (to_others, from_own, to_others - from_own))
    return Pulls(n, distances, *norms)
