"""Steps of tiny models, and their pages."""
from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minixl.study.page.arrays import BUDGET
from minixl.study.page.write import write_study_page
from minixl.study.recorder import record
from minixl.study.texts import of_text
from tests.whole_runs import Quiet

TEXTS = [("anna visited paris .", "B-PER O B-LOC O"), ("ben lives in madrid", "B-PER O O B-LOC")]
TARGETS = ["ben vive en paris ."]
STEPS: dict[str, dict[str, Any]] = {
    "finetune": {}, "bilstm-crf": {"model": "bilstm-crf"},
    "language-adversarial": {"method": "language-adversarial", "targets": TARGETS},
    "token": {"method": "language-adversarial", "targets": TARGETS, "changes": ["adversary.level=token", "adversary.size=6"]},
    "linkage": {"targets": TARGETS, "changes": ["linkage.level=token", "perturbation.kind=adversarial"]}}


@contextmanager
def started(encoder: Path, name: str, *changes: str):
    """Where a step of STEPS starts."""
    options = {"model": str(encoder), **STEPS[name]}
    options["changes"] = [*options.get("changes", ()), *changes]
    with of_text(options.pop("model"), TEXTS, options.pop("targets", ()), reporter=Quiet(), **options) as start:
        yield start


def recorded(encoder: Path, name: str):
    """A step's recording, and its objective."""
    with started(encoder, name) as start:
        return record(start.objective, 0, [("classifier.weight", (0, 1))]), start


def write(encoder: Path, name: str, path: Path, budget: int = BUDGET) -> Path:
    """Write the page of a step."""
    with started(encoder, name) as start:
        write_study_page(path, start, title=name, weights=[("classifier.weight", (0, 1))], budget=budget)
    return path


def data_of(path: Path) -> dict[str, Any]:
    """The data inside a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.S)[1])
