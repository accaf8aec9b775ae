"""Read run folders for a report: finished or not, of this version of minixl or an older one.

A report only compares and shows settings: it keeps names and types that this version does not know, and a setting that the
file lacks has its default.  Damage is reported in one line that names the file.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minixl.data.inputs import Inputs, by_language
from minixl.errors import UserError
from minixl.evaluation.scores import main_figure
from minixl.report.curves import curve_rows
from minixl.settings import Schema
from minixl.training.config import CONFIG, read_any_config
from minixl.training.log import Record, read_log
from minixl.training.metrics import Metrics, is_finished, read_metrics
from minixl.training.objective import Loss

LEAVE_OUT = "leave this run out"


@dataclass
class RunFolder:
    """One run on disk, finished or not."""

    folder: Path
    settings: Mapping[str, Any]
    inputs: Inputs
    digests: Mapping[str, str]         # of the input files when the run began, by data.inputs.path_key; empty if unknown
    seed: int
    records: list[Record]
    metrics: Metrics | None

    @property
    def figure(self) -> str:
        """The score of its task, "f1" or "accuracy"."""
        return main_figure(self.settings["task"])

    @property
    def steps(self) -> int:
        """The number of steps made so far."""
        return max((record["step"] + 1 for record in self.records if record["kind"] == "update"), default=0)

    @property
    def sources(self) -> list[str]:
        """The source languages."""
        return list(by_language(self.inputs.source))

    @property
    def targets(self) -> list[str]:
        """The test languages that are not source languages."""
        return [language for language in by_language(self.inputs.test) if language not in self.sources]

    def rows(self, part: str, losses: Mapping[str, Loss]) -> list[Record]:
        """Return its curve_rows that have a language."""
        rows = curve_rows(self.records, self.figure, self.sources, losses, part)
        return [row for row in rows if row["language"] is not None]


def expand(folder: Path) -> list[Path]:
    """Return a run folder, or the runs in a folder of several seeds.  Raises UserError for one that is neither, or both."""
    seeds = sorted((path.parent for path in folder.glob(f"seed-*/{CONFIG}")), key=lambda path: (len(path.name), path.name))
    if (folder / CONFIG).is_file():
        if seeds:
            raise UserError(f"{folder}: expected one run, or the folders of several seeds, found both; give the seeds one by one "
                            f"({' '.join(map(str, seeds[:2]))}{' ...' if seeds[2:] else ''}), or move them out of the folder")
        return [folder]
    if not seeds:
        raise UserError(f"{folder}: expected a run folder with config.toml, or one of several seeds, found "
                        + ("none in it" if folder.is_dir() else "no such folder"))
    return seeds


def read_folder(folder: Path, schema: Schema) -> RunFolder:
    """Read everything that a report compares.  Raises UserError for a damaged folder."""
    settings, inputs, seed = read_any_config(folder, schema)
    figure = main_figure(settings["task"])
    metrics = read_metrics(folder, figure, f"{LEAVE_OUT}, or train it again") if is_finished(folder) else None
    return RunFolder(folder, settings, inputs, _read_digests(folder), seed, read_log(folder, figure, LEAVE_OUT), metrics)


def _read_digests(folder: Path) -> dict[str, str]:
    """Read inputs.json; a run without it has no digests.  Raises UserError if the file is damaged."""
    path = folder / "inputs.json"
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected the digests of the run's input files, found a damaged file ({error}); delete it to "
                        f"compare the files by their paths, or {LEAVE_OUT}") from None
    return {name: digest for name, digest in digests.items() if isinstance(digest, str)} if isinstance(digests, dict) else {}
