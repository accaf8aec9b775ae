"""Replay a run up to a step, exactly, in order to record that step.

    with run_at(folder, 120) as start:
        recording = record(start.objective, start.step)

The replay continues from the run's checkpoint if that is of this step or an earlier one, and otherwise begins at step 0; both
lead to the same bits.  A method with stages runs as in training, except that a finished stage is read and the stage to record
is not trained.  The run's folder is never written to: the replay works in a temporary folder of links to its files.
"""
from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.data.encoding import PieceTokenizer
from minixl.errors import UserError
from minixl.methods import SCHEMA, resolve
from minixl.run.folder import check_unchanged, holds_run
from minixl.run.job import Run
from minixl.run.method import Method, Trained
from minixl.run.prepare import prepare
from minixl.run.stage import make_training
from minixl.settings import Settings
from minixl.training.config import read_config
from minixl.training.loop import Training
from minixl.training.metrics import REWRITE, is_finished, read_metrics
from minixl.training.objective import Objective
from minixl.training.progress import Reporter


class Start(NamedTuple):
    """What a step starts from."""

    objective: Objective
    step: int                          # the iteration to record, from 0
    total_steps: int
    tokenizer: PieceTokenizer


@contextmanager
def run_at(folder: Path, step: int | None = None, stage: str = "", *, reporter: Reporter, xp: Any = np) -> Iterator[Start]:
    """Replay the run in `folder` until `step` steps are made; None: as many as its checkpoint, 0 without one.

    stage: the folder inside the run of an earlier stage; "" is the last.
    Raises UserError for a folder without a run, for inputs that have changed, and for a step or stage that the run lacks.
    """
    if not holds_run(folder):
        raise UserError(f"{folder}: expected the folder of a run, with config.toml, found none")
    shared = folder.parent if re.fullmatch(r"seed-\d+", folder.name) and not holds_run(folder.parent) else folder
    with tempfile.TemporaryDirectory(prefix="minixl-study-") as name:
        links = Path(name) / "run"
        _link(shared, links)
        own = links / folder.relative_to(shared)
        settings, inputs, seed = read_config(own, SCHEMA)
        method, settings, _ = resolve(settings)
        prepared = prepare(method, settings, inputs, seed, xp)
        check_unchanged(own, prepared.fingerprints)
        run = _Replay(method, settings, inputs, own, links, seed, prepared, reporter, xp, resume=True, stop=lambda: False,
                      original=folder, wanted=stage)
        try:
            method.run(run)
        except _Reached as reached:
            yield _advanced(reached, step, reporter)
            return
    raise UserError(f"{folder}: expected a stage {stage!r}, found none of that name" if stage else
                    f"{folder}: the method {method.name} trains nothing in this folder with these settings")


class _Reached(Exception):
    """The replay has reached the stage to record."""

    def __init__(self, training: Training, tokenizer: PieceTokenizer) -> None:
        super().__init__(training, tokenizer)
        self.training, self.tokenizer = training, tokenizer


@dataclass
class _Replay(Run):
    """A run that reads its finished stages, and stops before the stage to record."""

    original: Path                     # the run's own folder, for messages
    wanted: str

    def train(self, method: Method, name: str = "", *, settings: Settings | None = None, seed: int | None = None,
              shared: bool = False, title: str = "") -> Trained:
        settings, seed = settings or self.settings, self.seed if seed is None else seed
        folder = (self.shared if shared else self.folder) / name
        if name == self.wanted:
            prepared = prepare(method, settings, self.inputs, seed, self.xp) if name else self.prepared
            raise _Reached(make_training(method, settings, seed, prepared, folder, self.reporter), prepared.tokenizer)
        if not is_finished(folder):
            raise UserError(f"{self.original}: the stage {name or 'of the run itself'} is not finished, and the stage to study "
                            "needs it; continue the run with minixl train --resume")
        return Trained(folder, read_metrics(folder, self.prepared.evaluation.figure, REWRITE))


def _advanced(reached: _Reached, step: int | None, reporter: Reporter) -> Start:
    """Restore the checkpoint if it helps, and make the steps up to the one to record."""
    training = reached.training
    total = training.total_steps
    if step is not None and not 0 <= step < total:
        raise UserError(f"--at-step: expected 0 to {total - 1}, the steps of this stage, got {step}")
    if training.checkpoint.exists() and (step is None or training.checkpoint.step() <= step):
        training.restore()
    made = training.steps
    step = made if step is None else step
    if step >= total:
        raise UserError(f"--at-step: the checkpoint is of the last step; expected a step from 0 to {total - 1}, for example "
                        f"--at-step {total - 1}")
    if step > made:
        reporter.message(f"replaying steps {made} to {step - 1}")
    for number in range(made, step):
        training.objective.step(number)
    return Start(training.objective, step, total, reached.tokenizer)


def _link(folder: Path, target: Path) -> None:
    """Make a copy of the tree in which every file is a link to the original."""
    for path, _, files in os.walk(folder):
        below = target / Path(path).relative_to(folder)
        below.mkdir(parents=True)
        for file in files:
            (below / file).symlink_to((Path(path) / file).absolute())
