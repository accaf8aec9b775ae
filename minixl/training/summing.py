"""Sum the gradients of an update over the processes that train together.

The flat buffer of a ParameterStore is summed in buckets of BUCKET elements, several short stretches together, the highest
addresses first: those are the upper layers, whose gradients are ready first.  In an update of one backward pass, a bucket's sum
begins as soon as its gradients are there, while the lower layers are still computed.

A table's gradient is row-sparse: the processes agree on the rows that any of them has, and sum only these.
Tests: tests/distributed/.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minixl.backend import Array, to_numpy
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


class Summing:
    """The sums of an update's gradients; those of a bucket may begin before the others are there.

    Every process begins them in the same order, that of `buckets`.
    """

    def __init__(self, store: ParameterStore, names: Sequence[str]) -> None:
        self.store, self.names = store, tuple(names)
        self.spans = bucket_spans(store, self.names)
        self.missing = [names_in(store, self.names, spans) for spans in self.spans]    # without a gradient yet, by bucket
        self.begun: list[Bucket] = []

    def note(self, name: str) -> None:
        """Begin the sums that waited for this parameter's gradient, the only one it gets, and advance those that have begun."""
        for number, missing in enumerate(self.missing):
            if name in missing and number < len(self.begun):
                raise RuntimeError(f"{name}: got a gradient after its sum over the processes had begun")
            missing.discard(name)
        while len(self.begun) < len(self.spans) and not self.missing[len(self.begun)]:
            self.begin_next()
        for bucket in self.begun:
            bucket.sum.advance()

    def begin_next(self) -> None:
        """Begin the sum of the next bucket."""
        self.begun.append(Bucket(self.store.grads, self.spans[len(self.begun)], self.store.xp))

    def finish(self) -> None:
        """Begin what has not begun, and wait for all sums."""
        while len(self.begun) < len(self.spans):
            self.begin_next()
        for name in self.names:
            if self.store[name].offset is None:
                _sum_table(self.store, name)
        for bucket in self.begun:
            bucket.finish()


_early: Summing | None = None          # of the update whose last backward pass is next


@contextmanager
def summed_early(store: ParameterStore, names: Sequence[str]) -> Iterator[None]:
    """Let the sums of an update of `names` begin during the backward pass that `watched` marks as its last.

    The update, sum_gradients, follows within the block.
    """
    global _early
    _early = Summing(store, names) if group().size > 1 else None
    try:
        yield
    finally:
        _early = None


@contextmanager
def watched(last: bool) -> Iterator[None]:
    """Watch the gradients of a backward pass if it is the last one before an update in a block of summed_early."""
    if _early is None or not last:
        yield
        return
    _early.store.watcher = _early.note
    try:
        yield
    finally:
        _early.store.watcher = None


def sum_gradients(store: ParameterStore, names: Sequence[str]) -> None:
    """Replace the gradients of `names` by their sums over the processes of the group; collective."""
    if group().size > 1:
        early = _early if _early is not None and (_early.store, _early.names) == (store, tuple(names)) else None
        (early or Summing(store, names)).finish()


def bucket_spans(store: ParameterStore, names: Sequence[str]) -> list[list[slice]]:
    """Return the stretches of every bucket: the matrices from the top, then the vectors, which lie behind all of them."""
    matrices = [name for name in names if store[name].value.ndim > 1]
    vectors = [name for name in names if store[name].value.ndim < 2]
    return [spans for part in (matrices, vectors) if part for spans in buckets(store.spans(part))]


def names_in(store: ParameterStore, names: Sequence[str], spans: Sequence[slice]) -> set[str]:
    """Return the parameters that some of these stretches hold, at least in part."""
    within = set()
    for name in names:
        first = store[name].offset
        if first is not None and any(first < span.stop and span.start < first + store[name].value.size for span in spans):
            within.add(name)
    return within


def buckets(spans: Sequence[slice], size: int | None = None) -> list[list[slice]]:
    """Divide stretches of a buffer into lists of at most `size` elements together, from the end of the buffer."""
    size = size or BUCKET
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
    rows = np.unique(group().gather_rows(np.zeros(0, np.int64) if own is None else to_numpy(own.rows)))
    if not len(rows):
        return
    rows = xp.asarray(rows)
    values = xp.zeros((len(rows), parameter.value.shape[1]), store.dtype)
    if own is not None:
        values[xp.searchsorted(rows, own.rows)] = own.values
    group().begin_sum(values.reshape(-1)).finish()
    parameter.grad = RowSparse(rows, values)
