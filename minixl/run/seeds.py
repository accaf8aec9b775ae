"""Several runs that differ in their seed, and their mean, standard deviation and maximum."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minixl.errors import UserError
from minixl.evaluation.scores import mean_sd
from minixl.data.inputs import Inputs
from minixl.training.progress import Reporter, Stop
from minixl.run.folder import check_same, check_unchanged, check_unused, is_finished, read_run
from minixl.run.job import train_run
from minixl.settings import Settings
from minixl.training.loop import write_metrics
from minixl.methods.advpicker.variants import resolved


def train_seeds(settings: Settings, inputs: Inputs, out: Path, *, seeds: list[int], reporter: Reporter, xp: Any = np,
                resume: bool = False, stop: Stop = lambda: False) -> dict[str, Any]:
    """One run a seed, into OUT/seed-N; OUT/metrics.json has mean, sd and max of every figure.

    Raises UserError as train_run does, and where the seeds would make no difference.
    """
    if (out / "config.toml").is_file():
        raise UserError(f"--seeds: {out} holds one run of seed {read_run(out)[2]}; choose a new --out folder for several seeds")
    if not resume:
        check_unused(out)
    settings = resolved(settings)                                  # config.toml has it so
    if settings["method"] == "advpicker" and settings["advpicker.variant"] == "without-kd" and len(seeds) > 1:
        raise UserError("advpicker.variant=without-kd: expected one seed, since seeds differ in the student and here is none: "
                        f"{len(seeds)} runs would be equal; advpicker.teachers says how many teachers there are")
    fingerprints = inputs.fingerprints() if resume else {}
    shared, trained = {"shared": out} if settings["method"] == "advpicker" else {}, 0
    runs: list[dict[str, Any]] = []
    for seed in seeds:
        reporter.message(f"seed {seed} ({len(runs) + 1} of {len(seeds)})")
        folder = out / f"seed-{seed}"
        if resume and is_finished(folder):
            check_same(folder, settings, inputs, seed)
            check_unchanged(folder, fingerprints)
            runs.append(_metrics(folder))
            continue
        runs.append(train_run(settings, inputs, folder, seed=seed, reporter=reporter, xp=xp,
                              resume=resume and (folder / "config.toml").is_file(), stop=stop, quiet=trained > 0, **shared))
        trained += 1
    summary = {"method": settings["method"], "task": settings["task"], "seeds": seeds, **summarise(runs)}
    write_metrics(out, summary)
    return summary


def _metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of a finished run.  Raises UserError where it is damaged."""
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        found = "other content"
    except ValueError as error:
        metrics, found = None, f"a damaged file ({error})"
    if not isinstance(metrics, dict):
        raise UserError(f"{path}: expected the scores of a finished run, found {found}; delete this file, and --resume writes it "
                        "again")
    return metrics


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of several runs, each as {"mean", "sd", "max", "runs"}; sd is that of a sample (n - 1).

    What not every run has is left out: an entity type that only some of them predicted.
    """
    merged: dict[str, Any] = {}
    for key, first in runs[0].items():
        if not all(key in run for run in runs):
            continue
        values = [run[key] for run in runs]
        if isinstance(first, dict):
            merged[key] = summarise(values) if first else {}
        elif isinstance(first, int | float) and key != "seed":
            mean, sd = mean_sd(values)
            merged[key] = {"mean": mean, "sd": sd, "max": max(values), "runs": values}
    return merged
