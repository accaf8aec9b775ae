"""The group of processes that this one works with: what each has to know of the others.

    group().rank, .size, .leads        which of them this is, how many there are, whether it writes files and messages
    group().gather(value)              every process's value, in the order of their ranks
    on_one_rank(function)              the leading process calls it, the others get its result or its exception

All but rank, size and leads are collective: every process of the group has to call them, in the same order.  Without mpiexec the
group has one process, nothing is sent, and no bit of any result changes.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class PendingSum(Protocol):
    """A sum over the group that has begun."""

    def advance(self) -> bool:
        """Do what can be done without waiting; return whether the sum is complete."""

    def finish(self) -> None:
        """Wait until the sum is complete."""


class Group:
    """One process alone; mpi.py has the group of several."""

    rank = 0
    size = 1
    name = "one process"

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, in the order of their ranks."""
        return [value]

    def add(self, *numbers: float) -> list[float]:
        """Return the sum of each number over the processes, in the order of their ranks: the same bits in all of them."""
        if self.size == 1:
            return list(numbers)
        return [sum(column) for column in zip(*self.gather(numbers), strict=True)]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process."""
        return any(self.gather(flag))

    def barrier(self) -> None:
        """Wait until every process has come here."""
        self.gather(None)

    def gather_rows(self, rows: Any) -> Any:
        """rows (n, ...) of each process -> the rows of all, in the order of their ranks; on the device of `rows`."""
        return rows

    def begin_sum(self, array: Any) -> PendingSum:
        """Begin to replace a contiguous array (n,) by its sum over the processes, in the order of their ranks."""
        return Complete()

    def split(self, count: int) -> tuple[Group, int]:
        """Divide the group into `count` groups; return that of this process and its number.  A group may have one process."""
        return self, 0

    def end_alike(self, seconds: float) -> bool:
        """Return whether all processes come here within some seconds: whether all end for the same reason."""
        return True

    def abort(self, code: int) -> None:
        """End all processes at once."""
        raise SystemExit(code)


class Complete:
    """The sum over one process."""

    def advance(self) -> bool:
        return True

    def finish(self) -> None:
        """Nothing is pending."""


ALONE = Group()
_current: Group = ALONE


def group() -> Group:
    """Return the group of this process."""
    return _current


@contextmanager
def using(other: Group) -> Iterator[Group]:
    """Make another group that of this process inside the block."""
    global _current
    before, _current = _current, other
    try:
        yield other
    finally:
        _current = before


def on_one_rank(function: Function) -> Function:
    """Decorate a function that writes: the leading process calls it, on its own; all return its result or raise its exception.

    It begins when all processes have come here, so none still reads what it replaces, and all go on when it has finished.
    """
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        together = group()
        if together.size == 1:
            return function(*args, **kwargs)
        together.barrier()
        result, error = None, None
        if together.leads:
            try:
                with using(ALONE):
                    result = function(*args, **kwargs)
            except Exception as raised:
                error = raised
        result, error = together.gather((result, error))[0]
        if error is not None:
            raise error
        return result

    return call                                                        # type: ignore[return-value]
