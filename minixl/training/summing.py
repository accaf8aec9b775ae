"""Sum the gradients of an update over the processes that train together.

The flat buffer of a ParameterStore is summed in buckets of BUCKET elements, several short stretches together, the highest
addresses first: those are the upper layers, whose gradients are ready first.  A table's gradient is row-sparse: the processes
agree on the rows that any of them has, and sum only these.
Tests: tests/distributed/.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minixl.backend import Array
from minixl.distributed import PendingSum, group
from minixl.ops.embedding import RowSparse
from minixl.parameters import ParameterStore

BUCKET = 1 << 22                       # elements, 16 MB of float32: fewer messages gain nothing, see docs/scaling.md


class Bucket:
    """Stretches of the flat gradients that are summed together."""

    def __init__(self, grads: Array, spans: Sequence[slice], xp: Any) -> None:
        self.grads, self.spans = grads, spans
        self.values = grads[spans[0]] if len(spans) == 1 else xp.concatenate([grads[span] for span in spans])
        self.sum: PendingSum = group().begin_sum(self.values)

    def finish(self) -> None:
        """Wait for the sum, and put it into the gradients."""
        self.sum.finish()
        if len(self.spans) > 1:
            first = 0
            for span in self.spans:
                self.grads[span] = self.values[first:first + span.stop - span.start]
                first += span.stop - span.start


def sum_gradients(store: ParameterStore, names: Sequence[str]) -> None:
    """Replace the gradients of `names` by their sums over the processes of the group; collective."""
    if group().size == 1:
        return
    waiting = [Bucket(store.grads, spans, store.xp) for spans in buckets(store.spans(names))]
    for name in names:
        if store[name].offset is None:
            _sum_table(store, name)
    for bucket in waiting:
        bucket.finish()


def buckets(spans: Sequence[slice], size: int = BUCKET) -> list[list[slice]]:
    """Divide stretches of a buffer into lists of at most `size` elements together, from the end of the buffer."""
    lists: list[list[slice]] = []
    room = 0
    for span in reversed(spans):
        end = span.stop
        while end > span.start:
            if not room:
                lists.append([])
                room = size
            start = max(span.start, end - room)
            lists[-1].append(slice(start, end))
            room -= end - start
            end = start
    return lists


def _sum_table(store: ParameterStore, name: str) -> None:
    """Sum a row-sparse gradient over the rows that any process has."""
    xp, parameter = store.xp, store[name]
    own = parameter.grad
    rows = xp.unique(group().gather_rows(own.rows if own is not None else xp.zeros(0, xp.int64)))
    if not len(rows):
        return
    values = xp.zeros((len(rows), parameter.value.shape[1]), store.dtype)
    if own is not None:
        values[xp.searchsorted(rows, own.rows)] = own.values
    group().begin_sum(values.reshape(-1)).finish()
    parameter.grad = RowSparse(rows, values)
