"""report.html: the scores and the curves of a run, in one file without scripts."""
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.report.page import table, write_page
from minixl.report.plots import PERCENT, Band, Curve, Range, smooth, svg
from minixl.report.scores import meaning, meanings, score_columns
from minixl.training.log import Record
from minixl.training.objective import Loss


def write_report(folder: Path, metrics: dict[str, Any], records: Sequence[Record], losses: Mapping[str, Loss], unit: str,
                 sections: Sequence[str]) -> None:
    """Write report.html from the content of metrics.json and log.jsonl.

    losses: of the run; unit: of its model's input, word pieces or words; sections: of its method, as HTML.
    """
    figure = main_figure(metrics["task"])
    values, accuracies = update_curves(records, losses)
    body = [score_table(metrics), *plot("Loss", smooth(values), "loss"),
            *accuracy_plots({title: smooth({title: curve}) for title, curve in accuracies.items()}, losses)]
    for part in ("dev", "test"):
        body += plot(f"{part.title()} {figure}", score_curves(records, part, figure), f"{figure}, %", PERCENT)
    if metrics["steps"]:
        body.append(f"<p>{metrics['steps']} steps, the model is from step {metrics['selected_step']}; "
                    f"{metrics['seconds']:.0f} s of training at {metrics['tokens_per_second']:.0f} {unit} a second; "
                    f"{metrics['peak_memory_bytes'] / 2 ** 30:.2f} GiB of host memory at the peak.</p>")
    write_page(folder / "report.html", f"{metrics['method']} · {metrics['task']} · seed {metrics['seed']}", [*body, *sections])


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


def score_table(metrics: dict[str, Any]) -> str:
    """Return the table of test scores by language, with the columns that the run has."""
    figure, columns = main_figure(metrics["task"]), score_columns(metrics)
    rows = [[language, *(100 * metrics[part][language][figure] if language in metrics[part] else None
                         for part in columns.values())] for language in metrics["test"]]
    if not rows:
        return "<p>No test file was given, so there are no final scores.</p>"
    return table(f"Test {figure}, %.  {meaning(columns, meanings([metrics]))}", ["language", *columns], rows)
