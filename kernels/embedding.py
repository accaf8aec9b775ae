"""Launch kernels/embedding.cu.  Same contract as minixl.ops.embedding.sum_rows."""
import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import block_threads, check, check_matrix, float32_only, size
from minixl.ops import embedding as op
from minixl.ops.embedding import RowSparse

THREADS = 256


@float32_only(op.sum_rows)
def sum_rows(ids: Array, values: Array, *, threads: int = THREADS) -> RowSparse:
    """ids (T,) int64, values (T, H) -> the sum of the rows of each id, ids increasing."""
    xp = array_module(ids, values)
    rows, hidden = check_matrix("values", values)
    check("ids", ids, (rows,), np.int64)
    order = xp.argsort(ids, kind="stable")
    ordered = ids[order]
    new = xp.ones(len(ids), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    first = xp.append(xp.flatnonzero(new), len(ids)).astype(np.int64)          # (n + 1,)
    sums = kernels.empty(values, (len(first) - 1, hidden))
    if sums.size:
        kernels.load("embedding.cu", "embedding_sum_rows")(
            (len(sums),), block_threads(threads), (values, order, first, sums, size("H", hidden)))
    return RowSparse(ordered[first[:-1]], sums)
