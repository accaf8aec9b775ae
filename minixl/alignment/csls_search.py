"""The best translations of all words by CSLS (minixl/ops/csls.py), from one search where two would compute twice the products.

    near      for every x_i the c ≥ k nearest y_j; r(x_i) is the mean cosine of the first k, and likewise r(y_j)
    ranked    these c by cos(x_i, y_j) - r(y_j) / 2, which is half of CSLS but for r(x_i)
    others    a y_j that is not near x_i has at most the cosine of the last that is, so it can be one of the best b only if
              r(y_j) / 2 ≤ cos(x_i, last) - b-th score of ranked: only the few y_j with so small an r are compared with x_i

The result is that of a second search with r, but for rounding.  Test: tests/alignment/test_csls_search.py
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops import csls
from minixl.ops.csls import Best

NEIGHBOURS = 10              # k of CSLS, in MUSE and VecMap
SPARE = 3                    # near ones for each translation
FEW = 10                     # up to so many translations of a word, one search is faster than two
ROWS = 2048                  # words that are compared at a time with those that are not near


class Translations(NamedTuple):
    """For the words of both languages their best translations, with their CSLS, and the cosines of their neighbours."""

    forward: Best                        # (n, b) of every x
    backward: Best | None                # (m, b) of every y, if asked for
    nearest: tuple[Array, Array]         # (n, k), (m, k), the largest first


def translations(x: Array, y: Array, best: int, *, backward: bool = False, engine: Any = csls) -> Translations:
    """x (n, H), y (m, H), unit vectors -> the `best` translations of every x and, if `backward`, of every y."""
    one_search = array_module(x, y) is np and best <= FEW              # not timed with the CUDA kernels
    near = engine.top_products_both_ways(x, y, max(NEIGHBOURS, SPARE * best) if one_search else NEIGHBOURS)
    nearest = near[0].scores[:, :min(NEIGHBOURS, len(y))], near[1].scores[:, :min(NEIGHBOURS, len(x))]
    half_x, half_y = (cosines.mean(axis=1) / 2 for cosines in nearest)                 # r(x) / 2 and r(y) / 2
    of_y: Best | None = None
    if one_search:
        of_x = _reranked(x, y, near[0], half_x, half_y, best, engine)
        of_y = _reranked(y, x, near[1], half_y, half_x, best, engine) if backward else None
    elif backward:
        of_x, of_y = engine.top_products_both_ways(x, y, best, half_x, half_y)
    else:
        of_x = engine.top_products(x, y, best, half_y)
        of_x = Best(of_x.scores - half_x[:, None], of_x.indices)
    return Translations(_doubled(of_x), of_y and _doubled(of_y), nearest)


def _doubled(half: Best) -> Best:
    """Return whole CSLS for x_i · y_j - r(x_i) / 2 - r(y_j) / 2."""
    return Best(2 * half.scores, half.indices)


def _reranked(x: np.ndarray, y: np.ndarray, near: Best, own: np.ndarray, offsets: np.ndarray, best: int, engine: Any) -> Best:
    """x (n, H), y (m, H), near: c ≥ best of y for every x, offsets a (n,), b (m,) -> the `best` largest x_i · y_j - a_i - b_j."""
    ranked = _first(np.where(near.indices < 0, -np.inf, near.scores - offsets[near.indices]), near.indices, best)
    if near.indices.shape[1] < len(y):
        _compare_others(x, y, near, ranked, offsets, engine)
    return Best(ranked.scores - own[:, None], ranked.indices)


def _compare_others(x: np.ndarray, y: np.ndarray, near: Best, ranked: Best, offsets: np.ndarray, engine: Any) -> None:
    """Put into `ranked`, in place, what is better among the y that are not near."""
    best = ranked.scores.shape[1]
    by_offset = np.argsort(offsets, kind="stable")
    limits = near.scores[:, -1] - ranked.scores[:, -1]                                 # (n,)
    counts = np.searchsorted(offsets[by_offset], limits, side="right")                 # of by_offset, to be compared with each x
    rows = np.flatnonzero(counts)
    rows = rows[np.argsort(-counts[rows], kind="stable")]
    for start in range(0, len(rows), ROWS):
        part = rows[start:start + ROWS]
        others = by_offset[:counts[part[0]]]
        found = engine.top_products(x[part], y[others], best, offsets[others])
        indices = np.where(found.indices < 0, -1, others[found.indices])               # (p, best)
        known = (indices[:, :, None] == near.indices[part, None]).any(axis=2)
        scores = np.where(known, -np.inf, found.scores)
        joined = _first(np.hstack([ranked.scores[part], scores]), np.hstack([ranked.indices[part], indices]), best)
        ranked.scores[part], ranked.indices[part] = joined


def _first(scores: np.ndarray, indices: np.ndarray, count: int) -> Best:
    """Return the `count` largest of every row, equal scores in the order of their indices."""
    order = np.lexsort((indices, -scores))[:, :count]
    return Best(np.take_along_axis(scores, order, 1), np.take_along_axis(indices, order, 1))
