"""Time training and prediction, minixl against another engine: same weights, sentences, batches, frozen parameters.

Each setting (random batches, batches grouped by length) is timed in one process with the engines in turn, then every
engine trains in a process of its own for its peak memory.  Not timed: reading, tokenising, and for a training step the
making of the padded or packed batch.  In the shared process minixl's allocator setting (backend.py) is in force for
both engines; the process of its own shows the other engine without it.
"""
from __future__ import annotations

import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from minixl.bench.contender import AGAINST, require_installed
from minixl.bench.products import step_operations
from minixl.bench.work import SETTINGS, Work, choose_batches, padded, pieces
from minixl.bench.worker import Job
from minixl.data.sample import write_sample
from minixl.errors import UserError
from minixl.runs import Inputs, prepare
from minixl.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how often."""

    encoder: Path | None = None                    # None: the quickstart's
    source: tuple[str, Path] | None = None         # None: the sample corpus
    against: str | None = None                     # a key of AGAINST
    family: str = "bert"
    settings: tuple[str, ...] = tuple(SETTINGS)
    steps: int = 6                                 # batches of each setting
    repeats: int = 3                               # how often each is timed
    batch_size: int = 32
    max_length: int = 128
    limit: int = 2000                              # sentences read
    threads: int = 2
    freeze: tuple[str, ...] = ("bottom:3",)
    seed: int = 1


def run(options: Options, say: Say = lambda text: None) -> dict[str, Any]:
    """All figures, ready for JSON.  Raises UserError."""
    engines: tuple[str, ...] = ("minixl",)
    if options.against:
        require_installed(options.against)
        engines += (AGAINST[options.against],)
    with tempfile.TemporaryDirectory(prefix="minixl-bench-") as scratch:
        work, facts = make_work(options, Path(scratch), say)
        results = {setting: measure(options, engines, work, facts, setting, say) for setting in work.batches}
    return {"family": options.family, "threads": options.threads, "batch_size": options.batch_size,
            "repeats": options.repeats, "frozen": list(options.freeze),
            **{key: facts[key] for key in ("encoder", "source", "layers", "hidden", "weights", "trained")},
            "versions": versions(engines), "settings": results}


def make_work(options: Options, scratch: Path, say: Say) -> tuple[Work, dict[str, Any]]:
    """Read, check and tokenise as `minixl train` does; choose the batches."""
    encoder, source = find_inputs(options, scratch, say)
    values = {"task": "ner", "data.max_length": options.max_length, "data.limit": options.limit,
              "train.batch_size": options.batch_size, "model.freeze": list(options.freeze), "optim.lr": 1e-4,
              "optim.head_lr": 2e-3, "optim.schedule": "constant", "optim.warmup": 0.0}
    prepared = prepare(Settings(values), Inputs(encoder, [source]), options.seed)
    model, examples = prepared.model, prepared.streams["source"].examples
    if len(examples) < options.batch_size:
        raise UserError(f"{source[1]}: expected at least {options.batch_size} sentences for one batch, found "
                        f"{len(examples)}; a smaller --batch-size needs fewer")
    batches = {how: choose_batches(examples, how, batch_size=options.batch_size, count=options.steps, seed=options.seed)
               for how in options.settings}
    head = {name: model.store[name].value.copy() for name in model.head_names()}
    work = Work(encoder, head, model.store.names(trainable=False), dict(Settings(values)), batches, options.seed)
    return work, {"encoder": str(encoder), "source": str(source[1]), "layers": model.config.num_hidden_layers,
                  "hidden": model.config.hidden_size, "weights": model.store.count(),
                  "trained": model.store.count(trainable=True), "config": model.config,
                  "lowest": model.bert.lowest_trainable()}


def find_inputs(options: Options, scratch: Path, say: Say) -> tuple[Path, tuple[str, Path]]:
    """Encoder and labelled file: those given, else the quickstart's; beside a given encoder the sample corpus."""
    if options.encoder is None:
        from minixl.quickstart import quickstart_inputs
        inputs = quickstart_inputs(say)
        return inputs.encoder, options.source or inputs.source[0]
    if options.source is None:
        write_sample(scratch / "sample")
        return options.encoder, ("en", scratch / "sample" / "ner" / "en" / "train.txt")
    return options.encoder, options.source


