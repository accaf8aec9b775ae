"""One of the processes that measure steps together: reads a pickled RanksJob from a file; the first writes a line of JSON."""
from __future__ import annotations

import json
import pickle
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from minixl.bench.timing import seconds_of
from minixl.bench.training.contender import load
from minixl.bench.training.ranks import ENGINES, Configuration, RanksJob
from minixl.blas import using_threads
from minixl.distributed import Group, using
from minixl.distributed.group import ALONE
from minixl.distributed.launch import together


class Setup:
    """One configuration in this process, which it may not need."""

    def __init__(self, configuration: Configuration, job: RanksJob, world: Any) -> None:
        self.engine, count, self.threads = configuration
        self.needed = world.rank < count
        self.group = first_of(world, count)
        self.contender: Any = None
        if self.needed:
            self.contender = load(ENGINES[self.engine])(job.work, self.threads)
        if self.engine == "torch":
            load("ddp_bert.join")(self.contender, world, self.group, count, job.meeting)
        self.batches = [self.contender.prepare(batch) for batch in job.work.batches[job.batch_kind]] if self.needed else []
        self.seconds: list[list[float]] = [[] for _ in job.work.batches[job.batch_kind]]
        self.of_sum: list[float] = []
        with using(self.group):
            self.loss = self.contender.loss(self.batches[0]) if self.needed else 0.0

    def measure(self, number: int) -> None:
        """Time a step on one batch, and for minixl the sum of the gradients alone."""
        if not self.needed:
            return
        with ExitStack() as settings:
            settings.enter_context(using(self.group))
            settings.enter_context(using_threads(self.threads))
            if self.engine == "torch":
                load("ddp_bert.set_threads")(self.threads)
            self.group.barrier()
            self.seconds[number].append(seconds_of(self.step, number))
            if self.engine == "minixl" and self.group.size > 1:
                self.of_sum.append(seconds_of(self.sum))

    def step(self, number: int) -> None:
        """Make a step, and wait for the others."""
        self.contender.step(self.batches[number])
        self.group.barrier()

    def sum(self) -> None:
        """Sum the gradients, which are zero."""
        from minixl.training.objective import TASK
        from minixl.training.summing import sum_gradients

        sum_gradients(self.contender.model.store, self.contender.objective.subsets[TASK])
        self.group.barrier()

    def figures(self) -> dict[str, float]:
        """Return medians, without the first step on every batch."""
        steps = [median(seconds[1:]) for seconds in self.seconds]
        return {"loss": self.loss, "step_seconds": sum(steps) / len(steps),
                **({"sum_seconds": median(self.of_sum[len(steps):])} if self.of_sum else {})}


def first_of(world: Any, count: int) -> Group:
    """Return the group of the first `count` processes; collective."""
    if world.size == 1:
        return ALONE
    from minixl.distributed.mpi import MpiGroup

    own = MpiGroup(world.communicator.Split(int(world.rank >= count), world.rank))
    return own if own.size > 1 else ALONE


def rest(world: Any) -> None:
    """Wait for all processes, asleep, so that those that work have all cores."""
    if world.size > 1:
        request = world.communicator.Ibarrier()
        while not request.Test():
            time.sleep(0.002)


def run(job: RanksJob, world: Any) -> list[dict[str, float]]:
    """Time every configuration `repeats` times on every batch, in turn; return their figures."""
    setups = [Setup(configuration, job, world) for configuration in job.configurations]
    for turn in range(1 + job.repeats):
        for number in range(len(job.work.batches[job.batch_kind])):
            for setup in setups[::1 if turn % 2 else -1]:
                rest(world)
                setup.measure(number)
    rest(world)
    return [setup.figures() for setup in setups] if world.leads else []


def main(path: str) -> None:
    """Run the job in a file."""
    with together() as world:
        print(json.dumps(run(pickle.loads(Path(path).read_bytes()), world)))


if __name__ == "__main__":
    main(sys.argv[1])
