"""Look up rows of a table; the gradient holds only the rows that were looked up.

    forward    y_t = weight[ids_t]
    backward   dweight[v] = Σ dy_t over all t with ids_t = v

A dense dweight of mBERT's word table (119547 x 768) is 350 MiB; a batch uses a few thousand rows.
CUDA version: kernels/embedding.cu, sum_rows.  Checked in tests/ops/test_embedding.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op


class RowSparse(NamedTuple):
    """A (V, H) gradient in which only some rows are not zero."""

    rows: Array    # (n,)     their numbers, sorted, without repetition
    values: Array  # (n, H)   their values


class EmbeddingCache(NamedTuple):
    ids: Array     # (T,)


@op
def embedding_forward(ids: Array, weight: Array) -> tuple[Array, EmbeddingCache]:
    """ids (T,) integers in [0, V), weight (V, H) -> y (T, H)."""
    return weight[ids], EmbeddingCache(ids)


@op
def embedding_backward(dy: Array, cache: EmbeddingCache) -> tuple[None, dict[str, RowSparse]]:
    """dy (T, H) -> None (ids have no gradient) and the row-sparse gradient of weight."""
    return None, {"weight": sum_rows(cache.ids, dy)}


@op
def sum_rows(ids: Array, values: Array) -> RowSparse:
    """Sum the rows of `values` (n, H) with the same id, in their order."""
    xp = array_module(ids, values)
    order = xp.argsort(ids, kind="stable")                             # (n,)
    ordered = ids[order]
    first = xp.flatnonzero(xp.concatenate([xp.ones(min(len(ids), 1), bool), ordered[1:] != ordered[:-1]]))
    if len(first) == len(ids):
        return RowSparse(ordered, values[order])
    if xp is np:                                                       # as a sparse product, which adds row by row: add.reduceat
        from scipy.sparse import csr_array                             # takes nine times as long; only training imports SciPy
        picks = csr_array((np.ones(len(ids), values.dtype), order, np.append(first, len(ids))), shape=(len(first), len(ids)))
        return RowSparse(ordered[first], picks @ values)
    total = xp.zeros((len(first), values.shape[1]), values.dtype)      # CuPy has no reduceat
    xp.add.at(total, xp.searchsorted(ordered[first], ids), values)
    return RowSparse(ordered[first], total)


def add_sparse(a: RowSparse, b: RowSparse) -> RowSparse:
    """The sum of two row-sparse gradients of the same table."""
    xp = array_module(a.values, b.values)
    return sum_rows(xp.concatenate([a.rows, b.rows]), xp.concatenate([a.values, b.values]))
