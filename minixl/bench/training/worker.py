"""One measuring process: reads a pickled WorkerJob from stdin, writes one line of JSON to stdout.

It is a separate process because the number of threads must be in the environment before NumPy or PyTorch is imported,
and because the peak memory of a process can be read but not reset.
"""
from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from minixl.bench.timing import seconds_of
from minixl.bench.training.contender import Contender, DecodingContender, ItemisedContender, Loss, TaggingContender, make
from minixl.bench.training.work import BertWork, Examples, Work, pieces
from minixl.errors import UserError
from minixl.training.memory import peak_memory

TOLERANCE = 1e-5                       # relative difference of two losses in float32; above it the computations differ
TIES = 1e-3                            # share of words where two searches in float32 may pick different paths of equal score
Parts = dict[str, dict[str, float]]    # loss -> part of its update -> seconds


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """What one process measures."""

    quantity: str                      # "time": all engines in turn; "peak": memory of one engine alone
    family: str
    engines: tuple[str, ...]
    work: Work
    batch_kind: str                    # key of work.batches
    repeats: int
    threads: int


def run(job: WorkerJob) -> dict[str, Any]:
    """Do the job; return its figures."""
    contenders = {engine: make(job.family, engine, job.work, job.threads) for engine in job.engines}
    return time_in_turn(job, contenders) if job.quantity == "time" else measure_alone(job, contenders[job.engines[0]])


def time_in_turn(job: WorkerJob, contenders: dict[str, Contender]) -> dict[str, Any]:
    """Time the engines in turn, batch by batch, so that other load on the machine affects all of them alike."""
    batches, predicted = job.work.batches[job.batch_kind], job.work.predicted[job.batch_kind]
    prepared = {engine: [c.prepare(batch) for batch in batches] for engine, c in contenders.items()}
    losses = {engine: c.loss(prepared[engine][0]) for engine, c in contenders.items()}
    check_equal(losses)
    tags, searches = compare_searches(contenders, predicted)           # before the steps: each engine draws its own dropout
    predictions = {engine: (c.predict, predicted) for engine, c in contenders.items()
                   if predicted and isinstance(c, TaggingContender)}
    calls = {"predict_seconds": predictions, "decode_seconds": searches}
    itemised = {engine: c for engine, c in contenders.items() if isinstance(c, ItemisedContender)}
    for engine, contender in contenders.items():
        contender.step(prepared[engine][0])
    rate = product_rate(job)
    rates: list[float] = []
    seconds: dict[str, list[list[float]]] = {engine: [[] for _ in batches] for engine in contenders}
    parts: dict[str, list[list[Parts]]] = {engine: [[] for _ in batches] for engine in itemised}
    others: dict[str, dict[str, list[float]]] = {engine: {} for engine in contenders}
    for turn in range(job.repeats):
        order = list(contenders)[::1 if turn % 2 else -1]              # no engine is always the first
        for i in range(len(batches)):
            rates += [rate()] if rate else []
            for engine in order:
                seconds[engine][i].append(seconds_of(contenders[engine].step, prepared[engine][i]))
            for engine in itemised:
                parts[engine][i].append(itemised[engine].parts(prepared[engine][i]))
        for figure, call_of in calls.items():
            for engine in order if call_of else ():
                others[engine].setdefault(figure, []).append(seconds_of(*call_of[engine]))
    figures: dict[str, dict[str, Any]] = {
        engine: {"loss": losses[engine], "batch_seconds": [median(s) for s in seconds[engine]],
                 **{figure: median(times) for figure, times in others[engine].items()}} for engine in contenders}
    for engine, repeats in parts.items():
        figures[engine]["parts"] = mean_of(repeats)
    return {"engines": figures, **({"operations_per_second": median(rates)} if rates else {}), **({"tags": tags} if tags else {})}


