"""Early stopping: a run ends after train.patience evaluations without progress of the figure that train.stop_on names.

    source-dev      mean score of the source languages' dev files; higher is better
    target-dev      mean score of the target languages' dev files; an oracle, since it uses target labels
    loss            mean of the task's loss since the last evaluation; lower is better
    NAME            a loss whose accuracy should approach chance, such as discriminator: distance from chance of its mean
                    accuracy since the last evaluation; lower is better

Keung et al. 2019 train "until converged" (algorithm 1) without saying what that means.  Early stopping does not select the
model: however a run ends, the model has the parameters with the best source dev score.
"""
from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from minixl.errors import UserError
from minixl.evaluation.scores import Score, main_figure
from minixl.settings import Section, Setting, Settings
from minixl.training.objective import TASK, Loss
from minixl.training.update import Update

FIGURES = ("source-dev", "target-dev", "loss")
NO_PROGRESS = {"source-dev": "no better source dev {figure}", "target-dev": "no better target dev {figure} (of target labels)",
               "loss": "no lower loss of the task"}


def section(losses: Mapping[str, Loss]) -> Section:
    """Return the settings of early stopping.  losses: of all methods and terms."""
    return Section("training: early stopping", {
        "train.patience": Setting(0, "stop after N evaluations without progress of train.stop_on; 0: never", at_least=0),
        "train.stop_on": Setting("source-dev", "figure that train.patience watches: the mean score on the source dev files, or on "
                                 "the target dev files (an oracle: it uses target labels); since the last evaluation, the task's "
                                 "mean loss or the distance of a discriminator's accuracy from 1/2. Model selection ignores this",
                                 (*FIGURES, *(name for name, loss in losses.items() if loss.chance is not None))),
    })


def check_stopping(settings: Settings, sources: Container[str], dev: Iterable[str], losses: Mapping[str, Loss], method: str,
                   cure: str) -> None:
    """Raises UserError if train.stop_on watches something that this run does not have.

    dev: the languages of the dev files; losses: of all stages; cure: how to add the watched loss to the run.
    """
    if not settings["train.patience"]:
        return
    languages, watched = list(dev), settings["train.stop_on"]
    if watched == "target-dev" and all(language in sources for language in languages):
        raise UserError("train.stop_on: target-dev expected a dev file of a target language (--dev; its labels are used), found "
                        f"{'only ' + ', '.join(languages) if languages else 'no dev file'}; give one, or "
                        "--set train.stop_on=source-dev")
    if watched not in FIGURES and watched not in losses:
        raise UserError(f"train.stop_on: {watched} expected a method that has one, found {method}; {cure}, or "
                        "--set train.stop_on=source-dev")


class Patience:
    """Counts evaluations without progress, and averages losses and accuracies between evaluations."""

    def __init__(self, settings: Settings, sources: Container[str], losses: Mapping[str, Loss]) -> None:
        self.watched, self.patience = settings["train.stop_on"], settings["train.patience"]
        self.sources, self.losses = sources, losses
        self.figure = main_figure(settings["task"])
        # the state, saved with every checkpoint
        self.best: float | None = None             # higher is better
        self.without_progress = 0
        self.values: dict[str, list[float]] = {}       # loss -> sum and number of its values since the last evaluation
        self.accuracies: dict[str, list[float]] = {}   # the same of its accuracies

    def note(self, updates: Iterable[Update]) -> None:
        """Add the updates of an iteration to the means."""
        for update in updates:
            _add(self.values, update.loss, update.value)
            if update.accuracy is not None:
                _add(self.accuracies, update.loss, update.accuracy)

    def mean_accuracy(self, loss: str) -> float | None:
        """Return the mean accuracy since the last evaluation; None without an update of this loss."""
        return _mean(self.accuracies.get(loss))

    def evaluated(self, dev: Mapping[str, Score]) -> str | None:
        """Count an evaluation; return the reason to end the run, or None.  dev: its scores by language."""
        value = self._progress(dev)
        self.values, self.accuracies = {}, {}
        if value is None:                          # nothing to watch: no dev file, or no update of this loss yet
            return None
        if self.best is None or value > self.best:
            self.best, self.without_progress = value, 0
        else:
            self.without_progress += 1
        if not self.patience or self.without_progress < self.patience:
            return None
        reason = NO_PROGRESS.get(self.watched, f"the {self.watched} came no nearer to chance")
        return f"{reason.format(figure=self.figure)} in {self.patience} evaluations"

    def _progress(self, dev: Mapping[str, Score]) -> float | None:
        """Return the watched figure, with its sign set so that higher is better; None if there is none yet."""
        if self.watched == "loss":
            mean = _mean(self.values.get(TASK))
            return None if mean is None else -mean
        if self.watched not in FIGURES:
            accuracy = self.mean_accuracy(self.watched)
            chance = self.losses[self.watched].chance if self.watched in self.losses else None
            return None if accuracy is None or chance is None else -abs(accuracy - chance)
        scores: Sequence[float] = [score[self.figure] for language, score in dev.items()
                                   if (language in self.sources) == (self.watched == "source-dev")]
        return sum(scores) / len(scores) if scores else None

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as JSON values."""
        return {"best": self.best, "without_progress": self.without_progress, "values": self.values,
                "accuracies": self.accuracies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what state_dict returned."""
        self.best, self.without_progress = state["best"], state["without_progress"]
        self.values, self.accuracies = dict(state["values"]), dict(state["accuracies"])


def _add(sums: dict[str, list[float]], loss: str, value: float) -> None:
    total, number = sums.get(loss, (0.0, 0))
    sums[loss] = [total + value, number + 1]


def _mean(total_and_number: Sequence[float] | None) -> float | None:
    return total_and_number[0] / total_and_number[1] if total_and_number else None
