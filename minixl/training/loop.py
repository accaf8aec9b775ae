"""The loop around a method: evaluation, model selection, early stopping, checkpoints, log and metrics.

It runs a method and does not know which: it calls step(), writes down the Update records, and asks for optimizers().
What a run leaves in its folder is described in docs/runs.md.
"""
from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from minixl.evaluation.balance import verdict
from minixl.files import write_atomically
from minixl.training.checkpoint import Checkpoint
from minixl.data.corpus import Corpus
from minixl.data.encoding import Encoded
from minixl.errors import UserError
from minixl.evaluation.scores import Score, main_figure, score
from minixl.training.memory import peak_memory
from minixl.training.update import Update
from minixl.models.family import Model
from minixl.prediction import predict_labels
from minixl.training.progress import Reporter, Stop, Stopped, over_pieces
from minixl.settings import Settings
from minixl.training.stopping import Patience

Progress = Callable[[int], None] | None

STATE = ("steps", "tokens", "seconds", "best", "best_step", "finished")    # of a Training, in its checkpoints


class Method(Protocol):
    """What the loop needs of a method."""

    steps: int           # iterations so far; resuming sets it

    def step(self) -> list[Update]: ...
    def optimizers(self) -> dict[str, Any]: ...


class Evaluation:
    """The dev and test files of a run, encoded once."""

    def __init__(self, task: str, scheme: str, settings: Settings, sources: list[str]) -> None:
        self.task, self.scheme, self.settings, self.sources = task, scheme, settings, sources
        self.files: dict[str, dict[str, tuple[Corpus, Encoded]]] = {"dev": {}, "test": {}}

    def add(self, part: str, corpus: Corpus, encoded: Encoded) -> None:
        """A dev or test file."""
        self.files[part][corpus.language] = (corpus, encoded)

    def run(self, model: Model, part: str, *, progress: Progress = None) -> dict[str, Score]:
        """language -> score on its dev or test file.  progress: called with the number of pieces of every batch."""
        return {language: self.one(model, part, language, progress=progress) for language in self.files[part]}

    def one(self, model: Model, part: str, language: str, *, progress: Progress = None) -> Score:
        """The score of one language's file."""
        corpus, encoded = self.files[part][language]
        predicted = predict_labels(model, encoded, self.scheme, constrained=self.settings["decode.constrained"], progress=progress)
        return score(self.task, corpus.gold(), predicted)


