"""Where a run reports its progress, and how it is asked to stop."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

Stop = Callable[[], bool]


class Stopped(Exception):
    """The run was asked to stop; everything it needs to continue is on disk."""


class Reporter(Protocol):
    """Receives the progress of a run; cli/train.py shows it on the terminal."""

    def message(self, text: str) -> None: ...
    def start(self, total: int, done: int, what: str) -> None: ...
    def step(self, tokens_per_second: float, count: int = 1) -> None: ...
    def finish(self) -> None: ...


def check_stop(stop: Stop) -> None:
    """Raise Stopped if the run was asked to stop; called only where nothing that is not on disk would be lost."""
    if stop():
        raise Stopped


@contextmanager
def over_pieces(total: int, what: str, reporter: Reporter, stop: Stop) -> Iterator[Callable[[int], None]]:
    """Show a bar over `total` word pieces.

    Yields a function to call after every batch with its number of pieces; it raises Stopped between two batches.
    """
    if not total:                                                      # nothing to do, nothing to show
        yield lambda count: None
        return
    done, begin = 0, perf_counter()

    def progress(count: int) -> None:
        nonlocal done
        done += count
        reporter.step(done / max(perf_counter() - begin, 1e-9), count)
        if done < total:
            check_stop(stop)

    reporter.start(total, 0, what)
    try:
        yield progress
    finally:
        reporter.finish()
