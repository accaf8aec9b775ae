"""The measuring process: reads a pickled PredictionJob from stdin, writes one line of JSON to stdout.

It is a separate process for the reason that minixl/bench/training/worker.py gives.
"""
from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from minixl.bench.prediction.engines import Made, make_engines
from minixl.bench.timing import seconds_of
from minixl.bench.training.work import BertWork, Examples
from minixl.bench.training.worker import answer
from minixl.errors import UserError

TOLERANCE = 1e-3                   # largest difference of two log-probabilities in float32


@dataclass(frozen=True, slots=True)
class PredictionJob:
    """What is measured.  engines: minixl, and the packages to compare it with."""

    engines: tuple[str, ...]
    work: BertWork
    texts: dict[str, list[Examples]]   # key of texts.LENGTHS -> batches
    repeats: int
    threads: int


def run(job: PredictionJob) -> dict[str, Any]:
    """Compare the results of all engines on texts of every length, then time the engines in turn."""
    with tempfile.TemporaryDirectory(prefix="minixl-bench-") as scratch:
        engines = make_engines(job.engines[1:], job.work, job.threads, Path(scratch))
        return {length: measure(engines, batches, job.repeats) for length, batches in job.texts.items()}


def measure(engines: dict[str, Made], batches: list[Examples], repeats: int) -> dict[str, Any]:
    """Return the figures of every engine on these batches; the comparison also warms the engines up."""
    scores = {name: np.concatenate(made.engine.predict(batches)) for name, made in engines.items()}
    differences = compare(scores, engines)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(repeats):
        for name in list(engines)[::1 if turn % 2 else -1]:            # no engine is always the first
            seconds[name].append(seconds_of(engines[name].engine.predict, batches))
    return {name: {"seconds": median(seconds[name]), "float32": engines[name].float32, **differences[name]} for name in engines}


def compare(scores: dict[str, np.ndarray], engines: dict[str, Made]) -> dict[str, dict[str, float]]:
    """Return how far each engine is from minixl.  Raises UserError if one in float32 computes something else."""
    ours = scores["minixl"]
    found = {name: {"largest_difference": float(np.abs(own - ours).max(initial=0)),
                    "same_tags": float((own.argmax(axis=1) == ours.argmax(axis=1)).mean())} for name, own in scores.items()}
    for name, figures in found.items():
        if engines[name].float32 and not figures["largest_difference"] <= TOLERANCE:
            raise UserError(f"the engines do not compute the same log-probabilities: minixl and {name} differ by up to "
                            f"{figures['largest_difference']:.2g}")
    return found


if __name__ == "__main__":
    # pickle looks for PredictionJob in minixl.bench.prediction.worker, which is not the module __main__
    from minixl.bench.prediction import worker
    answer(worker.run)