class Training:
    """One run of one method over its steps."""

    def __init__(self, model: Model, method: Method, streams: dict[str, Any], evaluation: Evaluation, settings: Settings,
                 folder: Path, reporter: Reporter, *, total_steps: int, eval_every: int,
                 stop: Stop = lambda: False) -> None:
        self.model, self.method, self.streams, self.evaluation = model, method, streams, evaluation
        self.settings, self.folder, self.reporter, self.stop = settings, folder, reporter, stop
        self.total_steps, self.eval_every = total_steps, eval_every
        self.checkpoint = Checkpoint(folder / "checkpoint")
        self.log = folder / "log.jsonl"
        self.figure = main_figure(evaluation.task)
        watches_discriminator = settings["train.patience"] and settings["train.stop_on"] == "discriminator"
        if watches_discriminator and "discriminator" not in method.optimizers():            # the student of advpicker
            reporter.message("train.patience has no effect: there is no discriminator to watch in this stage")
        # everything below is the state of the run, saved with every checkpoint
        self.steps = 0
        self.tokens = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}           # "best" and "oracle-LANGUAGE" -> highest dev score so far
        self.best_step: dict[str, int] = {}
        self.patience = Patience(settings, evaluation.sources)
        self.finished = False                      # before the last step

    def resume(self) -> None:
        """Continue from the checkpoint: parameters, moments, streams, log; the next step is bit-equal.

        Raises UserError for a checkpoint or log that is damaged or was made with other data.
        """
        state = self.checkpoint.load(self.model.store, self.method.optimizers())
        with self.checkpoint.readable():
            for name, stream in self.streams.items():
                stream.load_state_dict(state["streams"][name])
            for name in STATE:
                setattr(self, name, state["run"][name])
            self.patience.load_state_dict(state["patience"])
            self._shorten_log(state["log_bytes"])
        self.method.steps = self.steps
        self.reporter.message(f"continuing at step {self.steps} of {self.total_steps}")

    def _shorten_log(self, size: int) -> None:
        """What was logged after the checkpoint will be logged again."""
        found = self.log.stat().st_size if self.log.is_file() else 0
        if found < size:
            raise UserError(f"{self.log}: expected the {size} bytes that were there at the last checkpoint, found {found}; put the "
                            "whole file back, or start again with a new --out folder")
        with open(self.log, "r+b") as log:
            log.truncate(size)

    def run(self) -> dict[str, Any]:
        """All remaining steps, then the scores: returns the content of metrics.json."""
        self.reporter.start(self.total_steps, self.steps, "training")
        try:
            while self.steps < self.total_steps and not self.finished:
                self._step()
        finally:
            self.reporter.finish()
        if self.best.get("best") == 0:
            self.reporter.message(f"no evaluation had a source dev {self.figure} above 0, so the model has learnt next to nothing: "
                                  "train longer (train.epochs) or with a higher learning rate (optim.lr, optim.head_lr)")
        return self._final_scores()

    def _step(self) -> None:
        begin = time.perf_counter()
        updates = self.method.step()
        seconds = time.perf_counter() - begin
        self.steps += 1
        tokens = sum(update.tokens for update in updates)
        self.tokens += tokens
        self.seconds += seconds
        self.patience.note(updates)
        for update in updates:
            self._write({"kind": "update", **update._asdict()})
        self.reporter.step(self.tokens / max(self.seconds, 1e-9))
        limit = self.settings["train.max_minutes"]
        if limit and self.seconds >= 60 * limit and self.steps < self.total_steps:
            self._finish_early(f"{limit:g} minutes of training are over (train.max_minutes)")
        evaluated = self.finished or self.steps % self.eval_every == 0 or self.steps == self.total_steps
        if evaluated:
            self._evaluate()
        every = self.settings["train.checkpoint_every"]
        stopping = self.stop()
        if evaluated or (every and self.steps % every == 0) or stopping:
            self._save()
        if stopping and self.steps < self.total_steps and not self.finished:
            raise Stopped

    def _evaluate(self) -> None:
        scores = self.evaluation.run(self.model, "dev")
        tests = {"test": self.evaluation.run(self.model, "test")} if self.settings["train.score_tests"] else {}
        self._write({"kind": "evaluation", "step": self.steps, "dev": scores, **tests})
        source = [scores[language][self.figure] for language in self.evaluation.sources if language in scores]
        if source:
            mean = sum(source) / len(source)
            self.reporter.message(f"step {self.steps}: source dev {self.figure} {100 * mean:.1f}")
            self._keep_if_better("best", mean)
        for language, result in scores.items():
            if language not in self.evaluation.sources:
                self._keep_if_better(f"oracle-{language}", result[self.figure])
        self._say_balance()
        reason = self.patience.evaluated(scores)
        if reason and not self.finished:
            self._finish_early(reason)

    def _say_balance(self) -> None:
        """How the discriminator does, once on the way, while there is time to start again: after a quarter of the steps."""
        accuracy = self.patience.mean("discriminator")
        if accuracy is not None and self.steps - self.eval_every < self.total_steps / 4 <= self.steps < self.total_steps:
            self.reporter.message(verdict(accuracy, "since the last evaluation"))

    def _finish_early(self, reason: str) -> None:
        self.reporter.message(f"stopping: {reason}")
        self.finished = True

    def _keep_if_better(self, name: str, value: float) -> None:
        if name not in self.best or value > self.best[name]:
            self.best[name], self.best_step[name] = value, self.steps
            self.checkpoint.snapshot(name, self.steps, self.model.store)

    def _save(self) -> None:
        with open(self.log, "ab") as log:
            os.fsync(log.fileno())                 # a checkpoint that outlives a power cut must not find a shorter log
        state = {"run": {name: getattr(self, name) for name in STATE}, "patience": self.patience.state_dict(),
                 "streams": {name: stream.state_dict() for name, stream in self.streams.items()},
                 "log_bytes": self.log.stat().st_size}
        self.checkpoint.save(self.steps, self.model.store, self.method.optimizers(), state)

    def _final_scores(self) -> dict[str, Any]:
        """Test scores of the last parameters, of the best on target dev (oracle), and of those selected on source dev.

        The selected parameters are in the model afterwards.
        """
        pieces = {language: encoded.pieces for language, (_, encoded) in self.evaluation.files["test"].items()}
        oracles = [name.removeprefix("oracle-") for name in self.best if name != "best"]
        oracles = [language for language in oracles if language in pieces]
        again = self.best_step.get("best", self.steps) != self.steps           # the selected parameters are not the last
        total = sum(pieces.values()) * (1 + again) + sum(pieces[language] for language in oracles)
        metrics: dict[str, Any] = {}
        with over_pieces(total, "scoring", self.reporter, self.stop) as progress:
            metrics["test"] = metrics["last"] = self.evaluation.run(self.model, "test", progress=progress)
            metrics["oracle"] = {}
            for language in oracles:
                self.checkpoint.restore(f"oracle-{language}", self.model.store)
                metrics["oracle"][language] = self.evaluation.one(self.model, "test", language, progress=progress)
            if again:
                self.checkpoint.restore("best", self.model.store)
                metrics["test"] = self.evaluation.run(self.model, "test", progress=progress)
            elif oracles:                                                      # an oracle's are in the model
                self.checkpoint.load(self.model.store, self.method.optimizers())
        metrics.update(steps=self.steps, selected_step=self.best_step.get("best", self.steps), seconds=round(self.seconds, 3),
                       tokens_per_second=round(self.tokens / max(self.seconds, 1e-9), 1),
                       peak_memory_bytes=peak_memory())
        return metrics

    def _write(self, record: dict[str, Any]) -> None:
        try:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
        except OSError as error:                   # of a full disk, which names no file
            raise UserError(f"{self.log}: cannot be written ({error.strerror or error}); {self.checkpoint.cure}") from None


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """metrics.json, in one go."""
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
