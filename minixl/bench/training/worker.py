"""One measuring process: a pickled WorkerJob on stdin, one line of JSON on stdout.

A process of its own because the number of threads must stand in the environment before NumPy or PyTorch is imported,
and because the most memory a process ever held can be asked for but not reset.
"""
from __future__ import annotations

import json
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from minixl.bench.training.contender import Contender, DecodingContender, ItemisedContender, Loss, TaggingContender, make
from minixl.bench.training.work import BertWork, Examples, Work, pieces
from minixl.errors import UserError
from minixl.training.memory import peak_memory

TOLERANCE = 1e-5                       # of two losses in float32, relative: more is another computation
TIES = 1e-3                            # share of words at which two searches in float32 may choose among equal paths
Parts = dict[str, dict[str, float]]    # seconds: what ItemisedContender measures


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """What one process is to measure."""

    quantity: str                       # "time": all engines in turn; "peak": one engine alone
    family: str
    engines: tuple[str, ...]
    work: Work
    batch_kind: str                    # which of work.batches
    repeats: int
    threads: int


def run(job: WorkerJob) -> dict[str, Any]:
    """The figures of one job."""
    contenders = {engine: make(job.family, engine, job.work, job.threads) for engine in job.engines}
    return time_in_turn(job, contenders) if job.quantity == "time" else alone(job, contenders[job.engines[0]])


def time_in_turn(job: WorkerJob, contenders: dict[str, Contender]) -> dict[str, Any]:
    """Seconds of every engine, batch by batch in turn so that whatever else the machine does hits all alike."""
    batches, predicted = job.work.batches[job.batch_kind], job.work.predicted[job.batch_kind]
    prepared = {engine: [c.prepare(batch) for batch in batches] for engine, c in contenders.items()}
    losses = {engine: c.loss(prepared[engine][0]) for engine, c in contenders.items()}
    check_equal(losses)
    tags, searches = searches_of(contenders, predicted)                # before the steps, which draw dropout of their own
    whole = {"predict_seconds": {engine: (c.predict, predicted) for engine, c in contenders.items()
                                 if predicted and isinstance(c, TaggingContender)}, "decode_seconds": searches}
    itemised = {engine: c for engine, c in contenders.items() if isinstance(c, ItemisedContender)}
    for engine, contender in contenders.items():
        contender.step(prepared[engine][0])
    rate = product_rate(job)
    rates: list[float] = []
    seconds: dict[str, list[list[float]]] = {engine: [[] for _ in batches] for engine in contenders}
    parts: dict[str, list[list[Parts]]] = {engine: [[] for _ in batches] for engine in itemised}
    others: dict[str, dict[str, list[float]]] = {engine: {} for engine in contenders}
    for turn in range(job.repeats):
        order = list(contenders)[::1 if turn % 2 else -1]              # neither is always the first
        for i in range(len(batches)):
            rates += [rate()] if rate else []
            for engine in order:
                seconds[engine][i].append(timed(contenders[engine].step, prepared[engine][i]))
            for engine, one in itemised.items():
                parts[engine][i].append(one.parts(prepared[engine][i]))
        for figure, calls in whole.items():
            for engine in order if calls else ():
                others[engine].setdefault(figure, []).append(timed(*calls[engine]))
    figures: dict[str, dict[str, Any]] = {
        engine: {"loss": losses[engine], "batch_seconds": [median(s) for s in seconds[engine]],
                 **{figure: median(times) for figure, times in others[engine].items()}} for engine in contenders}
    for engine, found in parts.items():
        figures[engine]["parts"] = mean_of(found)
    return {"engines": figures, **({"operations_per_second": median(rates)} if rates else {}), **({"tags": tags} if tags else {})}


