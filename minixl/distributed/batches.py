"""Share out batches that do not depend on each other: of prediction, scoring, labelling."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from minixl.backend import side_by_side
from minixl.distributed.group import group

Batch = TypeVar("Batch")
Label = TypeVar("Label")
Result = TypeVar("Result")


AT_ONCE = 4              # batches of each process, for its threads; at the end of a text some have fewer to do


def each_batch(function: Callable[[Batch], Result], batches: Iterable[tuple[Batch, Label]], *,
               threads: bool = False) -> Iterator[tuple[Result, Label]]:
    """Yield function(batch) and what comes with every batch, in order.

    threads: compute several batches at the same time, each on one thread; the bits of the results do not depend on how many.
    """
    yield from (side_by_side if threads else map)(lambda item: (function(item[0]), item[1]), batches)


def shared_out(function: Callable[[Batch], Result], batches: Iterable[tuple[Batch, Label]], *,
               threads: bool = False) -> Iterator[tuple[Result, Label]]:
    """Do what each_batch does in all processes of the group, which compute some of the batches each.

    The batches are the same in all of them, so every bit of a result is that of one process alone.
    """
    together, remaining = group(), iter(batches)
    if together.size == 1:
        yield from each_batch(function, remaining, threads=threads)
        return
    each = AT_ONCE if threads else 1
    while several := list(islice(remaining, together.size * each)):
        own = several[together.rank * each:][:each]
        results = chain.from_iterable(together.gather([result for result, _ in each_batch(function, own, threads=threads)]))
        for (_, label), result in zip(several, results, strict=True):
            yield result, label
