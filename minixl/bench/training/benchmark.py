"""Time training and prediction, minixl against another engine: same weights, sentences, batches, frozen parameters.

For each kind of batches (random, grouped by length) one process times the engines in turn, then a separate process for
each engine measures its peak memory in training.  Not timed: reading, tokenising, and for a training step padding or
packing the batch.  In the shared process minixl's allocator setting (backend.py) applies to both engines; in its
separate process the other engine runs without it.
"""
from __future__ import annotations

import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from minixl import __version__
from minixl.backend import array_module_for
from minixl.bench.checks import PACKAGES, require_installed
from minixl.bench.kernels.engines import device_name
from minixl.bench.training.contender import AGAINST, MAKERS, load
from minixl.bench.training.report_parts import sums_of
from minixl.bench.training.work import BATCH_KINDS, TWO_LANGUAGES, BertWork, Options, Say, Work, padded, pieces
from minixl.bench.training.worker import WorkerJob
from minixl.errors import UserError


def run(options: Options, say: Say = lambda text: None) -> dict[str, Any]:
    """Measure everything; return the figures, ready for JSON.  Raises UserError."""
    engines: tuple[str, ...] = ("minixl",)
    if options.against:
        engines += (AGAINST[options.family][options.against],)
        require_installed(options.against, engines[1])
    if options.device != "cpu" and options.family != "bert":
        raise UserError(f"--device {options.device}: --model {options.family} is measured on a CPU only; leave --device out, or "
                        "choose --model bert")
    array_module_for(options.device)                                   # reports a missing GPU before anything is read
    if options.level and options.family != "bert-adversarial":
        raise UserError(f"--level: --model {options.family} has no language discriminator; leave --level out, or choose "
                        "--model bert-adversarial")
    if options.target and options.family not in TWO_LANGUAGES:
        raise UserError(f"--target: --model {options.family} reads one language; leave --target out, or choose --model "
                        f"{' or '.join(TWO_LANGUAGES)}")
    with tempfile.TemporaryDirectory(prefix="minixl-bench-") as scratch:
        work, facts = load(MAKERS[options.family])(options, Path(scratch), say)
        results = {batch_kind: measure(options, engines, work, batch_kind, say) for batch_kind in work.batches}
    return {"family": options.family, "device": "cpu" if options.device == "cpu" else device_name(),
            "threads": options.threads, "batch_size": options.batch_size, "repeats": options.repeats,
            "optimizer": work.settings["optim.name"], **facts, "versions": versions(engines),
            "settings": results}


def measure(options: Options, engines: tuple[str, ...], work: Work, batch_kind: str, say: Say) -> dict[str, Any]:
    """Measure one kind of batches: all engines in turn, then each alone."""
    batches, read, predicted = work.batches[batch_kind], work.read(batch_kind), work.predicted[batch_kind]
    job = WorkerJob("time", options.family, engines, work.only(batch_kind), batch_kind, options.repeats, options.threads)
    say(f"{BATCH_KINDS[batch_kind]}: timing {' and '.join(engines)}")
    shared = start(job)
    alone = {}
    for engine in engines:
        say(f"{BATCH_KINDS[batch_kind]}: peak memory of {engine} alone")
        alone[engine] = start(replace(job, quantity="peak", engines=(engine,)))
    tokens = sum(map(pieces, read))
    figures = {engine: engine_figures(tokens, sum(map(pieces, predicted)), shared["engines"][engine], alone[engine])
               for engine in engines}
    result: dict[str, Any] = {"batches": len(batches), "tokens": tokens, "padded_tokens": sum(map(padded, read)),
                              "engines": figures}
    if isinstance(work, BertWork) and "operations_per_second" in shared:
        result["products"] = products(work.operations[batch_kind], shared["operations_per_second"],
                                      figures["minixl"]["step_seconds"])
    if "tags" in shared:
        result["tags"] = shared["tags"]
    if len(engines) > 1:
        result["ratio"] = compare(figures["minixl"], figures[engines[1]])
    return result


def engine_figures(tokens: int, predicted: int, shared: dict[str, Any], alone: dict[str, Any]) -> dict[str, Any]:
    """Derive seconds and rates; the time of a step is the mean over the batches of each batch's median."""
    total = sum(shared["batch_seconds"])
    figures = {"step_seconds": total / len(shared["batch_seconds"]), "train_tokens_per_second": tokens / total,
               "alone_step_seconds": sum(alone["batch_seconds"]) / len(alone["batch_seconds"]),
               "peak_memory_bytes": alone["peak_memory_bytes"], "first_loss": shared["loss"],
               "batch_seconds": shared["batch_seconds"]}
    for task in ("predict", "decode"):
        if f"{task}_seconds" in shared:
            figures[f"{task}_tokens_per_second"] = predicted / shared[f"{task}_seconds"]
    if "parts" in shared:
        figures["parts"] = shared["parts"]
        figures.update(sums_of(shared["parts"], figures["step_seconds"]))
    return figures


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Divide the figures of the two engines: how many times as fast minixl is, and its share of the other's memory."""
    ratio = {"train": theirs["step_seconds"] / ours["step_seconds"],
             "peak_memory": ours["peak_memory_bytes"] / theirs["peak_memory_bytes"]}
    for task in ("predict", "decode"):
        if f"{task}_tokens_per_second" in ours:
            ratio[task] = ours[f"{task}_tokens_per_second"] / theirs[f"{task}_tokens_per_second"]
    return ratio


def products(operations: float, rate: float, step_seconds: float) -> dict[str, float]:
    """The matrix products of minixl's mean step, and their share of its time at the measured rate."""
    return {"operations_per_second": rate, "operations_per_step": operations, "seconds": operations / rate,
            "share_of_step": operations / rate / step_seconds}


class Job(Protocol):
    """What a measuring process is given."""

    @property
    def engines(self) -> tuple[str, ...]: ...
    @property
    def threads(self) -> int: ...


def start(job: Job, module: str = "minixl.bench.training.worker") -> dict[str, Any]:
    """Run a job in a separate process, which runs `module`.  Raises UserError with the error it reports."""
    count = str(job.threads)
    names = ("MINIXL_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **{name: count for name in names}, "HF_HUB_OFFLINE": "1"}
    # -P: transformers looks for a package named kernels; in a checkout it must not find minixl's folder and load the engine
    done = subprocess.run([sys.executable, "-P", "-m", module], input=pickle.dumps(job), env=environment,
                          stdout=subprocess.PIPE, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        reason = "it was killed, perhaps for lack of memory" if done.returncode == -9 else f"exit code {done.returncode}"
        raise UserError(f"measuring {' and '.join(job.engines)} failed: {reason}")
    result = json.loads(done.stdout.splitlines()[-1])
    if "error" in result:
        raise UserError(result["error"])
    return result


def versions(engines: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of every package that computes."""
    packages = ["numpy", *(package for engine in engines[1:] for package in PACKAGES[engine].values())]
    ours = {"python": platform.python_version(), "minixl": __version__}
    return ours | {package: metadata.version(package) for package in packages}
