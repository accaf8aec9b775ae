"""report.html: the scores and the curves of a run, in one file without scripts."""
from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from minixl.checkpoint import write_atomically
from minixl.evaluation import main_figure

WIDTH, HEIGHT, MARGIN = 640, 260, 48
COLOURS = ("#1b6ca8", "#d1495b", "#3c8d5a", "#b8860b", "#6a4c93", "#444444")

Curve = list[tuple[float, float]]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 sans-serif;max-width:48em;margin:2em auto;padding:0 1em;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child{{text-align:left}}svg{{width:100%;height:auto}}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


def write_report(folder: Path, metrics: dict[str, Any]) -> None:
    """Write report.html from metrics.json's content and log.jsonl."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    figure = main_figure(metrics["task"])
    losses: dict[str, Curve] = {}
    devs: dict[str, Curve] = {}
    for record in records:
        if record["kind"] == "update":
            losses.setdefault(record["loss"], []).append((record["step"] + 1, record["value"]))
        else:
            for language, score in record["dev"].items():
                devs.setdefault(language, []).append((record["step"], 100 * score[figure]))
    title = f"{metrics['method']} · {metrics['task']} · seed {metrics['seed']}"
    body = [score_table(metrics), "<h2>Loss</h2>", svg({name: smooth(curve) for name, curve in losses.items()}, "loss")]
    if devs:
        body += [f"<h2>Dev {figure}</h2>", svg(devs, figure)]
    body.append(f"<p>{metrics['steps']} updates, selected after {metrics['selected_step']}; {metrics['seconds']:.0f} s of "
                f"training at {metrics['tokens_per_second']:.0f} word pieces a second; "
                f"{metrics['peak_memory_bytes'] / 2 ** 30:.2f} GiB at the peak.</p>")
    write_atomically(folder / "report.html", PAGE.format(title=html.escape(title), body="\n".join(body)))


def score_table(metrics: dict[str, Any]) -> str:
    """Test scores per language: selected on source dev, the last step, and oracle (selected on target dev)."""
    figure = main_figure(metrics["task"])
    rows = []
    for language in metrics["test"]:
        cells = [f"{100 * metrics[part][language][figure]:.1f}" if language in metrics[part] else ""
                 for part in ("test", "last", "oracle")]
        rows.append(f"<tr><td>{html.escape(language)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (f"<table><tr><th>test {figure}</th><th>selected</th><th>last</th><th>oracle</th></tr>{''.join(rows)}</table>")


def smooth(curve: Curve, most: int = 200) -> Curve:
    """At most `most` points: the means of equal stretches."""
    size = -(-len(curve) // most)
    return [(curve[min(i + size, len(curve)) - 1][0], sum(y for _, y in curve[i:i + size]) / len(curve[i:i + size]))
            for i in range(0, len(curve), size)]


def svg(curves: dict[str, Curve], label: str) -> str:
    """Line plot of named curves over steps."""
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    top = max(y for _, y in points) or 1.0
    low = min(0.0, min(y for _, y in points))
    right = max(x for x, _ in points)

    def place(x: float, y: float) -> str:
        return (f"{MARGIN + x / right * (WIDTH - 2 * MARGIN):.1f},"
                f"{HEIGHT - MARGIN - (y - low) / (top - low) * (HEIGHT - 2 * MARGIN):.1f}")

    lines = [f'<line x1="{MARGIN}" y1="{HEIGHT - MARGIN}" x2="{WIDTH - MARGIN}" y2="{HEIGHT - MARGIN}" stroke="#999"/>',
             f'<text x="4" y="{MARGIN}">{top:.3g}</text>', f'<text x="4" y="{HEIGHT - MARGIN}">{low:.3g}</text>',
             f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN + 18}" text-anchor="end">step {right:g}</text>',
             f'<text x="{MARGIN}" y="20">{html.escape(label)}</text>']
    for i, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" '
                     f'points="{" ".join(place(x, y) for x, y in curve)}"/>')
        for x, y in curve if len(curve) < 30 else []:
            centre = place(x, y).split(",")
            lines.append(f'<circle cx="{centre[0]}" cy="{centre[1]}" r="3" fill="{colour}"/>')
        lines.append(f'<text x="{WIDTH - MARGIN}" y="{24 + 18 * i}" text-anchor="end" fill="{colour}">{html.escape(name)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13" role="img">{"".join(lines)}</svg>'
