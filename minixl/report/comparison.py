"""Several runs side by side: their curves over each other, their final scores.  What `minixl report` writes.

Runs whose settings and inputs are the same but for the seed are one group, drawn as a band, mean ± standard deviation (of
a sample, n - 1).  Keung et al. 2019, figure 2, is such a page: the test score over the steps with and without adversary.
"""
from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minixl.checkpoint import write_atomically
from minixl.report.curves import COLUMNS, Record, as_csv, curve_rows, read_log
from minixl.errors import UserError
from minixl.evaluation import main_figure
from minixl.inputs import Inputs
from minixl.report.page import table, write_page
from minixl.report.plots import PERCENT, Band, Curve, svg
from minixl.report.run import plot, update_curves
from minixl.run_folder import is_finished, read_run
from minixl.settings import Settings

CSV = ("group", "run", "seed", "part", *COLUMNS)
UNSEEN = ("train.score_tests", "train.checkpoint_every", "advpicker.study")        # change nothing that is compared


@dataclass
class RunFolder:
    """One run as it lies on disk, finished or not."""

    folder: Path
    settings: Settings
    inputs: Inputs
    seed: int
    records: list[Record]
    metrics: dict[str, Any] | None

    @property
    def figure(self) -> str:
        return main_figure(self.settings["task"])

    def rows(self, part: str) -> list[Record]:
        """Its curve_rows of languages, without those that have losses alone."""
        rows = curve_rows(self.records, self.figure, [language for language, _ in self.inputs.source], part)
        return [row for row in rows if row["language"] is not None]


Group = tuple[str, list[RunFolder]]                # name; runs that differ in their seed


def write_comparison(folders: Sequence[Path], page: Path, table_file: Path | None = None) -> list[Group]:
    """Write the page, and the rows behind its curves as CSV.  Raises UserError for folders without runs to compare."""
    groups = group([read_folder(folder) for given in folders for folder in expand(given)])
    runs = [run for _, members in groups for run in members]
    if len({run.figure for run in runs}) > 1:
        raise UserError(f"{runs[0].folder} has the task {runs[0].settings['task']}, "
                        + next(f"{r.folder} the task {r.settings['task']}" for r in runs if r.figure != runs[0].figure)
                        + ": their scores cannot be compared; give runs of one task")
    if not any(run.records for run in runs):
        raise UserError(f"{runs[0].folder}: expected a run that has made a step, found an empty log.jsonl")
    write_page(page, "Runs side by side", _body(groups))
    if table_file:
        rows = [{"group": name, "run": str(run.folder), "seed": run.seed, "part": part, **row}
                for name, members in groups for run in members for part in ("dev", "test") for row in run.rows(part)]
        write_atomically(table_file, as_csv(rows, CSV))
    return groups


def expand(folder: Path) -> list[Path]:
    """A run folder, or those below a folder of several seeds."""
    if (folder / "config.toml").is_file():
        return [folder]
    seeds = sorted(folder.glob("seed-*/config.toml"), key=lambda path: (len(path.parent.name), path.parent.name))
    if not seeds:
        raise UserError(f"{folder}: expected a run folder with config.toml, or one of several seeds, found "
                        + ("none in it" if folder.is_dir() else "no such folder"))
    return [path.parent for path in seeds]


