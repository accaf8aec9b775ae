"""One of the processes that measure a step together: reads a pickled RanksJob from a file; the first writes a line of JSON."""
from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from statistics import median
from typing import Any

from minixl.bench.timing import seconds_of
from minixl.bench.training.contender import load
from minixl.bench.training.ranks import ENGINES, RanksJob
from minixl.distributed.group import Group
from minixl.distributed.launch import together


def run(job: RanksJob, processes: Group) -> dict[str, Any]:
    """Time every batch `repeats` times; return the figures."""
    contender: Any = load(ENGINES[job.engine])(job.work, job.threads)
    if job.engine == "torch":
        contender.join(processes, job.meeting)
    prepared = [contender.prepare(batch) for batch in job.work.batches[job.batch_kind]]
    loss = contender.loss(prepared[0])

    def step(batch: Any) -> None:
        contender.step(batch)
        processes.barrier()

    step(prepared[0])
    times: list[list[float]] = [[] for _ in prepared]
    for _ in range(job.repeats):
        for batch, seconds in zip(prepared, times, strict=True):
            processes.barrier()
            seconds.append(seconds_of(step, batch))
    figures = {"loss": loss, "step_seconds": sum(map(median, times)) / len(times)}
    if job.engine == "minixl" and processes.size > 1:
        figures["sum_seconds"] = median(time_of_sum(contender, processes) for _ in range(5 * job.repeats))
    return figures


def time_of_sum(contender: Any, processes: Group) -> float:
    """Time the sum of the gradients alone, from barrier to barrier."""
    from minixl.training.objective import TASK
    from minixl.training.summing import sum_gradients

    def add(names: list[str]) -> None:
        sum_gradients(contender.model.store, names)
        processes.barrier()

    processes.barrier()
    return seconds_of(add, contender.objective.subsets[TASK])


def main(path: str) -> None:
    """Run the job in a file."""
    with together() as processes:
        print(json.dumps(run(pickle.loads(Path(path).read_bytes()), processes)))


if __name__ == "__main__":
    main(sys.argv[1])
