"""The searches of minixl/ops/csls.py by faiss's exact index, for NumPy arrays.

x · y - b is the product of (x, 1) and (y, -b), so an index of inner products can subtract offsets too.
Test: tests/alignment/test_retrieval.py
"""
from __future__ import annotations

import faiss
import numpy as np

from minixl.ops.csls import Best, check_spaces


def top_products(x: np.ndarray, y: np.ndarray, k: int, offsets: np.ndarray | None = None) -> Best:
    """x (n, H), y (m, H), offsets b (m,) -> for every row of x the k largest x_i · y_j - b_j."""
    check_spaces(x, y, k, ("offsets", offsets, len(y)))
    if offsets is not None:
        x, y = np.hstack([x, np.ones((len(x), 1), x.dtype)]), np.hstack([y, -offsets[:, None]])
    index = faiss.IndexFlatIP(y.shape[1])
    index.add(np.ascontiguousarray(y, np.float32))
    scores, indices = index.search(np.ascontiguousarray(x, np.float32), k)
    return Best(np.where(indices < 0, -np.inf, scores).astype(x.dtype), indices)


def top_products_both_ways(x: np.ndarray, y: np.ndarray, k: int, x_offsets: np.ndarray | None = None,
                           y_offsets: np.ndarray | None = None) -> tuple[Best, Best]:
    """x (n, H), y (m, H), offsets a (n,), b (m,) -> the k largest x_i · y_j - a_i - b_j of every row, and of every column."""
    rows, columns = top_products(x, y, k, y_offsets), top_products(y, x, k, x_offsets)
    return tuple(best if own is None else Best(best.scores - own[:, None], best.indices)       # type: ignore[return-value]
                 for best, own in ((rows, x_offsets), (columns, y_offsets)))


def mean_similarities(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """x (n, H), y (m, H) -> means of the k largest products of every row, and of every column."""
    rows, columns = top_products_both_ways(x, y, k)
    return rows.scores[:, :len(y)].mean(axis=1), columns.scores[:, :len(x)].mean(axis=1)
