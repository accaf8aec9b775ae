"""Train stages that do not depend on each other at the same time, on groups of the processes that mpiexec started.

    run.groups=5    with 10 processes, teachers or seeds are trained five at a time, by two processes each

A group trains every N-th stage, each in the stage's own folder, as the same number of processes would do it alone; afterwards
all processes have the results of all.  Only the first group shows its progress.  Test: tests/distributed/test_groups.py.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from minixl.distributed import group, using
from minixl.settings import Section, Setting

Item = TypeVar("Item")
Result = TypeVar("Result")

SECTION = Section("processes", {
    "run.groups": Setting(1, "with several processes (mpiexec): train AdvPicker's teachers, or the runs of --seeds, on N groups of "
                          "processes at the same time", at_least=1, compared=False),
})


def on_groups(count: int, items: Sequence[Item], train: Callable[[Item], Result]) -> list[Result]:
    """Return train(item) for every item, in their order; at most `count` groups of processes work at the same time."""
    together = group()
    count = min(count, together.size, len(items))
    if count <= 1:
        return [train(item) for item in items]
    own, number = together.split(count)
    with using(own):
        results = {place: train(items[place]) for place in range(number, len(items), count)}
    everything = {place: result for of_process in together.gather(results) for place, result in of_process.items()}
    return [everything[place] for place in range(len(items))]
