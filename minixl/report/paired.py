"""Groups of runs against the first one: their difference for every language, with a paired bootstrap interval."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from minixl.evaluation.bootstrap import RESAMPLES, interval, resampled_differences, score_of, sentence_counts
from minixl.evaluation.predictions import Predictions, read_predictions
from minixl.evaluation.scores import mean_sd
from minixl.report.final_scores import score_marks
from minixl.report.folders import LEAVE_OUT, RunFolder
from minixl.report.grouping import Group
from minixl.report.scores import TARGET_MEAN


class Paired(NamedTuple):
    """A later group minus the first one, as a table."""

    title: str
    head: list[str]
    rows: list[list[str]]


class Differences(NamedTuple):
    """The tables, none if there is nothing to compare, and notes on them."""

    tables: list[Paired]
    notes: list[str]


class _Side(NamedTuple):
    """A group with the predictions of its runs: language -> predictions."""

    name: str
    runs: list[tuple[RunFolder, dict[str, Predictions]]]           # sorted by seed


class _Difference(NamedTuple):
    """The second group minus the first, on one language or the mean of several."""

    resampled: np.ndarray              # (resamples,)
    by_run: np.ndarray                 # (S,)  seed by seed; one value, of the mean scores, if the seeds differ


def compare(groups: Sequence[Group]) -> Differences:
    """Compare every group that has final scores with the first one that has.  Raises UserError for damaged predictions."""
    finished = [(name, scored) for name, runs in groups if (scored := [run for run in runs if run.metrics and run.metrics["test"]])]
    if len(finished) < 2:
        return Differences([], [])
    marks, notes = score_marks(groups)[0], list[str]()
    sides, without = list[_Side](), list[str]()
    for name, runs in finished:
        kept = [(run, _predictions(run)) for run in sorted(runs, key=lambda run: run.seed)]
        without += [str(run.folder) for run, predictions in kept if not predictions]
        sides.append(_Side(name, [(run, predictions) for run, predictions in kept if predictions]))
    if without:
        notes.append(f"no predictions are kept in {', '.join(without)} (a run of an older version?), so the paired comparison "
                     f"leaves {'it' if len(without) == 1 else 'them'} out")
    first, *others = sides
    tables = []
    for other in others if first.runs else []:
        if other.runs:
            differences = _differences(first, other, notes)
            tables += [_table(first, other, differences, marks)] if differences else []
    return Differences(tables, _explanation(tables, first) + notes)


def _predictions(run: RunFolder) -> dict[str, Predictions]:
    """Read a run's predictions on all its test files; {} if it lacks any."""
    languages = run.metrics["test"] if run.metrics else {}
    predictions = {language: read_predictions(run.folder, language, run.settings["task"], LEAVE_OUT) for language in languages}
    present = {language: one for language, one in predictions.items() if one is not None}
    return present if len(present) == len(languages) else {}


def _differences(first: _Side, second: _Side, notes: list[str]) -> dict[str, _Difference]:
    """Return language (and TARGET_MEAN) -> the second group minus the first; append notes on languages that cannot be paired."""
    (run, predictions), (other_run, other_predictions) = first.runs[0], second.runs[0]
    differences: dict[str, _Difference] = {}
    for language in [language for language in predictions if language in other_predictions]:
        one, other = ([of_run[language] for _, of_run in side.runs] for side in (first, second))
        reference = one[0]
        if any((of_run.lines, of_run.gold) != (reference.lines, reference.gold) for of_run in [*one, *other]):
            notes.append(f"{language}: {first.name} and {second.name} were scored on different test inputs, which cannot be paired")
        elif reference.gold:
            differences[language] = _difference(run.settings["task"], one, other, crc32(language.encode()),
                                                bool(_common_seeds(first, second)))
    targets = run.targets
    if len(targets) > 1 and set(targets) == set(other_run.targets) and set(targets) <= differences.keys():
        members = [differences[target] for target in targets]
        differences[TARGET_MEAN] = _Difference(np.mean([member.resampled for member in members], axis=0),
                                               np.mean([member.by_run for member in members], axis=0))
    return differences


def _common_seeds(first: _Side, second: _Side) -> list[int]:
    """Return the seeds if both groups have the same ones."""
    seeds = [[run.seed for run, _ in side.runs] for side in (first, second)]
    return seeds[0] if seeds[0] == seeds[1] else []


def _difference(task: str, first: Sequence[Predictions], second: Sequence[Predictions], seed: int, same_seeds: bool) -> _Difference:
    one, other = (np.stack([sentence_counts(task, run.gold, run.predicted) for run in side]) for side in (first, second))
    scores, other_scores = (score_of(counts.sum(axis=1)) for counts in (one, other))       # (S,) each
    by_run = other_scores - scores if same_seeds else np.array([other_scores.mean() - scores.mean()])
    return _Difference(resampled_differences(one, other, seed), by_run)


def _table(first: _Side, second: _Side, differences: Mapping[str, _Difference], marks: Mapping[tuple[str, str], str]) -> Paired:
    seeds = _common_seeds(first, second)
    shown = seeds if len(seeds) > 1 else []
    head = ["language", "difference", "95 % interval", *(f"seed {seed}" for seed in shown), *["sd"] * bool(shown)]
    rows = []
    for language, difference in differences.items():
        one, other = (marks.get((language, side.name), "") for side in (first, second))
        rows.append(_row(language, difference, other or one if one != other else "", bool(shown)))
    return Paired(f"{second.name} minus {first.name}", head, rows)


def _row(language: str, difference: _Difference, mark: str, with_seeds: bool) -> list[str]:
    values = (100 * difference.by_run).tolist()
    low, high = interval(100 * difference.resampled)
    seeds = [*(f"{value:+.1f}" for value in values), f"{mean_sd(values)[1]:.1f}"] if with_seeds else []
    return [language, f"{np.mean(values):+.1f}" + f" {mark}" * bool(mark), f"{low:+.1f} to {high:+.1f}", *seeds]


def _explanation(tables: Sequence[Paired], first: _Side) -> list[str]:
    """Say what the tables show, and what they do not."""
    if not tables:
        return []
    run = first.runs[0][0]
    inputs = "documents" if run.settings["task"] == "classification" else "sentences"
    marked = any(len(row[1].split()) > 1 for table in tables for row in table.rows)
    lines = [f"difference: in points of test {run.figure}, of the means over the seeds of each"
             + "; marks: as in the final scores" * marked,
             f"95 % interval: paired bootstrap over the test {inputs} (Koehn 2004), {RESAMPLES} resamples, every language by "
             f"itself; it says how much the difference depends on these {inputs}, and nothing about other seeds"]
    with_seeds = any("sd" in table.head for table in tables)
    return lines + ["seed N: the difference between the two runs of that seed; sd: their standard deviation"] * with_seeds
