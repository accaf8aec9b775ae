"""The mean of the rows of each sentence of a packed batch.

    forward    y_b  = 1/n_b Σ x_t     over the n_b rows starts[b] ... starts[b+1]-1
    backward   dx_t = dy_b / n_b

Checked in tests/ops/test_mean_pooling.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op
from minixl.packing import sums_by_sentence


class MeanPoolingCache(NamedTuple):
    starts: np.ndarray  # (B+1,)  on the CPU


@op
def mean_pooling_forward(x: Array, starts: np.ndarray) -> tuple[Array, MeanPoolingCache]:
    """x (T, H), starts (B+1,) -> y (B, H).  Raises ValueError for a sentence without rows, which has no mean."""
    lengths = np.diff(starts)
    if (lengths <= 0).any():
        raise ValueError(f"mean_pooling: sentence {int(np.argmin(lengths))} of the batch has no rows")
    xp = array_module(x)
    total = sums_by_sentence(x, starts, xp)
    return total / xp.asarray(lengths, x.dtype)[:, None], MeanPoolingCache(starts)


@op
def mean_pooling_backward(dy: Array, cache: MeanPoolingCache) -> tuple[Array, dict[str, Array]]:
    """dy (B, H) -> dx (T, H)."""
    xp = array_module(dy)
    lengths = np.diff(cache.starts)
    return xp.repeat(dy / xp.asarray(lengths, dy.dtype)[:, None], lengths.tolist(), axis=0), {}
