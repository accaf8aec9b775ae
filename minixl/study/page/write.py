"""Make one training step and write its page.

    written = write_study_page(Path("page.html"), start, title="...")

The page is one file: style, scripts and data are inside it, and it loads nothing.
"""
from __future__ import annotations

import html
import json
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from minixl.report.page import made_on, write_page
from minixl.study.events import Recording
from minixl.study.page.arrays import BUDGET
from minixl.study.page.checks import verdicts_of_ops, verdicts_of_updates
from minixl.study.page.content import Content
from minixl.study.page.languages import accuracies, moved_blocks
from minixl.study.page.perturbed import PLACES, Seen, loss_along, watching
from minixl.study.recorder import WeightName, record
from minixl.study.replay import Start
from minixl.training.objective import Objective

HERE = resources.files(__package__)
STYLES = ("page.css",)
SCRIPTS = ("numbers.js", "elements.js", "figures.js", "tree.js", "panels.js", "attention.js", "lattice.js", "linkage.js",
           "perturbation.js", "updates.js", "page.js")                 # in the order they run


class Written(NamedTuple):
    """What a page has."""

    events: int
    arrays: int
    cut: int                           # arrays that are not shown in full
    bytes: int


def write_study_page(path: Path, start: Start, *, title: str, weights: Sequence[WeightName] = (),
                     budget: int = BUDGET) -> Written:
    """Make the step and write its page.  weights: see recorder.record; budget: see arrays.py.

    Raises UserError if the file cannot be written.
    """
    objective = start.objective
    with watching(objective) as seen:
        recording = record(objective, start.step, weights)
    data = page_data(recording, start, seen, budget)
    cut = sum(array["kept"] != array["table"] for array in data["arrays"])
    lines = [made_on(datetime.now()), *(f'<p class="summary">{html.escape(line)}</p>' for line in summary(recording)),
             _text("body.html")]
    write_page(path, title, lines, style="".join(map(_text, STYLES)), scripts=_scripts(data))
    return Written(len(data["events"]), len(data["arrays"]), cut, path.stat().st_size)


def summary(recording: Recording) -> list[str]:
    """Return a sentence for each update: its loss, its gradient and its change of the parameters."""
    return [f"{update.loss}: the loss is {update.value:.4g}, its gradient has the norm {update.norm:.4g}, and the update changes "
            f"{len(update.names)} parameters; the norm of the change is {update.change_norm:.3g}."
            for update in recording.update_records()]


def page_data(recording: Recording, start: Start, seen: Seen, budget: int) -> dict[str, Any]:
    """Return everything that the scripts read."""
    objective, labels = start.objective, list(start.objective.model.labels)
    content = Content(recording, start.tokenizer, labels)
    losses = [update.loss for update in recording.update_records()]
    blocks, changes = moved_blocks(recording)
    data = {"events": content.events(), "ops": content.ops(), "labels": labels,
            "batches": [text._asdict() for text in content.texts],
            "checks": verdicts_of_ops(content.files()), "updateChecks": verdicts_of_updates(objective.settings, losses),
            "titles": {name: loss.title for name, loss in objective.losses.items()},
            "blocks": {"names": blocks, "changes": changes}, "parameters": len(recording.before),
            "discriminator": accuracies(recording), "perturbation": _perturbation(content, seen, objective, recording)}
    return {**data, "arrays": content.arrays.packed(budget)}


def _perturbation(content: Content, seen: Seen, objective: Objective, recording: Recording) -> dict[str, Any] | None:
    """Return g and r of the first part of the batch, and the loss along r; None without a perturbation."""
    if not seen.parts:
        return None
    text = content.texts[0]
    slope = sum(float((g.astype(float) * r).sum()) for g, r in zip(seen.directions, seen.shifts, strict=True))
    return {"g": content.figures({"g": seen.directions[0]}, text)[0], "r": content.figures({"r": seen.shifts[0]}, text)[0],
            "adversarial": objective.settings["perturbation.kind"] == "adversarial", "slope": slope,
            "places": PLACES.tolist(), "losses": loss_along(seen, objective, recording)}


def _scripts(data: dict[str, Any]) -> str:
    """Return the data, in which no text can end the element, and the scripts."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script>\n<script>"use strict";\n' \
           f'{"".join(map(_text, SCRIPTS))}</script>\n'


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
