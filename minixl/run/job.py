"""A run from its inputs to its folder: what `minixl train` does, without the terminal.

    OUT/config.toml     every setting, the inputs, versions, the seed
    OUT/inputs.json     digests of the text files and the encoder, so that --resume sees the same
    OUT/log.jsonl       a line for every update and every evaluation
    OUT/metrics.json    the scores, see docs/runs.md
    OUT/predictions/    the predictions on the test files behind these scores
    OUT/model/          the selected model, a Hugging Face folder
    OUT/checkpoint/     what --resume continues from, until the run has finished
    OUT/curves.csv      losses, accuracies and scores over the steps
    OUT/report.html     curves and tables
    OUT/STAGE/          a folder like this one for every earlier stage of the method
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from minixl.building import ModelInfo, family_of, save_model, scheme_of
from minixl.data.inputs import Inputs, by_language
from minixl.distributed import on_one_rank
from minixl.evaluation.calibration import calibrate
from minixl.evaluation.predictions import write_predictions
from minixl.evaluation.scores import figures
from minixl.report.curves import write_curves
from minixl.report.page_of_run import write_report
from minixl.report.provenance import Provenance
from minixl.run.folder import (begin, check_resumable, check_same, check_unchanged, check_unused, create, holds_run, locked,
                               read_digests)
from minixl.run.method import Method, Scores, Trained
from minixl.run.once import Content, Origin, once
from minixl.run.prepare import prepare
from minixl.run.prepared import Prepared
from minixl.run.stage import train_stage
from minixl.settings import Settings
from minixl.training.checkpoint import Checkpoint
from minixl.training.log import last_accuracy, read_log
from minixl.training.metrics import REWRITE, Metrics, is_finished, read_metrics, write_metrics
from minixl.training.progress import Reporter, Stop, check_stop, timed


@dataclass
class Run:
    """One run in progress: the job that its method's run(job) gets."""

    method: Method
    settings: Settings
    inputs: Inputs
    folder: Path
    shared: Path                       # folder of all runs that differ only in their seed
    seed: int
    prepared: Prepared
    reporter: Reporter
    xp: Any
    resume: bool
    stop: Stop

    def train(self, method: Method, name: str = "", *, settings: Settings | None = None, seed: int | None = None,
              shared: bool = False, title: str = "") -> Trained:
        """Train one stage: an interrupted one continues where it stopped, and a finished one is skipped.

        name "": the last stage, in this run's own folder, on its prepared text.  Any other name is a folder inside this run's
        (shared: inside the one that all seeds share), which becomes a complete run with the same inputs.
        title: the message that announces the stage.
        """
        if not name:
            scores = train_stage(method, self.settings, self.seed, self.prepared, self.folder, self.reporter, self.stop,
                                 resume=self.resume)
            self._save_model(method, scores)
            return Trained(self.folder, scores)
        settings, seed = settings or self.settings, self.seed if seed is None else seed
        folder = (self.shared if shared else self.folder) / name
        if is_finished(folder):
            check_same(folder, settings, self.inputs, seed)
            check_unchanged(folder, self.prepared.fingerprints)
            return Trained(folder, read_metrics(folder, self.prepared.evaluation.figure, REWRITE))
        check_stop(self.stop)
        title = title or f"stage {name}"
        self.reporter.message(title)
        try:
            scores = train_run(method, settings, self.inputs, folder, seed=seed, reporter=self.reporter, xp=self.xp,
                               resume=holds_run(folder), stop=self.stop, quiet=True)
        except FloatingPointError as error:
            raise FloatingPointError(f"{title}: {error}") from None
        return Trained(folder, scores)

    def once(self, file: Path, kind: str, made_from: Origin, make: Callable[[], Content],
             elsewhere: Sequence[Path] = ()) -> Content:
        """Return the content of a file that is made once; see run/once.py."""
        check_stop(self.stop)
        return once(file, kind, made_from, make, elsewhere)

    def _save_model(self, method: Method, scores: Scores) -> None:
        """Write the model folder, with everything that prediction needs; a classifier is calibrated first."""
        settings, prepared, model = self.settings, self.prepared, self.prepared.model
        if method.save_model(settings, prepared, self.folder / "model", scores):
            return
        if settings["task"] == "classification" and settings["decode.calibrate"]:
            scores["calibration"] = calibrate(model, prepared.evaluation)
        discriminator = self.method.discriminator(settings)
        info = ModelInfo(task=settings["task"], labels=prepared.labels, scheme=scheme_of(settings), family=model.family,
                         pooling=model.pooling, max_length=settings["data.max_length"], on_long=settings["data.on_long"],
                         discriminator=discriminator.kind, discriminator_size=discriminator.size,
                         constrained=settings["decode.constrained"], method=self.method.name,
                         sources=list(by_language(self.inputs.source)), seed=self.seed, scores=figures(scores["test"]))
        with timed("writing the model"):
            save_model(self.folder / "model", model, prepared.tokenizer, info, prepared.raw_config,
                       settings["model.save_dtype"])


def train_run(method: Method, settings: Settings, inputs: Inputs, out: Path, *, seed: int, reporter: Reporter, xp: Any = np,
              resume: bool = False, stop: Stop = lambda: False, shared: Path | None = None, quiet: bool = False) -> Metrics:
    """Train one run in the folder `out` and return the content of metrics.json.

    Raises UserError, for mistakes of the user before `out` is created; and Stopped once `stop` returns True.
    shared: where runs that differ only in their seed keep what they have in common; None: in `out`.
    quiet: the messages about the inputs have been shown already.
    """
    def check_folder() -> None:
        if resume:
            check_resumable(out, settings, inputs, seed)
        else:
            check_unused(out)

    check_folder()
    if resume:                                                     # a changed text may hold mistakes, which matter less
        check_unchanged(out, read_digests(out) | inputs.text_fingerprints())
    prepared = prepare(method, settings, inputs, seed, xp)
    create(out)
    with locked(out):
        check_folder()                                             # another process may have used it meanwhile
        for message in prepared.messages if not quiet else []:
            reporter.message(message)
        if resume:
            check_unchanged(out, prepared.fingerprints)
        else:
            begin(out, settings, inputs, seed, prepared.fingerprints)
        run = Run(method, settings, inputs, out, shared or out, seed, prepared, reporter, xp, resume, stop)
        return _finish(run, method.run(run))


@on_one_rank
def _finish(run: Run, scores: Scores) -> Metrics:
    """Write the curves, the page, the predictions and metrics.json."""
    evaluation = run.prepared.evaluation
    settings, losses = run.settings, run.method.losses(run.settings)
    metrics = {"method": run.method.name, "task": settings["task"], "seed": run.seed, **scores}
    figure = evaluation.figure
    records = read_log(run.folder, figure)
    for name, loss in losses.items():
        accuracy = last_accuracy(records, name)
        if loss.verdict and accuracy is not None:
            run.reporter.message(loss.verdict(accuracy, "over the last tenth of the run"))
    write_curves(run.folder, records, figure, evaluation.sources, losses)
    provenance = Provenance(settings, run.inputs, run.prepared.fingerprints, run.prepared.counts(), datetime.now())
    write_report(run.folder, metrics, records, losses, family_of(settings).unit, run.method.report(run.folder, metrics),
                 provenance)
    for language, predicted in evaluation.predicted.items():
        write_predictions(run.folder, evaluation.files["test"][language][0], predicted)
    write_metrics(run.folder, metrics)                             # marks the run as finished: it needs no checkpoint any more
    if not settings["train.keep_checkpoint"]:
        Checkpoint.of_run(run.folder).remove()
    return metrics
