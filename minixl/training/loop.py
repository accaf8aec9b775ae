"""The training loop of one stage: evaluation, model selection, early stopping, checkpoints, log and metrics.

It is the same for every method: it calls the objective's step(), logs its Update records, and saves its optimisers.
docs/runs.md describes the files of a run folder.
"""
from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minixl.data.batching import Stream
from minixl.distributed import group
from minixl.errors import WARNING
from minixl.evaluation.files import Evaluation
from minixl.evaluation.scores import main_figure
from minixl.models.family import Model
from minixl.settings import Section, Setting, Settings
from minixl.training.checkpoint import Checkpoint
from minixl.training.log import Log
from minixl.training.memory import peak_memory
from minixl.training.objective import Objective
from minixl.training.progress import Reporter, Stop, Stopped, over_pieces, timed
from minixl.training.stopping import FIGURES, Patience

SECTION = Section("training", {
    "train.epochs": Setting(3, "passes over the labelled source sentences, or over the text that the method's last stage "
                            "learns from", at_least=0),
    "train.max_steps": Setting(0, "at most N steps; with train.epochs=0 exactly N; 0: no limit. A step is one update for the task "
                               "and those that the method adds to it. Does not limit a method's earlier stages", at_least=0),
    "train.batch_size": Setting(32, "sentences in a batch", at_least=1),
    "train.accumulate": Setting(1, "split a batch into N parts and add up their gradients, to save memory; has no effect on "
                                "terms that compare all pairs of a batch", at_least=1),
    "train.workers": Setting(0, "compute each batch in N parts of equal numbers of word pieces at the same time, each on one "
                                "thread and with dropout masks of its own; 0: as many as there are threads where that is faster. "
                                "Only for the task's loss, without perturbation, on a CPU", at_least=0),
    "train.eval_every": Setting(0, "evaluate every N steps; 0: after every epoch", at_least=0),
    "train.score_tests": Setting(False, "also score the test files at every evaluation, for curves", compared=False),
    "train.max_minutes": Setting(0.0, "stop after N minutes of training, including the time before --resume but not evaluations; "
                                      "0: no limit. The last step then differs from run to run", at_least=0),
    "train.checkpoint_every": Setting(0, "write a checkpoint every N steps; 0: at every evaluation", at_least=0, compared=False),
    "train.keep_checkpoint": Setting(False, "keep checkpoint/ when the run has finished: the last parameters, the best on each dev "
                                            "file, the optimiser's moments", compared=False),
})

STATE = ("steps", "tokens", "seconds", "best", "best_step", "finished")    # attributes of Training that checkpoints save


