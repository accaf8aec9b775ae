"""A run from its inputs to its folder: what `minixl train` does, without the terminal.

    OUT/config.toml     every setting resolved, inputs, versions, seed
    OUT/inputs.json     digests of the text files and the encoder, so that --resume sees the same
    OUT/log.jsonl       one line an update, one an evaluation
    OUT/metrics.json    the scores, see docs/runs.md
    OUT/model/          the selected model, a Hugging Face folder
    OUT/checkpoint/     what --resume continues from
    OUT/curves.csv      test scores, losses and accuracies over the steps, with train.score_tests
    OUT/studies.json    how good the pseudo-labels are, with advpicker.study
    OUT/report.html     curves and tables
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minixl.evaluation.balance import balance
from minixl.data.batching import Stream
from minixl.data.encoding import Example
from minixl.data.inputs import Inputs
from minixl.training.memory import reset_peak_memory
from minixl.methods import make_method, stream_texts
from minixl.training.update import RATES, Diverged
from minixl.building.folder import ModelInfo, save_model
from minixl.models.family import Model
from minixl.models.frozen_bottom import FrozenBottom
from minixl.models.transformer import Transformer
from minixl.methods.advpicker.pipeline import (make_pseudo_labels, merged_tests, scoring_of_tests, scoring_of_unlabelled, student_examples,
                             tag_with_teachers)
from minixl.run.prepare import Prepared, prepare, scheme_of
from minixl.training.progress import Reporter, Stop
from minixl.report.curves import read_log, write_curves
from minixl.report.run import write_report
from minixl.run.folder import begin, check_resumable, check_unchanged, check_unused, locked, make
from minixl.settings import Settings
from minixl.methods.advpicker.audit import write_studies
from minixl.methods.advpicker.teachers import make_teachers
from minixl.training.loop import Training, write_metrics
from minixl.methods.advpicker.variants import resolved

NO_TRAINING = {"steps": 0, "selected_step": 0, "seconds": 0.0, "tokens_per_second": 0.0, "peak_memory_bytes": 0}


@dataclass(frozen=True)
class Run:
    """One run: what was asked for, and what was read for it."""

    settings: Settings
    inputs: Inputs
    out: Path
    seed: int
    prepared: Prepared
    reporter: Reporter
    xp: Any
    resume: bool
    stop: Stop


def train_run(settings: Settings, inputs: Inputs, out: Path, *, seed: int, reporter: Reporter, xp: Any = np,
              resume: bool = False, stop: Stop = lambda: False, shared: Path | None = None, quiet: bool = False) -> dict[str, Any]:
    """One run into the folder `out`; returns metrics.json.  Raises UserError, and Stopped when `stop` says so.

    Everything the user can have got wrong is found before `out` is made.  shared: where runs that differ in their seed
    keep what they have in common, the teachers of AdvPicker; None: in `out`.  quiet: what was read has been said already.
    """
    settings = resolved(settings)

    def check_folder() -> None:
        if resume:
            check_resumable(out, settings, inputs, seed)
        else:
            check_unused(out)

    check_folder()
    prepared = prepare(settings, inputs, seed, xp)
    make(out)
    with locked(out):
        check_folder()                                             # another process may have been there in the meantime
        for message in prepared.messages if not quiet else []:
            reporter.message(message)
        if resume:
            check_unchanged(out, prepared.fingerprints)
        else:
            begin(out, settings, inputs, seed, prepared.fingerprints)
        run = Run(settings, inputs, out, seed, prepared, reporter, xp, resume, stop)
        scores = _advpicker(run, shared or out) if settings["method"] == "advpicker" else _train(run)
        return _finish(run, scores)


def _advpicker(run: Run, folder: Path) -> dict[str, Any]:
    """AdvPicker's stages, those before the student in `folder`; returns the student's scores."""
    settings, prepared = run.settings, run.prepared
    teachers = make_teachers(settings, run.inputs, prepared.fingerprints, folder, train_run, run.reporter, xp=run.xp,
                             stop=run.stop, quiet=True)
    student = settings["advpicker.variant"] != "without-kd"
    texts, labels = scoring_of_unlabelled(settings, prepared.texts, run.inputs, prepared.fingerprints, folder), {}
    if student or settings["advpicker.study"]:
        labels = make_pseudo_labels(settings, texts, teachers, prepared.evaluation.scheme, run.reporter, run.xp, run.stop)
    merged = {}
    if settings["advpicker.study"] or not student:
        tests = scoring_of_tests(settings, prepared.evaluation, run.inputs, prepared.fingerprints, folder)
        merged = merged_tests(settings, tests, teachers, run.reporter, run.xp, run.stop)
    if student:
        prepared.examples["pseudo"], targets = student_examples(prepared.texts, labels)
        scores = _train(run, targets)
    else:
        tagged = tag_with_teachers(settings, teachers, merged, prepared.evaluation)
        scores = {"test": tagged, "last": tagged, "oracle": {}, **NO_TRAINING}
    if settings["advpicker.study"]:
        write_studies(run.out, settings, prepared.texts, prepared.gold, labels, texts.read(settings, teachers), merged,
                      prepared.evaluation, prepared.model if student else None)
    return scores


def _train(run: Run, targets: np.ndarray | None = None) -> dict[str, Any]:
    """Training, what is left of it, and the model folder; returns the scores.  targets: the soft labels of a student.

    The selected parameters are in the model afterwards.
    """
    reset_peak_memory()                                            # not what was held for other runs of this process
    settings, prepared, seed, model = run.settings, run.prepared, run.seed, run.prepared.model
    streams = make_streams(stream_texts(settings), prepared.examples, model, settings, seed, run.out)
    per_epoch = streams["source"].batches_per_epoch
    total = settings["train.epochs"] * per_epoch
    if settings["train.max_steps"]:
        total = min(total, settings["train.max_steps"]) if total else settings["train.max_steps"]
    method = make_method(model, streams, settings, seed, total, targets)
    training = Training(model, method, streams, prepared.evaluation, settings, run.out, run.reporter, total_steps=total,
                        eval_every=settings["train.eval_every"] or per_epoch, stop=run.stop)
    if run.resume:
        if training.checkpoint.exists():
            training.resume()
        else:
            if any(path.is_file() and path.stat().st_size for path in (training.log, *training.checkpoint.folder.glob("*"))):
                run.reporter.message(f"{training.checkpoint.folder / 'latest.json'} is not there: training begins at step 0 again")
            training.log.write_text("", encoding="utf-8")
    try:
        scores = training.run()
    except FloatingPointError as error:
        cure = "--resume would meet it again, choose a new --out folder"
        raise FloatingPointError(f"{_diverged(error, training)}; {cure}") from None
    _save_model(run, scores)
    return scores


def _save_model(run: Run, scores: Mapping[str, Any]) -> None:
    """The model folder, with what prediction has to know."""
    settings, prepared, model = run.settings, run.prepared, run.prepared.model
    info = ModelInfo(task=settings["task"], labels=prepared.labels, scheme=scheme_of(settings), family=model.family,
                     pooling=model.pooling, max_length=settings["data.max_length"], on_long=settings["data.on_long"],
                     discriminator=settings["adversary.level"], discriminator_size=settings["adversary.size"],
                     constrained=settings["decode.constrained"], method=settings["method"],
                     sources=[language for language, _ in run.inputs.source], seed=run.seed, scores=scores["test"])
    save_model(run.out / "model", model, prepared.tokenizer, info, prepared.raw_config)


def _diverged(error: FloatingPointError, training: Training) -> str:
    """What became infinite or not a number, and which learning rates may have done it."""
    if not isinstance(error, Diverged):
        return str(error)
    optimizers = training.method.optimizers()
    loss = next(loss for loss, optimizer in optimizers.items() if optimizer is error.optimizer)
    others = ", ".join(RATES[other] for other in optimizers if other != loss)
    earlier = f" or that of an earlier update ({others})" if others else ""
    return (f"step {training.steps + 1}, {loss} update: {error}: its learning rate ({RATES[loss]}){earlier} is too high, or the "
            "data is broken")


def _finish(run: Run, scores: dict[str, Any]) -> dict[str, Any]:
    metrics = {"method": run.settings["method"], "task": run.settings["task"], "seed": run.seed, **scores}
    records = read_log(run.out)
    verdict = balance(records)
    if verdict:
        run.reporter.message(verdict)
    write_curves(run.out, records, run.prepared.evaluation)
    write_report(run.out, metrics)
    write_metrics(run.out, metrics)                                # last: it marks a run as finished
    return metrics


def make_streams(names: Mapping[str, str], examples: Mapping[str, list[Example]], model: Model, settings: Settings,
                 seed: int, out: Path) -> dict[str, Stream]:
    """One independently shuffled stream for each name; they share what is kept of the frozen bottom.

    Texts whose states fit into what is left of model.keep_frozen_mb are kept in memory, the others in files in the run folder
    `out`: the system's folder for temporary files may itself be memory.
    """
    kept: dict[int, FrozenBottom] = {}                             # the same list of examples may stand under two names
    if settings["model.keep_frozen"] and isinstance(model, Transformer):
        room = settings["model.keep_frozen_mb"] << 20
        for found in {id(examples[text]): examples[text] for text in names.values()}.values():
            bottom = FrozenBottom(model.bert, found, memory_bytes=room, folder=out)
            room -= 0 if isinstance(bottom.states, np.memmap) else bottom.states.nbytes
            kept[id(found)] = bottom
    return {name: Stream(examples[text], settings["train.batch_size"], seed if name == "source" else [seed, 2 + i],
                         model.store.xp, bottom=kept.get(id(examples[text])))
            for i, (name, text) in enumerate(names.items())}
