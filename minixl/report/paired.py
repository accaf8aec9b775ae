"""Two groups of runs against each other: their difference for every language, with a paired bootstrap interval."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from minixl.evaluation.bootstrap import RESAMPLES, interval, resampled_differences, score_of, sentence_counts
from minixl.evaluation.predictions import Predictions, read_predictions
from minixl.evaluation.scores import mean_sd
from minixl.report.folders import LEAVE_OUT, RunFolder
from minixl.report.grouping import Group
from minixl.report.scores import TARGET_MEAN


class Paired(NamedTuple):
    """The differences as a table, without rows if there is nothing to compare, and notes on it."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]


class _Difference(NamedTuple):
    """The second group minus the first, on one language or the mean of several."""

    resampled: np.ndarray              # (resamples,)
    by_run: np.ndarray                 # (S,)  seed by seed; one value, of the mean scores, if the seeds differ


def compare(groups: Sequence[Group]) -> Paired | None:
    """Compare two groups with final scores; None for anything else.  Raises UserError for damaged predictions."""
    finished = [(name, [run for run in runs if run.metrics and run.metrics["test"]]) for name, runs in groups]
    if len(finished) != 2 or not all(runs for _, runs in finished):
        return None
    languages = [language for language in finished[0][1][0].metrics["test"]                # type: ignore[index]
                 if language in finished[1][1][0].metrics["test"]]                         # type: ignore[index]
    notes: list[str] = []
    kept = [(name, [(run, _predictions(run, languages)) for run in runs]) for name, runs in finished]
    without = [str(run.folder) for _, runs in kept for run, predictions in runs if predictions is None]
    if without:
        notes.append(f"no predictions are kept in {', '.join(without)} (a run of an older version?), so the paired comparison "
                     f"leaves {'it' if len(without) == 1 else 'them'} out")
    first, second = (sorted(((run, predictions) for run, predictions in runs if predictions is not None),
                            key=lambda pair: pair[0].seed) for _, runs in kept)
    if not (first and second):
        return Paired([], [], notes)
    seeds = _common_seeds([run for run, _ in first], [run for run, _ in second])
    differences: dict[str, _Difference] = {}
    for language in languages:
        sides = [[predictions[language] for _, predictions in side] for side in (first, second)]
        reference = sides[0][0]
        if any((one.lines, one.gold) != (reference.lines, reference.gold) for side in sides for one in side):
            notes.append(f"{language}: the two were scored on different test inputs, which cannot be paired")
        elif reference.gold:
            differences[language] = _difference(first[0][0].settings["task"], *sides, crc32(language.encode()), bool(seeds))
    targets = first[0][0].targets
    if len(targets) > 1 and set(targets) == set(second[0][0].targets) and set(targets) <= differences.keys():
        members = [differences[target] for target in targets]
        differences[TARGET_MEAN] = _Difference(np.mean([one.resampled for one in members], axis=0),
                                               np.mean([one.by_run for one in members], axis=0))
    if not differences:
        return Paired([], [], notes)
    shown_seeds = seeds if len(seeds) > 1 else []
    head = ["language", "difference", "95 % interval", *(f"seed {seed}" for seed in shown_seeds), *["sd"] * bool(shown_seeds)]
    names = [name for name, _ in finished]
    return Paired(head, [_row(language, one, bool(shown_seeds)) for language, one in differences.items()],
                  [*_explanation(names, first[0][0], bool(shown_seeds)), *notes])


def _predictions(run: RunFolder, languages: Sequence[str]) -> dict[str, Predictions] | None:
    """Read a run's predictions on all languages; None if it lacks any."""
    predictions = {language: read_predictions(run.folder, language, run.settings["task"], LEAVE_OUT) for language in languages}
    present = {language: one for language, one in predictions.items() if one is not None}
    return present if len(present) == len(languages) else None


def _common_seeds(first: Sequence[RunFolder], second: Sequence[RunFolder]) -> list[int]:
    """Return the seeds if both groups have the same ones."""
    seeds = [sorted(run.seed for run in side) for side in (first, second)]
    return seeds[0] if seeds[0] == seeds[1] else []


def _difference(task: str, first: Sequence[Predictions], second: Sequence[Predictions], seed: int, same_seeds: bool) -> _Difference:
    counts = [np.stack([sentence_counts(task, one.gold, one.predicted) for one in side]) for side in (first, second)]
    scores = [score_of(side.sum(axis=1)) for side in counts]                   # (S,) each
    by_run = scores[1] - scores[0] if same_seeds else np.array([scores[1].mean() - scores[0].mean()])
    return _Difference(resampled_differences(*counts, seed), by_run)


def _row(language: str, difference: _Difference, with_seeds: bool) -> list[str]:
    values: list[Any] = 100 * difference.by_run
    low, high = interval(100 * difference.resampled)
    seeds = [*(f"{value:+.1f}" for value in values), f"{mean_sd(list(values))[1]:.1f}"] if with_seeds else []
    return [language, f"{np.mean(values):+.1f}", f"{low:+.1f} to {high:+.1f}", *seeds]


def _explanation(names: Sequence[str], run: RunFolder, with_seeds: bool) -> list[str]:
    """Say what the table shows, and what it does not."""
    inputs = "documents" if run.settings["task"] == "classification" else "sentences"
    lines = [f"difference: {names[1]} minus {names[0]}, in points of test {run.figure}, as the mean over the seeds of each",
             f"95 % interval: paired bootstrap over the test {inputs} (Koehn 2004), {RESAMPLES} resamples, every language by "
             f"itself; it says how much the difference depends on these {inputs}, and nothing about other seeds"]
    return lines + ["seed N: the difference between the two runs of that seed; sd: their standard deviation"] * with_seeds
