"""Several runs side by side: their curves over each other, their final scores.  What `minixl report` writes.

Runs whose settings and inputs are the same but for the seed are one group, drawn as a band, mean ± standard deviation (of
a sample, n - 1).  Keung et al. 2019, figure 2, is such a page: the test score over the steps with and without adversary.
"""
from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minixl.files import write_atomically
from minixl.errors import UserError
from minixl.evaluation.scores import mean_sd
from minixl.report.curves import COLUMNS, as_csv
from minixl.report.folders import RunFolder, expand, read_folder
from minixl.report.page import table, write_page
from minixl.report.plots import PERCENT, Band, Curve, smooth
from minixl.report.run import plot, update_curves
from minixl.report.scores import MEANING, meaning, score_columns

CSV = ("group", "run", "seed", "part", *COLUMNS)
UNSEEN = ("train.score_tests", "train.checkpoint_every", "advpicker.study")        # change nothing that is compared

Group = tuple[str, list[RunFolder]]                # name; runs that differ in their seed


def write_comparison(folders: Sequence[Path], page: Path, table_file: Path | None = None) -> list[Group]:
    """Write the page, and the rows behind its curves as CSV.  Raises UserError for folders without runs to compare."""
    groups = group([read_folder(folder) for given in folders for folder in expand(given)])
    runs = [run for _, members in groups for run in members]
    if len({run.figure for run in runs}) > 1:
        raise UserError(f"{runs[0].folder} has the task {runs[0].settings['task']}, "
                        + next(f"{r.folder} the task {r.settings['task']}" for r in runs if r.figure != runs[0].figure)
                        + ": their scores cannot be compared; give runs of one task")
    if not any(run.records or run.metrics for run in runs):
        raise UserError(f"{runs[0].folder}: expected a run that has made a step, found an empty log.jsonl; wait for its first step")
    write_page(page, "Runs side by side", _body(groups), "give --out another place")
    if table_file:
        rows = [{"group": name, "run": str(run.folder), "seed": run.seed, "part": part, **row}
                for name, members in groups for run in members for part in ("dev", "test") for row in run.rows(part)]
        write_atomically(table_file, as_csv(rows, CSV), "give --csv another place")
    return groups


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
    paths = [(m[0].folder.parent if len(m) > 1 and _is_seed(m[0].folder) else m[0].folder).resolve() for m in groups]
    names = [_telling(path) for path in paths]
    short = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    return [(f"{name} ({len(members)} seeds)" if len(members) > 1 else name, members)
            for name, members in zip(short, groups, strict=True)]


def _is_seed(folder: Path) -> bool:
    return folder.resolve().name.startswith("seed-")


def _telling(folder: Path) -> str:
    """The end of its path, from the last folder that is not one of those that minixl makes in every run of several."""
    ours = 0
    while ours < len(folder.parts) - 2 and (folder.parts[-1 - ours] == "teachers" or folder.parts[-1 - ours].startswith("seed-")):
        ours += 1
    return "/".join(folder.parts[-1 - ours:])


def _alike(one: RunFolder, other: RunFolder) -> bool:
    return one.inputs == other.inputs and not _differing([one, other]) - set(UNSEEN)


def _differing(runs: Sequence[RunFolder]) -> set[str]:
    """The settings that are not the same in all of them; a run of another version may lack some."""
    first = runs[0].settings
    return {name for run in runs for name in {*first, *run.settings} if run.settings.get(name) != first.get(name)}


def without_scores(groups: Iterable[Group]) -> list[str]:
    """A line for every run that has no final scores: why."""
    runs = [run for _, members in groups for run in members]
    return ([f"{run.folder}: unfinished, {run.steps} step{'s' * (run.steps != 1)} so far, so it has no final scores"
             for run in runs if run.metrics is None]
            + [f"{run.folder}: no test file was given, so it has no final scores"
               for run in runs if run.metrics and not run.metrics["test"]])


def _of_several_lengths(groups: Iterable[Group]) -> list[str]:
    """A line for every group whose runs have not made equally many steps: how many, and what its curves are."""
    made = {name: [run for run in runs if run.steps] for name, runs in groups}
    return [f"{name}: {', '.join(f'seed {run.seed} made {run.steps} steps' for run in runs)}; a point of a curve is the mean of "
            "the seeds that have a value at that step, and where only one has, there is no point"
            for name, runs in made.items() if len({run.steps for run in runs}) > 1]


