"""report.html of `minixl align`: the criterion over steps, precision, and pictures of both spaces before and after the map."""
from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.report.page import table, write_page
from minixl.report.page_of_run import plot
from minixl.report.plots import COLOURS, Curve

SIDE = 420                                         # of a picture
CURVES = {"criterion": "mean cosine of the translations of frequent words", "objective": "objective of the self-learning",
          "keep": "probability that a candidate takes part", "discriminator_accuracy": "accuracy of the discriminator"}


def write_alignment_page(out: Path, metrics: Mapping[str, Any]) -> None:
    """Write report.html from the content of metrics.json and the files of each target."""
    body = [_summary(metrics)]
    for target, one in metrics["targets"].items():
        body.append(f"<h2>{html.escape(metrics['source'])}–{html.escape(target)}</h2>")
        if one["failed"]:
            body.append("<p><strong>This map has failed: its criterion is close to that of a random rotation.</strong></p>")
        body += _curves(one)
        body += _pictures(out / target / "picture.json", metrics["source"], target)
    write_page(out / "report.html", f"align · {metrics['method']} · seed {metrics['seed']}", body)


def _summary(metrics: Mapping[str, Any]) -> str:
    """Return the table of all maps: criterion, and precision before and after refinement."""
    head = ["map", "criterion, %", "chance, %", "CSLS @1 unrefined", "CSLS @1", "CSLS @5", "CSLS @10", "nearest @1"]
    rows = []
    for target, one in metrics["targets"].items():
        scores = [100 * one["unrefined"]["csls"]["1"], *(100 * one["refined"]["csls"][at] for at in ("1", "5", "10")),
                  100 * one["refined"]["nn"]["1"]] if "refined" in one else [None] * 5
        rows.append([f"{metrics['source']}-{target}", 100 * one["criterion"], 100 * one["chance"], *scores])
    return table("criterion: mean cosine of the translations of frequent words; chance: the same after a random rotation; "
                 "@k: precision in percent, a right translation is among the best k", head, rows)


def _curves(one: Mapping[str, Any]) -> list[str]:
    """Plot every value that the attempts recorded, one line for each attempt, and the criterion during refinement."""
    lines: list[str] = []
    for name, label in CURVES.items():
        curves = {f"seed {attempt['seed']}": [(point["step"], point[name]) for point in attempt["curve"] if name in point]
                  for attempt in one["attempts"]}
        lines += plot(name.replace("_", " ").capitalize(), {key: curve for key, curve in curves.items() if len(curve) > 1}, label)
    refinement: Curve = [(point["step"], point["criterion"]) for point in one["refinement"]]
    return lines + (plot("Refinement", {"criterion": refinement}, "criterion over iterations") if len(refinement) > 1 else [])


def _pictures(path: Path, source: str, target: str) -> list[str]:
    """Draw both spaces before and after the map; a word shows when the pointer is on its point."""
    if not path.is_file():
        return []
    drawn = json.loads(path.read_text(encoding="utf-8"))
    lines = [f'<h3>Words</h3><p><span style="color:{COLOURS[0]}">{html.escape(source)}</span>, '
             f'<span style="color:{COLOURS[1]}">{html.escape(target)}</span>; {html.escape(drawn["kind"])} of the most frequent '
             "words, before (left) and after the map; point at a dot to see its word</p>"]
    return [*lines, f'<svg viewBox="0 0 {2 * SIDE + 20} {SIDE}" role="img">{_dots(drawn["before"], drawn["words"], 0)}'
            f'{_dots(drawn["after"], drawn["words"], SIDE + 20)}</svg>']


def _dots(points: Sequence[Sequence[Sequence[float]]], words: Sequence[Sequence[str]], left: int) -> str:
    frame = f'<rect x="{left}" y="0" width="{SIDE}" height="{SIDE}" fill="none" stroke="#ccc"/>'
    return frame + "".join(
        f'<circle cx="{left + 8 + a * (SIDE - 16):.1f}" cy="{SIDE - 8 - b * (SIDE - 16):.1f}" r="3" fill="{COLOURS[side]}">'
        f"<title>{html.escape(word)}</title></circle>"
        for side in (0, 1) for (a, b), word in zip(points[side], words[side], strict=True))