def read_folder(folder: Path) -> RunFolder:
    """Everything of a run that is compared."""
    settings, inputs, seed = read_run(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8")) if is_finished(folder) else None
    return RunFolder(folder, settings, inputs, seed, read_log(folder), metrics)


def group(runs: Iterable[RunFolder]) -> list[Group]:
    """Runs that differ in their seed alone, together, under the folder's name of the first (of the folder of its seeds)."""
    groups: list[list[RunFolder]] = []
    for run in runs:
        mates = next((members for members in groups if _alike(members[0], run)), None)
        if mates is None:
            groups.append([run])
        elif run.seed in [mate.seed for mate in mates]:
            raise UserError(f"{run.folder}: the same settings, inputs and seed as "
                            f"{next(mate.folder for mate in mates if mate.seed == run.seed)}; give each run once")
        else:
            mates.append(run)
    names = [(m[0].folder.parent if m[0].folder.name == f"seed-{m[0].seed}" else m[0].folder).resolve() for m in groups]
    short = [path.name if [p.name for p in names].count(path.name) == 1 else str(path) for path in names]
    return [(f"{name} ({len(members)} seeds)" if len(members) > 1 else name, members)
            for name, members in zip(short, groups, strict=True)]


def _alike(one: RunFolder, other: RunFolder) -> bool:
    return one.inputs == other.inputs and all(one.settings[n] == other.settings[n] for n in one.settings if n not in UNSEEN)


def _body(groups: list[Group]) -> list[str]:
    figure = groups[0][1][0].figure
    body = ["<h2>Final scores</h2>", _scores(groups, figure), *_differences(groups)]
    for part in ("test", "dev"):
        languages = sorted({row["language"] for _, runs in groups for run in runs for row in run.rows(part)})
        for language in languages:
            curves = {name: band([[(row["step"], 100 * row["score"]) for row in run.rows(part) if row["language"] == language]
                                  for run in runs]) for name, runs in groups}
            body += [f"<h2>{part.title()} {figure}, {language}</h2>",
                     svg({name: curve for name, curve in curves.items() if curve.mean}, f"{figure}, %", PERCENT)]
    accuracies = {name: curve for name, runs in groups if (curve := _accuracy(runs)).mean}
    return body + plot("Accuracy of the discriminator", accuracies, "share of languages told apart, 0.5 by chance")


def _accuracy(runs: Sequence[RunFolder]) -> Band:
    return band([update_curves(run.records)[1].get("discriminator", []) for run in runs])


def band(curves: Sequence[Curve]) -> Band:
    """Mean and standard deviation of several curves at every step that any of them has."""
    at: dict[float, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            at.setdefault(step, []).append(value)
    return Band([(step, statistics.fmean(at[step])) for step in sorted(at)],
                [statistics.stdev(at[step]) if len(at[step]) > 1 else 0.0 for step in sorted(at)])


def final_scores(groups: Sequence[Group], figure: str) -> list[dict[str, Any]]:
    """A row for each language and group: mean, sd and number of finished runs, for "test", "last" and "oracle"."""
    rows = []
    languages = dict.fromkeys(language for _, runs in groups for run in runs for language in (run.metrics or {}).get("test", {}))
    for language in languages:
        for name, runs in groups:
            row: dict[str, Any] = {"language": language, "group": name}
            for part in ("test", "last", "oracle"):
                values = [run.metrics[part][language][figure] for run in runs if run.metrics and language in run.metrics[part]]
                row[part] = {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
                             "runs": len(values)} if values else None
            rows.append(row)
    return rows


def _scores(groups: list[Group], figure: str) -> str:
    def cell(found: dict[str, Any] | None) -> str | None:
        if not found:
            return None
        return f"{100 * found['mean']:.1f}" + (f" ± {100 * found['sd']:.1f}" if found["runs"] > 1 else "")
    rows = [[row["language"], row["group"], *(cell(row[part]) for part in ("test", "last", "oracle"))]
            for row in final_scores(groups, figure)]
    return table([f"test {figure}", "run", "selected", "last", "oracle"], rows) if rows else "<p>No run is finished.</p>"


def _differences(groups: list[Group]) -> list[str]:
    """The settings in which the groups differ."""
    firsts = [runs[0].settings for _, runs in groups]
    names = [name for name in firsts[0] if any(settings[name] != firsts[0][name] for settings in firsts)]
    rows = [[name, *(json.dumps(settings[name], ensure_ascii=False) for settings in firsts)] for name in names]
    return ["<h2>Settings that differ</h2>", table(["", *(name for name, _ in groups)], rows)] if rows else []
