"""A run folder as a report reads it: finished or not, of this minixl or of an older one.

Settings are only compared and shown here, never trained with.  So a name or a type that this version does not know is taken as
it stands, and a setting that the file lacks has its default.  What is damaged is one line that names the file.
"""
from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minixl import __version__
from minixl.errors import UserError
from minixl.evaluation.scores import main_figure
from minixl.data.inputs import Inputs
from minixl.report.curves import Record, curve_rows, parse_log
from minixl.settings import SETTINGS, flatten

PARTS = ("test", "last", "oracle")     # of metrics.json


@dataclass
class RunFolder:
    """One run as it lies on disk, finished or not."""

    folder: Path
    settings: Mapping[str, Any]
    inputs: Inputs
    seed: int
    records: list[Record]
    metrics: dict[str, Any] | None

    @property
    def figure(self) -> str:
        return main_figure(self.settings["task"])

    @property
    def steps(self) -> int:
        """How many it has made."""
        return max((record["step"] + 1 for record in self.records if record["kind"] == "update"), default=0)

    def rows(self, part: str) -> list[Record]:
        """Its curve_rows of languages, without those that have losses alone."""
        rows = curve_rows(self.records, self.figure, [language for language, _ in self.inputs.source], part)
        return [row for row in rows if row["language"] is not None]


def expand(folder: Path) -> list[Path]:
    """A run folder, or those below a folder of several seeds.  Raises UserError for a folder that is neither, or both."""
    seeds = sorted((path.parent for path in folder.glob("seed-*/config.toml")), key=lambda path: (len(path.name), path.name))
    if (folder / "config.toml").is_file():
        if seeds:
            raise UserError(f"{folder}: expected one run, or the folders of several seeds, found both; give the seeds one by one "
                            f"({' '.join(map(str, seeds[:2]))}{' ...' if seeds[2:] else ''}), or move them out of the folder")
        return [folder]
    if not seeds:
        raise UserError(f"{folder}: expected a run folder with config.toml, or one of several seeds, found "
                        + ("none in it" if folder.is_dir() else "no such folder"))
    return seeds


def read_folder(folder: Path) -> RunFolder:
    """Everything of a run that is compared.  Raises UserError for a folder that is damaged."""
    settings, inputs, seed = read_config(folder)
    figure = main_figure(settings["task"])
    return RunFolder(folder, settings, inputs, seed, _records(folder / "log.jsonl", figure),
                     _metrics(folder / "metrics.json", figure))


def read_config(folder: Path) -> tuple[dict[str, Any], Inputs, int]:
    """Settings, inputs and seed of config.toml, whichever version wrote it."""
    path, version = folder / "config.toml", "an unknown version"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        version = tables["versions"]["minixl"]
        settings = {name: setting.default for name, setting in SETTINGS.items()}
        settings |= flatten({key: value for key, value in tables.items() if key != "seed"})
        if settings["task"] not in SETTINGS["task"].choices:
            raise ValueError(f"the task {settings['task']!r}")
        return settings, Inputs.from_table(tables["inputs"]), int(tables["seed"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: expected the settings of a run, found a file that this minixl ({__version__}) cannot read "
                        f"({found}); it was damaged, or written by another one ({version}); leave this run out") from None


def _records(path: Path, figure: str) -> list[Record]:
    return parse_log(path, _read(path), lambda record: _is_record(record, figure), f"an update or an evaluation with its {figure}",
                     "leave this run out")


def _is_record(record: Any, figure: str) -> bool:
    if not isinstance(record, dict) or not _is_number(record.get("step")):
        return False
    if record.get("kind") == "evaluation":
        return all(_is_scores(record.get(part, {}), figure) for part in ("dev", "test")) and "dev" in record
    judged = record.get("loss") != "discriminator" or _is_number(record.get("accuracy"))
    return record.get("kind") == "update" and isinstance(record.get("loss"), str) and _is_number(record.get("value")) and judged


def _metrics(path: Path, figure: str) -> dict[str, Any] | None:
    """metrics.json; None for a run that is not finished."""
    if not path.is_file():
        return None
    try:
        metrics = json.loads(_read(path))
    except ValueError:
        metrics = None
    if not isinstance(metrics, dict) or not all(_is_scores(metrics.get(part), figure) for part in PARTS):
        found = "the summary of several seeds" if isinstance(metrics, dict) and "seeds" in metrics else "other content"
        raise UserError(f"{path}: expected the {figure} of one run for {', '.join(PARTS)}, found {found}; leave this run out, or "
                        "train it again")
    return metrics


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); leave this run out") from None


def _is_scores(found: Any, figure: str) -> bool:
    """Whether this is language -> scores with this figure."""
    return isinstance(found, dict) and all(isinstance(score, dict) and _is_number(score.get(figure)) for score in found.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
