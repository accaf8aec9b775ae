"""report.html: the scores and the curves of a run, in one file without scripts."""
from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.evaluation.scores import main_figure
from minixl.methods.advpicker.page import studies_html
from minixl.report.curves import Record, read_log
from minixl.report.folders import read_config
from minixl.report.page import table, write_page
from minixl.report.plots import PERCENT, Band, Curve, Range, smooth, svg
from minixl.report.scores import meaning, score_columns


def write_report(folder: Path, metrics: dict[str, Any]) -> None:
    """Write report.html from metrics.json's content, log.jsonl and, where there is one, studies.json."""
    records, figure = read_log(folder), main_figure(metrics["task"])
    losses, accuracy = update_curves(records)
    body = [score_table(metrics), *plot("Loss", smooth(losses), "loss"),
            *plot("Accuracy of the discriminator", smooth(accuracy), "share of languages told apart, 0.5 by chance")]
    for part in ("dev", "test"):
        body += plot(f"{part.title()} {figure}", score_curves(records, part, figure), f"{figure}, %", PERCENT)
    if metrics["steps"]:
        units = "words" if read_config(folder)[0]["model.type"] == "bilstm-crf" else "word pieces"
        body.append(f"<p>{metrics['steps']} steps, the model is that after {metrics['selected_step']}; "
                    f"{metrics['seconds']:.0f} s of training at {metrics['tokens_per_second']:.0f} {units} a second; "
                    f"{metrics['peak_memory_bytes'] / 2 ** 30:.2f} GiB of host memory at the peak.</p>")
    else:
        body.append("<p>No student was trained (advpicker.variant=without-kd), so there is no curve and no model folder.</p>")
    studies = folder / "studies.json"
    if studies.is_file():
        body.append(studies_html(json.loads(studies.read_text(encoding="utf-8")), figure))
    write_page(folder / "report.html", f"{metrics['method']} · {metrics['task']} · seed {metrics['seed']}", body)


def plot(title: str, curves: Mapping[str, Curve | Band], label: str, within: Range | None = None) -> list[str]:
    """A heading and its plot, `within` as in svg; nothing for no curves."""
    return [f"<h2>{html.escape(title)}</h2>", svg(curves, label, within)] if curves else []


def update_curves(records: Sequence[Record]) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Every loss over the steps, and the accuracy of the discriminator in its own updates."""
    losses: dict[str, list[tuple[float, float]]] = {}
    accuracy: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        if record["kind"] == "update":
            losses.setdefault(record["loss"], []).append((record["step"] + 1, record["value"]))
            if record["loss"] == "discriminator":
                accuracy.setdefault("discriminator", []).append((record["step"] + 1, record["accuracy"]))
    return dict(losses), dict(accuracy)


def score_curves(records: Sequence[Record], part: str, figure: str) -> dict[str, Curve]:
    """language -> its score on dev or test file in percent, over the steps."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        for language, score in record.get(part, {}).items() if record["kind"] == "evaluation" else ():
            curves.setdefault(language, []).append((record["step"], 100 * score[figure]))
    return dict(curves)


def score_table(metrics: dict[str, Any]) -> str:
    """Test scores per language, in the columns that there are."""
    figure, columns = main_figure(metrics["task"]), score_columns(metrics)
    rows = [[language, *(100 * metrics[part][language][figure] if language in metrics[part] else None
                         for part in columns.values())] for language in metrics["test"]]
    if not rows:
        return "<p>No test file was given, so there are no final scores.</p>"
    return table(f"Test {figure}, %.  {meaning(columns)}", ["language", *columns], rows)