def measure(options: Options, engines: tuple[str, ...], work: Work, facts: dict[str, Any], setting: str,
            say: Say) -> dict[str, Any]:
    """One setting: all engines in turn, then each alone."""
    batches = work.batches[setting]
    job = Job("time", options.family, engines, replace(work, batches={setting: batches}), setting, options.repeats,
              options.threads)
    say(f"{SETTINGS[setting]}: timing {' and '.join(engines)}")
    shared = start(job)
    own = {}
    for engine in engines:
        say(f"{SETTINGS[setting]}: peak memory of {engine} alone")
        own[engine] = start(replace(job, kind="peak", engines=(engine,)))
    tokens = sum(map(pieces, batches))
    figures = {engine: engine_figures(tokens, shared["engines"][engine], own[engine]) for engine in engines}
    result: dict[str, Any] = {"batches": len(batches), "tokens": tokens, "padded_tokens": sum(map(padded, batches)),
                              "engines": figures,
                              "products": products(batches, facts, shared["operations_per_second"],
                                                   figures["minixl"]["step_seconds"])}
    if len(engines) > 1:
        result["ratio"] = compare(figures["minixl"], figures[engines[1]])
    return result


def engine_figures(tokens: int, shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Seconds and rates; a step is the mean over the batches of each batch's median."""
    total = sum(shared["batch_seconds"])
    return {"step_seconds": total / len(shared["batch_seconds"]), "train_tokens_per_second": tokens / total,
            "predict_tokens_per_second": tokens / shared["predict_seconds"],
            "alone_step_seconds": sum(own["batch_seconds"]) / len(own["batch_seconds"]),
            "peak_memory_bytes": own["peak_memory_bytes"], "first_loss": shared["loss"],
            "batch_seconds": shared["batch_seconds"]}


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """How many times as fast minixl is, and its share of the other's memory."""
    return {"train": theirs["step_seconds"] / ours["step_seconds"],
            "predict": ours["predict_tokens_per_second"] / theirs["predict_tokens_per_second"],
            "peak_memory": ours["peak_memory_bytes"] / theirs["peak_memory_bytes"]}


def products(batches: Sequence[Any], facts: dict[str, Any], rate: float, step_seconds: float) -> dict[str, float]:
    """The matrix products of minixl's mean step, and what share of its time they need at the measured rate."""
    operations = sum(step_operations(facts["config"], [len(e.input_ids) for e in batch], facts["lowest"])
                     for batch in batches) / len(batches)
    return {"operations_per_second": rate, "operations_per_step": operations, "seconds": operations / rate,
            "share_of_step": operations / rate / step_seconds}


def start(job: Job) -> dict[str, Any]:
    """Run a job in a process of its own.  Raises UserError for what it reports."""
    count = str(job.threads)
    names = ("MINIXL_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **{name: count for name in names}, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-m", "minixl.bench.worker"], input=pickle.dumps(job), env=environment,
                          stdout=subprocess.PIPE, check=False)
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode:
        why = "it was killed, perhaps for lack of memory" if done.returncode == -9 else f"exit code {done.returncode}"
        raise UserError(f"measuring {' and '.join(job.engines)} failed: {why}")
    result = json.loads(done.stdout.splitlines()[-1])
    if "error" in result:
        raise UserError(result["error"])
    return result


def versions(engines: Sequence[str]) -> dict[str, str]:
    """Of everything that computes."""
    packages = ["minixl", "numpy"] + (["torch", "transformers"] if "transformers" in engines else [])
    return {"python": platform.python_version()} | {package: metadata.version(package) for package in packages}
