"""When a run ends before its last step: after train.patience evaluations in which train.stop_on made no progress.

    source-dev      mean score of the source languages' dev files, the higher the better
    target-dev      mean score of the target languages' dev files: an oracle, as it uses target labels
    loss            mean of the task's loss since the evaluation before, the lower the better
    discriminator   |a - 1/2|, a its mean accuracy since the evaluation before; the lower the better

Keung et al. 2019 train "until converged" (algorithm 1) and leave open by which sign.  Which parameters are kept as the model
is another question: those of the best source dev score, whatever ends the run.
"""
from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from minixl.errors import UserError
from minixl.evaluation.scores import Score, main_figure
from minixl.training.update import Update
from minixl.settings import Settings

NO_PROGRESS = {"source-dev": "no better source dev {figure}", "target-dev": "no better target dev {figure} (of target labels)",
               "loss": "no lower loss of the task", "discriminator": "the discriminator came no nearer to chance"}


def check_stopping(settings: Settings, sources: Container[str], dev: Iterable[str]) -> None:
    """Raises UserError where train.stop_on watches what there is not.  dev: the languages of the dev files."""
    if not settings["train.patience"]:
        return
    languages = list(dev)
    if settings["train.stop_on"] == "target-dev" and all(language in sources for language in languages):
        raise UserError("train.stop_on: target-dev expected a dev file of a target language (--dev; its labels are used), found "
                        f"{'only ' + ', '.join(languages) if languages else 'no dev file'}; give one, or "
                        "--set train.stop_on=source-dev")
    adversarial = settings["adversary.level"] != "none" or settings["method"] == "advpicker"      # whose teachers have one
    if settings["train.stop_on"] == "discriminator" and not adversarial:
        raise UserError(f"train.stop_on: discriminator expected a method that has one, found {settings['method']} with "
                        "adversary.level=none; --set adversary.level=sentence, or --set train.stop_on=source-dev")


class Patience:
    """Counts the evaluations without progress."""

    def __init__(self, settings: Settings, sources: Container[str]) -> None:
        self.watched, self.patience, self.sources = settings["train.stop_on"], settings["train.patience"], sources
        self.figure = main_figure(settings["task"])
        # the state, saved with every checkpoint
        self.best: float | None = None             # the higher the better
        self.without_progress = 0
        self.since = {"loss": [0.0, 0], "discriminator": [0.0, 0]}         # sum and number since the last evaluation

    def note(self, updates: Iterable[Update]) -> None:
        """What an iteration did."""
        for update in updates:
            if update.loss == "task":
                self._add("loss", update.value)
            elif update.loss == "discriminator" and update.accuracy is not None:
                self._add("discriminator", update.accuracy)

    def _add(self, name: str, value: float) -> None:
        total, number = self.since[name]
        self.since[name] = [total + value, number + 1]

    def mean(self, name: str) -> float | None:
        """Of the loss of the task, or the accuracy of the discriminator, since the last evaluation; None without an update."""
        total, number = self.since[name]
        return total / number if number else None

    def evaluated(self, dev: Mapping[str, Score]) -> str | None:
        """Count an evaluation, dev: its scores by language.  Returns why the run should end, or None."""
        value = self._value(dev)
        self.since = {name: [0.0, 0] for name in self.since}
        if value is None:                          # nothing to watch: no dev file, or no update of the discriminator yet
            return None
        if self.best is None or value > self.best:
            self.best, self.without_progress = value, 0
        else:
            self.without_progress += 1
        if not self.patience or self.without_progress < self.patience:
            return None
        return f"{NO_PROGRESS[self.watched].format(figure=self.figure)} in {self.patience} evaluations"

    def _value(self, dev: Mapping[str, Score]) -> float | None:
        """What is watched, the higher the better."""
        if self.watched in self.since:
            mean = self.mean(self.watched)
            if mean is None:
                return None
            return -mean if self.watched == "loss" else -abs(mean - 0.5)
        scores = [score[self.figure] for language, score in dev.items()
                  if (language in self.sources) == (self.watched == "source-dev")]
        return sum(scores) / len(scores) if scores else None

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints, ready for JSON."""
        return {"best": self.best, "without_progress": self.without_progress, "since": self.since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The opposite of state_dict."""
        self.best, self.without_progress, self.since = state["best"], state["without_progress"], dict(state["since"])