def mean_of(parts: list[list[Parts]]) -> Parts:
    """Take each part's median over the repeats of a batch, then the mean over the batches."""
    of_batch = lambda repeats, loss, part: median(repeat[loss][part] for repeat in repeats)
    return {loss: {part: sum(of_batch(repeats, loss, part) for repeats in parts) / len(parts) for part in seconds}
            for loss, seconds in parts[0][0].items()}


def compare_searches(contenders: dict[str, Contender], batches: Sequence[Examples]) -> tuple[dict[str, int], dict[str, Any]]:
    """Count the words whose tags differ between the engines; return this and the search to time, as function and argument.

    All searches get the same emissions.  Both results are empty if the engines have no search of their own.
    """
    decoders = {engine: c for engine, c in contenders.items() if isinstance(c, DecodingContender)}
    if not decoders:
        return {}, {}
    emissions = next(iter(decoders.values())).emissions(batches)
    sizes = [len(batch) for batch in batches]
    searches = {engine: (decoder.decode, decoder.hold(emissions, sizes)) for engine, decoder in decoders.items()}
    decoded = {engine: np.concatenate(decode(held)) for engine, (decode, held) in searches.items()}
    predicted = {engine: np.concatenate(decoder.predict(batches)) for engine, decoder in decoders.items()}
    return {"words": sum(map(len, emissions)), "differ_decoded": differing(decoded, "from the same emissions"),
            "differ_predicted": differing(predicted, "from the same parameters")}, searches


def differing(tags: dict[str, np.ndarray], origin: str) -> int:
    """Count the words whose tags differ between engines.  Raise UserError if there are more than ties can explain."""
    first, *others = tags.values()
    words = max((int((first != other).sum()) for other in others), default=0)
    if words > TIES * len(first):
        raise UserError(f"the engines do not find the same tags {origin}: {' and '.join(tags)} differ at {words} of "
                        f"{len(first)} words")
    return words


def check_equal(losses: dict[str, Loss]) -> None:
    """Raise UserError if the losses of the engines differ: then their times cannot be compared."""
    named = {engine: loss if isinstance(loss, dict) else {"loss": loss} for engine, loss in losses.items()}
    for name in next(iter(named.values())):
        values = {engine: loss[name] for engine, loss in named.items()}
        lowest, highest = min(values.values()), max(values.values())
        if highest - lowest > TOLERANCE * max(abs(highest), 1e-3):
            listed = ", ".join(f"{engine} {value:.6f}" for engine, value in values.items())
            subject = "loss" if name == "loss" else f"loss of the {name}"
            raise UserError(f"the engines do not compute the same {subject} on the first batch without dropout: {listed}")


def measure_alone(job: WorkerJob, contender: Contender) -> dict[str, Any]:
    """Measure the peak memory of loading and training, and the seconds of each batch, with one engine in the process."""
    prepared = [contender.prepare(batch) for batch in job.work.batches[job.batch_kind]]
    contender.step(prepared[0])
    return {"batch_seconds": [seconds_of(contender.step, batch) for batch in prepared], "peak_memory_bytes": peak_memory()}


def product_rate(job: WorkerJob) -> Callable[[], float] | None:
    """Return what measures the rate of one BERT layer's matrix products at the mean batch size; None if there is none."""
    if not isinstance(job.work, BertWork) or job.work.device != "cpu":
        return None
    from minixl.bench.training.products import ProductRate
    from minixl.weights.folder import read_config

    batches = job.work.read(job.batch_kind)
    return ProductRate(read_config(job.work.encoder), sum(map(pieces, batches)) // len(batches)).measure


def answer(measure: Callable[[Any], dict[str, Any]]) -> None:
    """Do the job from stdin; the entry point of a measuring process."""
    try:
        result = measure(pickle.load(sys.stdin.buffer))
    except UserError as error:
        result = {"error": str(error)}
    except MemoryError:
        result = {"error": "out of memory; choose a smaller --batch-size"}
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(result))


if __name__ == "__main__":
    # pickle looks for WorkerJob in minixl.bench.training.worker, which is not the module __main__
    from minixl.bench.training import worker
    answer(worker.run)
