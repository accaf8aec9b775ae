"""Where a run's progress goes, and how a run is asked to stop."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

Stop = Callable[[], bool]


class Stopped(Exception):
    """The run was asked to stop; what it needs to continue is on disk."""


class Reporter(Protocol):
    """Where progress goes; cli/train.py shows it on the terminal."""

    def message(self, text: str) -> None: ...
    def start(self, total: int, done: int, what: str) -> None: ...
    def step(self, tokens_per_second: float, count: int = 1) -> None: ...
    def finish(self) -> None: ...


def stop_here(stop: Stop) -> None:
    """Called where everything is on disk, or can be done again: raises Stopped if the run was asked to stop."""
    if stop():
        raise Stopped


@contextmanager
def over_pieces(total: int, what: str, reporter: Reporter, stop: Stop) -> Iterator[Callable[[int], None]]:
    """A bar over `total` word pieces.  Yields what is called with a batch's count after each; it raises Stopped between two."""
    if not total:                                                      # nothing to do, nothing to show
        yield lambda count: None
        return
    done, begun = 0, perf_counter()

    def progress(count: int) -> None:
        nonlocal done
        done += count
        reporter.step(done / max(perf_counter() - begun, 1e-9), count)
        if done < total:
            stop_here(stop)

    reporter.start(total, 0, what)
    try:
        yield progress
    finally:
        reporter.finish()
