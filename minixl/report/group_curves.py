"""The curves of test and dev scores of several groups of runs: in plots by language, or in small panels if these are many."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from minixl.evaluation.scores import mean_sd
from minixl.report.final_scores import score_marks
from minixl.report.folders import RunFolder
from minixl.report.grouping import Group
from minixl.report.page_of_run import plot
from minixl.report.plots import MOST_LINES, PERCENT, Band, Curve, panels
from minixl.report.scores import TARGET_MEAN
from minixl.training.objective import Loss

MOST_PLOTS = 4         # languages that have a plot each; more are drawn as panels

Curves = dict[str, dict[str, Band]]                # language -> group -> curve


def score_plots(groups: Sequence[Group], losses: Mapping[str, Loss]) -> list[str]:
    """Plot the scores of all groups over the steps; test scores with their marks, and with the mean over the target languages."""
    figure, body = groups[0][1][0].figure, list[str]()
    for part in ("test", "dev"):
        marks = score_marks(groups)[0] if part == "test" else {}
        curves = _curves(groups, part, losses)
        panelled = [language for language in curves if language != TARGET_MEAN]
        if len(panelled) <= MOST_PLOTS or len(groups) > MOST_LINES:
            panelled = []
        for language in [language for language in curves if language not in panelled]:
            named = {f"{name} {marks.get((language, name), '')}".rstrip(): curve for name, curve in curves[language].items()}
            body += plot(f"{part.title()} {figure}, {language}", named, f"{figure}, %", PERCENT)
        if panelled:
            titles = {language: " ".join([language, *sorted({marks[language, name] for name, _ in groups if (language, name) in
                                                             marks})]) for language in panelled}
            body += [f"<h2>{part.title()} {figure} by language</h2>",
                     panels({titles[language]: curves[language] for language in panelled}, f"{figure}, %", PERCENT)]
    return body


def _curves(groups: Sequence[Group], part: str, losses: Mapping[str, Loss]) -> Curves:
    """Return the curves of every language and of the mean over the target languages, if all groups have the same ones."""
    rows = {name: [_by_language(run, part, losses) for run in runs] for name, runs in groups}
    languages = dict.fromkeys(language for runs in rows.values() for of_run in runs for language in of_run
                              if language != TARGET_MEAN)
    targets = {frozenset(run.targets) for _, runs in groups for run in runs}
    curves = {language: {name: band([of_run.get(language, []) for of_run in runs]) for name, runs in rows.items()}
              for language in [*[TARGET_MEAN] * (part == "test" and len(targets) == 1), *languages]}
    drawn = {language: {name: curve for name, curve in of_language.items() if curve.mean}
             for language, of_language in curves.items()}
    return {language: of_language for language, of_language in drawn.items() if of_language}


def _by_language(run: RunFolder, part: str, losses: Mapping[str, Loss]) -> dict[str, Curve]:
    """Return language -> its score in percent over the steps, and that of the mean over several target languages."""
    curves: dict[str, dict[float, float]] = {}
    for row in run.rows(part, losses):
        curves.setdefault(row["language"], {})[row["step"]] = 100 * row["score"]
    targets = [curves.get(language, {}) for language in run.targets]
    if len(targets) > 1:
        steps = [step for step in targets[0] if all(step in curve for curve in targets)]
        curves[TARGET_MEAN] = {step: sum(curve[step] for curve in targets) / len(targets) for step in steps}
    return {language: list(curve.items()) for language, curve in curves.items()}


def band(curves: Sequence[Curve]) -> Band:
    """Return mean and standard deviation of several curves, at every step with at least two values; or one curve unchanged.

    A step with one value of several curves is left out: one value says nothing about their spread.
    """
    values_at: dict[float, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            values_at.setdefault(step, []).append(value)
    enough = min(2, sum(len(curve) > 0 for curve in curves))
    points = [(step, *mean_sd(values)) for step, values in sorted(values_at.items()) if len(values) >= enough]
    return Band([(step, mean) for step, mean, _ in points], [sd for _, _, sd in points])