class Training:
    """Trains one stage in a folder."""

    def __init__(self, model: Model, objective: Objective, streams: Mapping[str, Stream], evaluation: Evaluation,
                 settings: Settings, folder: Path, reporter: Reporter, *, total_steps: int, eval_every: int,
                 stop: Stop = lambda: False, if_nothing_learned: str = "train longer") -> None:
        """if_nothing_learned: the advice to the user if every source dev score is 0."""
        self.model, self.objective, self.streams, self.evaluation = model, objective, streams, evaluation
        self.settings, self.folder, self.reporter, self.stop = settings, folder, reporter, stop
        self.total_steps, self.eval_every, self.if_nothing_learned = total_steps, eval_every, if_nothing_learned
        self.checkpoint = Checkpoint.of_run(folder)
        self.log = Log(folder, self.checkpoint.cure)
        self.figure = main_figure(evaluation.task)
        watched = settings["train.stop_on"]
        if settings["train.patience"] and watched not in FIGURES and watched not in objective.losses:
            reporter.message(f"{WARNING}train.patience has no effect: this stage has no {watched}, which train.stop_on watches")
        # everything below is the state of the run, saved with every checkpoint
        self.steps = 0
        self.tokens = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}           # "best" and "oracle-LANGUAGE" -> highest dev score so far
        self.best_step: dict[str, int] = {}
        self.patience = Patience(settings, evaluation.sources, objective.losses)
        self.finished = False                      # stopped before the last step

    def restore(self) -> dict[str, Any]:
        """Restore parameters, moments, streams and counters from the checkpoint, but not the log; return the checkpoint's state.

        Raises UserError for a checkpoint that is damaged or was made with other data.
        """
        state = self.checkpoint.load(self.model.store, self.objective.optimizers)
        with self.checkpoint.readable():
            for name, stream in self.streams.items():
                stream.load_state_dict(state["streams"][name])
            for name in STATE:
                setattr(self, name, state["run"][name])
            self.patience.load_state_dict(state["patience"])
        return state

    def resume(self) -> None:
        """Continue from the checkpoint, with the log shortened to it; the next step is the same to the bit.

        Raises UserError as restore does, and for a damaged log.
        """
        state = self.restore()
        with self.checkpoint.readable():
            self.log.shorten(state["log_bytes"])
        self.reporter.message(f"continuing at step {self.steps} of {self.total_steps}")

    def run(self) -> dict[str, Any]:
        """Make all remaining steps, score the test files and return the content of metrics.json."""
        self.reporter.start(self.total_steps, self.steps, "training")
        with timed("training, with evaluations on dev files"):
            try:
                while self.steps < self.total_steps and not self.finished:
                    self._step()
            finally:
                self.reporter.finish()
        if self.best.get("best") == 0:
            self.reporter.message(f"{WARNING}no evaluation had a source dev {self.figure} above 0, so the model has learned next "
                                  f"to nothing: {self.if_nothing_learned}")
        with timed("scoring the test files"):
            return self.final_scores()

    def _step(self) -> None:
        begin = time.perf_counter()
        updates = self.objective.step(self.steps)
        seconds = group().gather(time.perf_counter() - begin)[0]       # the same in all processes, for train.max_minutes
        self.steps += 1
        tokens = sum(update.tokens for update in updates)
        self.tokens += tokens
        self.seconds += seconds
        self.patience.note(updates)
        for update in updates:
            self.log.update(update)
        self.reporter.step(self.tokens / max(self.seconds, 1e-9))
        limit = self.settings["train.max_minutes"]
        if limit and self.seconds >= 60 * limit and self.steps < self.total_steps:
            self._finish_early(f"{limit:g} minutes of training have passed (train.max_minutes)")
        evaluate = self.finished or self.steps % self.eval_every == 0 or self.steps == self.total_steps
        if evaluate:
            self.evaluate()
        every = self.settings["train.checkpoint_every"]
        stopping = self.stop()
        if evaluate or (every and self.steps % every == 0) or stopping:
            self._save()
        if stopping and self.steps < self.total_steps and not self.finished:
            raise Stopped

    def evaluate(self) -> None:
        """Score the dev files, keep the parameters that are the best so far, stop without progress."""
        scores = self.evaluation.run(self.model, "dev")
        tests = {"test": self.evaluation.run(self.model, "test")} if self.settings["train.score_tests"] else {}
        self.log.evaluation(self.steps, {"dev": scores, **tests})
        scores = {language: result for language, result in scores.items()      # the others say nothing about the model
                  if language not in self.evaluation.without_entities["dev"]}
        source = [scores[language][self.figure] for language in self.evaluation.sources if language in scores]
        if source:
            mean = sum(source) / len(source)
            self.reporter.message(f"step {self.steps}: source dev {self.figure} {100 * mean:.1f}")
            self._keep_if_better("best", mean)
        for language, result in scores.items():
            if language not in self.evaluation.sources:
                self._keep_if_better(f"oracle-{language}", result[self.figure])
        self._report_accuracy()
        reason = self.patience.evaluated(scores)
        if reason and not self.finished:
            self._finish_early(reason)

    def _report_accuracy(self) -> None:
        """Explain the accuracies once, after a quarter of the steps, early enough to start again."""
        if not self.steps - self.eval_every < self.total_steps / 4 <= self.steps < self.total_steps:
            return
        for name, loss in self.objective.losses.items():
            accuracy = self.patience.mean_accuracy(name)
            if loss.verdict and accuracy is not None:
                self.reporter.message(loss.verdict(accuracy, "since the last evaluation"))

    def _finish_early(self, reason: str) -> None:
        self.reporter.message(f"stopping: {reason}")
        self.finished = True

    def _keep_if_better(self, name: str, value: float) -> None:
        if name not in self.best or value > self.best[name]:
            self.best[name], self.best_step[name] = value, self.steps
            self.checkpoint.snapshot(name, self.steps, self.model.store)

    def _save(self) -> None:
        state = {"run": {name: getattr(self, name) for name in STATE}, "patience": self.patience.state_dict(),
                 "streams": {name: stream.state_dict() for name, stream in self.streams.items()},
                 "log_bytes": self.log.sync()}
        self.checkpoint.save(self.steps, self.model.store, self.objective.optimizers, state)

    def final_scores(self) -> dict[str, Any]:
        """Return test scores of the last parameters, of those selected on source dev, and of the best on target dev (oracle).

        Afterwards the model has the selected parameters.
        """
        pieces = {language: encoded.pieces for language, (_, encoded) in self.evaluation.files["test"].items()}
        oracles = [name.removeprefix("oracle-") for name in self.best if name != "best"]
        oracles = [language for language in oracles if language in pieces]
        earlier = self.best_step.get("best", self.steps) != self.steps         # the selected parameters are not the last
        total = sum(pieces.values()) * (1 + earlier) + sum(pieces[language] for language in oracles)
        metrics: dict[str, Any] = {}
        with over_pieces(total, "scoring", self.reporter, self.stop) as progress:
            metrics["test"] = metrics["last"] = self.evaluation.run(self.model, "test", progress=progress)
            metrics["oracle"] = {}
            for language in oracles:
                self.checkpoint.restore(f"oracle-{language}", self.model.store)
                metrics["oracle"][language] = self.evaluation.one(self.model, "test", language, progress=progress)
            if earlier:
                self.checkpoint.restore("best", self.model.store)
                metrics["test"] = self.evaluation.run(self.model, "test", progress=progress)
            elif oracles:                                                      # the model has an oracle's
                self.checkpoint.load(self.model.store, self.objective.optimizers)
        return metrics | self.effort()

    def effort(self) -> dict[str, Any]:
        """Return the figures of the training itself, for metrics.json."""
        return {"steps": self.steps, "selected_step": self.best_step.get("best", self.steps), "seconds": round(self.seconds, 3),
                "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9), 1), "peak_memory_bytes": peak_memory()}
