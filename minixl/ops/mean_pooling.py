"""The mean of the rows of each sentence of a packed batch.

    forward    y_b  = 1/n_b Σ x_t     over the n_b rows starts[b] ... starts[b+1]-1
    backward   dx_t = dy_b / n_b

Checked in tests/ops/test_mean_pooling.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op


class MeanPoolingCache(NamedTuple):
    starts: np.ndarray  # (B+1,)  on the CPU


@op
def mean_pooling_forward(x: Array, starts: np.ndarray) -> tuple[Array, MeanPoolingCache]:
    """x (T, H), starts (B+1,) -> y (B, H).  Raises ValueError for a sentence without rows, which has no mean."""
    lengths = np.diff(starts)
    if (lengths <= 0).any():
        raise ValueError(f"mean_pooling: sentence {int(np.argmin(lengths))} of the batch has no rows")
    xp = array_module(x)
    if xp is np:
        total = np.add.reduceat(x, starts[:-1], axis=0) if len(lengths) else x[:0]
    else:
        total = xp.zeros((len(lengths), x.shape[1]), x.dtype)
        xp.add.at(total, xp.repeat(xp.arange(len(lengths)), lengths.tolist()), x)
    return total / xp.asarray(lengths, x.dtype)[:, None], MeanPoolingCache(starts)


@op
def mean_pooling_backward(dy: Array, cache: MeanPoolingCache) -> tuple[Array, dict[str, Array]]:
    """dy (B, H) -> dx (T, H)."""
    xp = array_module(dy)
    lengths = np.diff(cache.starts)
    return xp.repeat(dy / xp.asarray(lengths, dy.dtype)[:, None], lengths.tolist(), axis=0), {}
