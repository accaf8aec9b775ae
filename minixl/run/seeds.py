"""Several runs that differ in their seed, and their mean, standard deviation and maximum."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.evaluation.scores import main_figure, mean_sd
from minixl.run.folder import check_same, check_unchanged, check_unused, holds_run
from minixl.run.groups import on_groups
from minixl.run.job import train_run
from minixl.run.method import Method
from minixl.settings import Settings
from minixl.training.config import read_config
from minixl.training.metrics import REWRITE, Metrics, is_finished, read_metrics, write_metrics
from minixl.training.progress import Reporter, Stop


def train_seeds(method: Method, settings: Settings, inputs: Inputs, out: Path, *, seeds: Sequence[int], reporter: Reporter,
                xp: Any = np, resume: bool = False, stop: Stop = lambda: False) -> Metrics:
    """Train one run for each seed, in OUT/seed-N; OUT/metrics.json has mean, sd and max of every figure.

    Raises UserError as train_run does, and if all seeds would give the same run.
    """
    if holds_run(out):
        raise UserError(f"--seeds: {out} holds one run of seed {read_config(out, settings.schema)[2]}; choose a new --out folder "
                        "for several seeds")
    if not resume:
        check_unused(out)
    method.check_seeds(settings, inputs, seeds)
    fingerprints = inputs.fingerprints() if resume else {}
    trained = 0

    def train(seed: int) -> Metrics:
        nonlocal trained
        reporter.message(f"seed {seed} ({list(seeds).index(seed) + 1} of {len(seeds)})")
        folder = out / f"seed-{seed}"
        if resume and is_finished(folder):
            check_same(folder, settings, inputs, seed)
            check_unchanged(folder, fingerprints)
            return read_metrics(folder, main_figure(settings["task"]), REWRITE)
        trained += 1
        return train_run(method, settings, inputs, folder, seed=seed, reporter=reporter, xp=xp, shared=out,
                         resume=resume and holds_run(folder), stop=stop, quiet=trained > 1)

    first = seeds[:1] if method.shares_stages else ()              # by all processes; the others then find what they share
    runs = [train(seed) for seed in first] + on_groups(settings["run.groups"], seeds[len(first):], train)
    summary = {"method": method.name, "task": settings["task"], "seeds": list(seeds), **summarise(runs)}
    write_metrics(out, summary)
    return summary


def summarise(runs: Sequence[Metrics]) -> Metrics:
    """Summarise each figure of several runs as {"mean", "sd", "max", "runs"}; sd is that of a sample (n - 1).

    Leaves out figures that some runs lack, such as an entity type that only some of them predicted, and confusion matrices.
    """
    summary: Metrics = {}
    for key, first in runs[0].items():
        if key == "confusion" or not all(key in run for run in runs):
            continue
        values = [run[key] for run in runs]
        if isinstance(first, dict):
            summary[key] = summarise(values) if first else {}
        elif isinstance(first, str) and len(set(values)) == 1:
            summary[key] = first
        elif isinstance(first, int | float) and key != "seed":
            mean, sd = mean_sd(values)
            summary[key] = {"mean": mean, "sd": sd, "max": max(values), "runs": values}
    return summary
