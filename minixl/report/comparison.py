"""Compare several runs: one page with their curves in common plots and their final scores, as `minixl report` writes it.

Runs that differ only in their seed form a group, drawn as a band: mean ± standard deviation (of a sample, n - 1).
Figure 2 of Keung et al. 2019 is such a plot: the test score over the steps, with and without the adversary.
"""
from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from minixl.errors import UserError
from minixl.files import write_atomically
from minixl.report.curves import as_csv, columns_of
from minixl.report.differences import difference_rows
from minixl.report.final_scores import cell, final_scores, meanings_of, score_marks, shown_columns
from minixl.report.folders import expand, read_folder
from minixl.report.group_curves import band, score_plots
from minixl.report.grouping import Group, group
from minixl.report.page import made_on, notes, table, write_page
from minixl.report.page_of_run import accuracy_plots, update_curves
from minixl.report.paired import Differences, compare
from minixl.report.plots import Band, smooth
from minixl.report.scores import MEAN_MEANING, TARGET_MEAN, meaning, split_mean
from minixl.settings import Schema
from minixl.training.objective import Loss

CSV = ("group", "run", "seed", "part")             # before the columns of the curves


class Comparison(NamedTuple):
    """The groups that a page compares."""

    groups: list[Group]
    differences: Differences           # of the later groups from the first
    warnings: list[str]                # about runs that are skipped


def write_comparison(folders: Sequence[Path], page: Path | None, table_file: Path | None = None, *, schema: Schema,
                     losses: Mapping[str, Loss]) -> Comparison:
    """Compare runs; write the page, and the rows behind its curves as CSV, where they are named.

    schema, losses: of all methods and terms.  Raises UserError for folders without runs to compare.
    """
    groups, warnings = group([read_folder(run, schema) for folder in folders for run in expand(folder)], schema)
    runs = [run for _, members in groups for run in members]
    if len({run.figure for run in runs}) > 1:
        raise UserError(f"{runs[0].folder} has the task {runs[0].settings['task']}, "
                        + next(f"{r.folder} the task {r.settings['task']}" for r in runs if r.figure != runs[0].figure)
                        + ": their scores cannot be compared; give runs of one task")
    if not any(run.records or run.metrics for run in runs):
        raise UserError(f"{runs[0].folder}: expected a run with at least one step, found an empty log.jsonl; wait for one")
    differences = compare(groups)
    if page:
        write_page(page, "Runs side by side", _body(groups, differences, losses), "give --out another place")
    if table_file:
        rows = [{"group": name, "run": str(run.folder), "seed": run.seed, "part": part, **row}
                for name, members in groups for run in members for part in ("dev", "test") for row in run.rows(part, losses)]
        curves = columns_of({name: value for name, value in row.items() if name not in CSV} for row in rows)
        write_atomically(table_file, as_csv(rows, [*CSV, *curves]), "give --csv another place")
    return Comparison(groups, differences, warnings)


def without_scores(groups: Iterable[Group]) -> list[str]:
    """Return a line for every run without final scores that says why."""
    runs = [run for _, members in groups for run in members]
    return ([f"{run.folder}: unfinished, {run.steps} step{'s' * (run.steps != 1)} so far, so it has no final scores"
             for run in runs if run.metrics is None]
            + [f"{run.folder}: no test file was given, so it has no final scores"
               for run in runs if run.metrics and not run.metrics["test"]])


def _of_several_lengths(groups: Iterable[Group]) -> list[str]:
    """Return a line for every group whose runs differ in their number of steps: the numbers, and what the curves show."""
    trained = {name: [run for run in runs if run.steps] for name, runs in groups}
    return [f"{name}: {', '.join(f'seed {run.seed} made {run.steps} steps' for run in runs)}; a point of a curve is the mean of "
            "the seeds with a value at that step; there is no point where only one seed has a value"
            for name, runs in trained.items() if len({run.steps for run in runs}) > 1]


def _body(groups: list[Group], differences: Differences, losses: Mapping[str, Loss]) -> list[str]:
    figure = groups[0][1][0].figure
    body = [made_on(datetime.now()), "<h2>Final scores</h2>", *_scores(groups, figure), *notes(without_scores(groups)),
            *_paired(differences), *_differences(groups), *notes(_of_several_lengths(groups))]
    return body + score_plots(groups, losses) + accuracy_plots(_accuracies(groups, losses), losses)


def _accuracies(groups: list[Group], losses: Mapping[str, Loss]) -> dict[str, dict[str, Band]]:
    """Return title of a loss -> group -> accuracies of its runs."""
    accuracies: dict[str, dict[str, Band]] = {}
    for loss in losses.values():
        for name, runs in groups if loss.accuracy else ():
            curves = {str(run.folder): update_curves(run.records, losses)[1].get(loss.title, []) for run in runs}
            curve = band(list(smooth(curves).values()))
            if curve.mean:
                accuracies.setdefault(loss.title, {})[name] = curve
    return accuracies


def _scores(groups: list[Group], figure: str) -> list[str]:
    rows = final_scores(groups, figure)
    columns, several = shown_columns(rows), any(len(runs) > 1 for _, runs in groups)
    unit = "%, mean ± standard deviation over the seeds" if several else "%"
    cells = [[row["language"], row["group"], *(cell(row, heading) for heading in columns)] for row in rows]
    scores, means = split_mean(cells)
    caption = (f"Test {figure}, {unit}.  {meaning(columns, meanings_of(groups))}"
               + f"  {TARGET_MEAN}: {MEAN_MEANING}." * bool(means))
    return [table(caption, ["language", "run", *columns], scores, means), *notes(score_marks(groups)[1])] if rows else []


def _paired(differences: Differences) -> list[str]:
    body: list[str] = []
    for paired in differences.tables:
        languages, means = split_mean(paired.rows)
        body += [f"<h3>{html.escape(paired.title)}</h3>", table("Points of the test score.", paired.head, languages, means)]
    return ["<h2>Differences</h2>", *body, *notes(differences.notes)] if body or differences.notes else []


def _differences(groups: list[Group]) -> list[str]:
    """Return the inputs and settings in which the groups differ."""
    rows = difference_rows([runs[0] for _, runs in groups])
    return ["<h2>What differs</h2>",
            table("Input files, compared by their content, and values in config.toml; – where the run has no such file or setting.",
                  ["input or setting", *(name for name, _ in groups)], rows)] if rows else []