def _body(groups: list[Group]) -> list[str]:
    figure = groups[0][1][0].figure
    missing = [f"<p>{html.escape(line)}.</p>" for line in without_scores(groups)]
    body = ["<h2>Final scores</h2>", *_scores(groups, figure), *missing, *_differences(groups),
            *(f"<p>{html.escape(line)}.</p>" for line in _of_several_lengths(groups))]
    for part in ("test", "dev"):
        languages = sorted({row["language"] for _, runs in groups for run in runs for row in run.rows(part)})
        for language in languages:
            curves = {name: band([[(row["step"], 100 * row["score"]) for row in run.rows(part) if row["language"] == language]
                                  for run in runs]) for name, runs in groups}
            body += plot(f"{part.title()} {figure}, {language}", {name: curve for name, curve in curves.items() if curve.mean},
                         f"{figure}, %", PERCENT)
    accuracies = {name: curve for name, runs in groups if (curve := _accuracy(runs)).mean}
    return body + plot("Accuracy of the discriminator", accuracies, "share of languages told apart, 0.5 by chance")


def _accuracy(runs: Sequence[RunFolder]) -> Band:
    curves = {str(run.folder): update_curves(run.records)[1].get("discriminator", []) for run in runs}
    return band(list(smooth(curves).values()))


def band(curves: Sequence[Curve]) -> Band:
    """Mean and standard deviation of several curves, at every step that two of them have; of one curve, the curve itself.

    A step that only one of several has is left out: one value says nothing about how far they spread.
    """
    at: dict[float, list[float]] = {}
    for curve in curves:
        for step, value in curve:
            at.setdefault(step, []).append(value)
    enough = min(2, sum(len(curve) > 0 for curve in curves))
    points = [(step, *mean_sd(values)) for step, values in sorted(at.items()) if len(values) >= enough]
    return Band([(step, mean) for step, mean, _ in points], [sd for _, _, sd in points])


def final_scores(groups: Sequence[Group], figure: str) -> list[dict[str, Any]]:
    """A row for each language and group: mean, sd and number of the runs that have a score, or None, for every heading."""
    rows = []
    languages = dict.fromkeys(language for _, runs in groups for run in runs for language in (run.metrics or {}).get("test", {}))
    for language in languages:
        for name, runs in groups:
            row: dict[str, Any] = {"language": language, "group": name}
            finished = [(run.metrics, score_columns(run.metrics)) for run in runs if run.metrics]
            for heading in MEANING:
                scores = [metrics[columns[heading]].get(language) for metrics, columns in finished if heading in columns]
                row[heading] = _summary([score[figure] for score in scores if score])
            rows.append(row)
    return rows


def _summary(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    mean, sd = mean_sd(values)
    return {"mean": mean, "sd": sd, "runs": len(values)}


def shown_columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The headings of which any row of final_scores has a score."""
    return [heading for heading in MEANING if any(row[heading] for row in rows)]


def cell(found: dict[str, Any] | None) -> str | None:
    """A mean of final_scores in percent, with its deviation where there are several runs; None for none."""
    if not found:
        return None
    return f"{100 * found['mean']:.1f}" + (f" ± {100 * found['sd']:.1f}" if found["runs"] > 1 else "")


def _scores(groups: list[Group], figure: str) -> list[str]:
    rows = final_scores(groups, figure)
    columns, several = shown_columns(rows), any(len(runs) > 1 for _, runs in groups)
    caption = f"Test {figure}, %{', mean ± standard deviation over the seeds' if several else ''}.  {meaning(columns)}"
    cells = [[row["language"], row["group"], *(cell(row[heading]) for heading in columns)] for row in rows]
    return [table(caption, ["language", "run", *columns], cells)] if rows else []


def _differences(groups: list[Group]) -> list[str]:
    """The settings in which the groups differ."""
    firsts = [runs[0] for _, runs in groups]
    rows = [[name, *(json.dumps(run.settings[name], ensure_ascii=False, default=str) if name in run.settings else None
                     for run in firsts)] for name in sorted(_differing(firsts))]
    return ["<h2>Settings that differ</h2>",
            table("Values in config.toml; – where the run knows no such setting.", ["setting", *(name for name, _ in groups)], rows)
            ] if rows else []
