"""report.html: what a run is, its scores and its curves, in one file without scripts."""
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from minixl.data.inputs import by_language
from minixl.evaluation.scores import main_figure
from minixl.report.breakdown import breakdown
from minixl.report.page import made_on, table, write_page
from minixl.report.plots import PERCENT, Band, Curve, Range, smooth, svg
from minixl.report.provenance import Provenance, provenance_tables
from minixl.report.scores import MEAN_MEANING, TARGET_MEAN, meaning, meanings, score_columns, split_mean, with_target_mean
from minixl.training.log import Record
from minixl.training.objective import Loss


def write_report(folder: Path, metrics: dict[str, Any], records: Sequence[Record], losses: Mapping[str, Loss], unit: str,
                 sections: Sequence[str], provenance: Provenance) -> None:
    """Write report.html from the content of metrics.json and log.jsonl.

    losses: of the run; unit: of its model's input, word pieces or words; sections: of its method, as HTML.
    """
    figure = main_figure(metrics["task"])
    values, accuracies = update_curves(records, losses)
    sources = list(by_language(provenance.inputs.source))
    body = [made_on(provenance.finished), *_summary(metrics, sources, figure),
            score_table(with_target_mean(metrics, figure, sources)), *_run(metrics, unit),
            *provenance_tables(provenance), *breakdown(metrics["test"], sources), *plot("Loss", smooth(values), "loss"),
            *accuracy_plots({title: smooth({title: curve}) for title, curve in accuracies.items()}, losses)]
    for part in ("dev", "test"):
        body += plot(f"{part.title()} {figure}", score_curves(records, part, figure), f"{figure}, %", PERCENT)
    write_page(folder / "report.html", f"{metrics['method']} · {metrics['task']} · seed {metrics['seed']}", [*body, *sections])


def _summary(metrics: Mapping[str, Any], sources: Sequence[str], figure: str) -> list[str]:
    """Summarise the test scores of the target languages, or else of the source languages, in one sentence."""
    scores = {language: 100 * score[figure] for language, score in metrics["test"].items()}
    targets = {language: score for language, score in scores.items() if language not in sources}
    kind, scores = ("target", targets) if targets else ("source", scores)
    if not scores:
        return []
    if len(scores) == 1:
        (language, score), = scores.items()
        sentence = f"Test {figure} in the {kind} language {html.escape(language)}: <strong>{score:.1f} %</strong>."
    else:
        (worst, low), *_, (best, high) = sorted(scores.items(), key=lambda pair: pair[1])
        sentence = (f"Mean test {figure} over {len(scores)} {kind} languages: <strong>{fmean(scores.values()):.1f} %</strong>, "
                    f"from {low:.1f} ({html.escape(worst)}) to {high:.1f} ({html.escape(best)}).")
    return [f'<p class="summary">{sentence}</p>']


def _run(metrics: Mapping[str, Any], unit: str) -> list[str]:
    if not metrics["steps"]:
        return []
    return [f'<p class="note">{metrics["steps"]} steps, the model is from step {metrics["selected_step"]}; '
            f"{metrics['seconds']:.0f} s of training at {metrics['tokens_per_second']:.0f} {unit} a second; "
            f"{metrics['peak_memory_bytes'] / 2 ** 30:.2f} GiB of host memory at the peak.</p>"]


def plot(title: str, curves: Mapping[str, Curve | Band], label: str, within: Range | None = None) -> list[str]:
    """Return a heading and a plot, nothing without curves.  within: see svg."""
    return [f"<h2>{html.escape(title)}</h2>", svg(curves, label, within)] if curves else []


def update_curves(records: Sequence[Record], losses: Mapping[str, Loss]) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Return the curves of all losses, and of the accuracies of those that have one, by title.

    A loss that is not in the table, perhaps from an older version, keeps its name.
    """
    values: dict[str, list[tuple[float, float]]] = {}
    accuracies: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        if record["kind"] == "update":
            loss = losses.get(record["loss"])
            title = loss.title if loss else record["loss"]
            values.setdefault(title, []).append((record["step"] + 1, record["value"]))
            if loss and loss.accuracy and record.get("accuracy") is not None:
                accuracies.setdefault(title, []).append((record["step"] + 1, record["accuracy"]))
    return dict(values), dict(accuracies)


def accuracy_plots(accuracies: Mapping[str, Mapping[str, Curve | Band]], losses: Mapping[str, Loss]) -> list[str]:
    """Plot the accuracy of every loss that has one.  accuracies: title of the loss -> name -> curve."""
    labels = {loss.title: loss.accuracy for loss in losses.values() if loss.accuracy}
    return [line for title, curves in accuracies.items() for line in plot(f"Accuracy of the {title}", curves, labels[title])]


def score_curves(records: Sequence[Record], part: str, figure: str) -> dict[str, Curve]:
    """Return language -> its score on the dev or test file in percent, over the steps."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for language, score in record.get(part, {}).items() if record["kind"] == "evaluation" else ():
            curves.setdefault(language, []).append((record["step"], 100 * score[figure]))
    return dict(curves)


def score_table(metrics: Mapping[str, Any]) -> str:
    """Return the table of test scores by language, with the columns that the run has; a mean over target languages is its foot."""
    figure, columns = main_figure(metrics["task"]), score_columns(metrics)
    rows, foot = split_mean([language, *(100 * metrics[part][language][figure] if language in metrics[part] else None
                                         for part in columns.values())] for language in metrics["test"])
    if not rows:
        return "<p>No test file was given, so there are no final scores.</p>"
    caption = f"Test {figure}, %.  {meaning(columns, meanings([metrics]))}" + f"  {TARGET_MEAN}: {MEAN_MEANING}." * bool(foot)
    return table(caption, ["language", *columns], rows, foot)
