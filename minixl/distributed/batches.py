"""Share out batches that do not depend on each other: of prediction, scoring, labelling."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from minixl.distributed.group import group

Batch = TypeVar("Batch")
Indices = TypeVar("Indices")
Result = TypeVar("Result")


def shared_out(function: Callable[[Batch], Result], batches: Iterable[tuple[Batch, Indices]]) -> Iterator[tuple[Result, Indices]]:
    """Yield function(batch) and the indices of every batch, in all processes of the group, which compute one batch each at a time.

    The batches are the same in all of them, so every bit of a result is that of one process alone.
    """
    together, remaining = group(), iter(batches)
    if together.size == 1:
        for batch, indices in remaining:
            yield function(batch), indices
        return
    while several := list(islice(remaining, together.size)):
        own = function(several[together.rank][0]) if together.rank < len(several) else None
        for (_, indices), result in zip(several, together.gather(own), strict=False):
            yield result, indices
