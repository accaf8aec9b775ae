"""Seconds of a clean, an adversarially and a randomly perturbed step, alternating in one process; for docs/performance.md.

    python -m tests.methods.perturbed_step ENCODER TRAIN.txt
"""
from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median

from minixl.data.inputs import Inputs
from minixl.methods import SCHEMA, resolve
from minixl.run.prepare import prepare
from minixl.run.stage import make_streams
from minixl.training.objective import Objective

KINDS, STEPS = ("none", "adversarial", "random"), 10


def objective(kind: str, freeze: str, encoder: Path, source: Path) -> Objective:
    """Return the objective of the recipe finetune-ner-cpu with batches of 16."""
    settings = SCHEMA.recipe("finetune-ner-cpu").override([f"perturbation.kind={kind}", f"model.freeze={freeze}",
                                                           "data.limit=400", "train.batch_size=16"])
    method, settings, _ = resolve(settings)
    prepared = prepare(method, settings, Inputs(encoder, [("en", source)]), 1)
    streams = make_streams(method.streams(settings), method.texts(settings, prepared, 1), prepared.model, settings, 1, Path())
    return method.make_objective(prepared.model, streams, settings, 1, STEPS)


def main(encoder: Path, source: Path) -> None:
    """Print the median of all steps but the first, and its ratio to the clean step."""
    for freeze in ("", "bottom:3"):
        seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
        objectives = {kind: objective(kind, freeze, encoder, source) for kind in KINDS}
        for step in range(STEPS):
            for kind, one in objectives.items():
                begin = time.perf_counter()
                one.step(step)
                seconds[kind].append(time.perf_counter() - begin)
        medians = {kind: median(values[1:]) for kind, values in seconds.items()}
        print(f"frozen: {freeze or 'nothing'}; " + ", ".join(
            f"{kind} {value:.3f} s ({value / medians['none']:.2f})" for kind, value in medians.items()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
