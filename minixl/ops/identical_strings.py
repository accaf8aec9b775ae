"""Mean distance between the vectors of words that two languages spell alike.  Bao et al. 2019, section 2.2, L_iden.

    forward    value = 1/K Σ_k |x[rows_k] - y[others_k]|            K pairs of rows, every row at most once
    backward   dx[rows_k] = dvalue/K · (x[rows_k] - y[others_k]) / |x[rows_k] - y[others_k]|,   dy[others_k] = -dx[rows_k]
               0 for a pair of equal vectors;  row-sparse

Checked in tests/ops/test_identical_strings.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op
from minixl.ops.embedding import RowSparse, sum_rows


class IdenticalStringsCache(NamedTuple):
    rows: Array         # (K,)
    others: Array       # (K,)
    difference: Array   # (K, H)  x[rows] - y[others]
    distance: Array     # (K, 1)


@op
def identical_strings_forward(x: Array, y: Array, *, rows: Array, others: Array) -> tuple[Array, IdenticalStringsCache]:
    """x (V, H), y (W, H), rows (K,) of x and others (K,) of y -> value, a scalar array; 0 without pairs."""
    xp = array_module(x, y, rows, others)
    difference = x[rows] - y[others]                                                   # (K, H)
    distance = xp.sqrt((difference * difference).sum(axis=1, keepdims=True))           # (K, 1)
    value = distance.sum() / max(len(rows), 1)
    return value.astype(x.dtype), IdenticalStringsCache(rows, others, difference, distance)


@op
def identical_strings_backward(dvalue: Array, cache: IdenticalStringsCache) -> tuple[RowSparse, dict[str, RowSparse]]:
    """dvalue scalar -> dx and {"y": dy}, row-sparse."""
    rows, others, difference, distance = cache
    xp = array_module(difference)
    scale = distance.dtype.type(float(dvalue) / max(len(rows), 1))
    dx = difference / xp.where(distance > 0, distance, 1) * scale                      # (K, H)  a difference of 0 stays 0
    return sum_rows(rows, dx), {"y": sum_rows(others, -dx)}