def mean_of(parts: list[list[Parts]]) -> Parts:
    """Of every batch's repeats -> the mean over the batches of each part's median."""
    of_batch = lambda repeats, loss, part: median(repeat[loss][part] for repeat in repeats)
    return {loss: {part: sum(of_batch(repeats, loss, part) for repeats in parts) / len(parts) for part in seconds}
            for loss, seconds in parts[0][0].items()}


def searches_of(contenders: dict[str, Contender], batches: Sequence[Examples]) -> tuple[dict[str, int], dict[str, Any]]:
    """How many tags the engines agree on, and what to time of each one's search: function and argument.

    The search is given the same emissions everywhere.  Both are empty where the engines have no search of their own.
    """
    decoders = {engine: c for engine, c in contenders.items() if isinstance(c, DecodingContender)}
    if not decoders:
        return {}, {}
    emissions = next(iter(decoders.values())).emissions(batches)
    sizes = [len(batch) for batch in batches]
    searches = {engine: (decoder.decode, decoder.hold(emissions, sizes)) for engine, decoder in decoders.items()}
    found = {engine: np.concatenate(decode(held)) for engine, (decode, held) in searches.items()}
    predicted = {engine: np.concatenate(decoder.predict(batches)) for engine, decoder in decoders.items()}
    return {"words": sum(map(len, emissions)), "differ_decoded": differing(found, "from the same emissions"),
            "differ_predicted": differing(predicted, "from the same parameters")}, searches


def differing(tags: dict[str, np.ndarray], given: str) -> int:
    """Words whose tags are not the same in all engines.  Raises UserError when they are more than ties can explain."""
    first, *others = tags.values()
    words = max((int((first != other).sum()) for other in others), default=0)
    if words > TIES * len(first):
        raise UserError(f"the engines do not find the same tags {given}: {' and '.join(tags)} differ at {words} of "
                        f"{len(first)} words")
    return words


def check_equal(losses: dict[str, Loss]) -> None:
    """Raises UserError when the engines do not compute the same thing: their times could not be compared."""
    named = {engine: loss if isinstance(loss, dict) else {"loss": loss} for engine, loss in losses.items()}
    for name in next(iter(named.values())):
        values = {engine: loss[name] for engine, loss in named.items()}
        lowest, highest = min(values.values()), max(values.values())
        if highest - lowest > TOLERANCE * max(abs(highest), 1e-3):
            listed = ", ".join(f"{engine} {value:.6f}" for engine, value in values.items())
            what = "loss" if name == "loss" else f"loss of the {name}"
            raise UserError(f"the engines do not compute the same {what} on the first batch without dropout: {listed}")


def alone(job: WorkerJob, contender: Contender) -> dict[str, Any]:
    """Peak memory of loading and training, and seconds a batch, of an engine with a process to itself."""
    prepared = [contender.prepare(batch) for batch in job.work.batches[job.batch_kind]]
    contender.step(prepared[0])
    return {"batch_seconds": [timed(contender.step, batch) for batch in prepared], "peak_memory_bytes": peak_memory()}


def product_rate(job: WorkerJob) -> Callable[[], float] | None:
    """The matrix products of one BERT layer at the mean size of this kind of batches; None for another family."""
    if not isinstance(job.work, BertWork):
        return None
    from minixl.bench.training.products import ProductRate
    from minixl.weights.folder import read_config

    batches = job.work.read(job.batch_kind)
    return ProductRate(read_config(job.work.encoder), sum(map(pieces, batches)) // len(batches)).measure


def timed(function: Callable[[Any], object], argument: Any) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    function(argument)
    return time.perf_counter() - begin


def main() -> None:
    """Entry point of the process."""
    try:
        result = run(pickle.load(sys.stdin.buffer))
    except UserError as error:
        result = {"error": str(error)}
    except MemoryError:
        result = {"error": "out of memory; a smaller --batch-size needs less"}
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(result))


if __name__ == "__main__":
    # pickle looks for WorkerJob in minixl.bench.training.worker, which is another module than __main__
    from minixl.bench.training import worker
    worker.main()
