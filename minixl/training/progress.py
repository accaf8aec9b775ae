"""Report the progress of a run, and stop it on request."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

from minixl.errors import DETAILS, WARNING

Stop = Callable[[], bool]


class Stopped(Exception):
    """The run stopped on request; everything needed to continue it is on disk."""


class Reporter(Protocol):
    """Receives the progress of a run; cli/train.py shows it on the terminal.

    A line of a message that begins with WARNING is a warning.
    """

    def message(self, text: str) -> None: ...
    def start(self, total: int, done: int, label: str) -> None: ...
    def step(self, tokens_per_second: float, count: int = 1) -> None: ...
    def finish(self) -> None: ...


class Logged:
    """A reporter that logs messages to the logger "minixl", warnings at level WARNING, others at INFO, and shows no bars."""

    def message(self, text: str) -> None:
        for line in text.splitlines():
            DETAILS.log(logging.WARNING if line.startswith(WARNING) else logging.INFO, "%s", line)

    def start(self, total: int, done: int, label: str) -> None:
        """Show nothing."""

    def step(self, tokens_per_second: float, count: int = 1) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Show nothing."""


@contextmanager
def timed(work: str) -> Iterator[None]:
    """Log at level DEBUG how many seconds the block took, unless it raises.  work: names it, for example "training"."""
    begin = perf_counter()
    yield
    DETAILS.debug("%s: %.2f s", work, perf_counter() - begin)


def check_stop(stop: Stop) -> None:
    """Raise Stopped if the run was asked to stop; called only where the disk has everything needed to continue."""
    if stop():
        raise Stopped


@contextmanager
def over_pieces(total: int, label: str, reporter: Reporter, stop: Stop) -> Iterator[Callable[[int], None]]:
    """Show a bar over `total` word pieces.

    Yields a function to call after every batch with its number of pieces; it may raise Stopped between two batches.
    """
    if not total:                                                      # no work, no bar
        yield lambda count: None
        return
    done, begin = 0, perf_counter()

    def progress(count: int) -> None:
        nonlocal done
        done += count
        reporter.step(done / max(perf_counter() - begin, 1e-9), count)
        if done < total:
            check_stop(stop)

    reporter.start(total, 0, label)
    try:
        yield progress
    finally:
        reporter.finish()
