"""minixl report: compare the curves and final scores of runs on one page."""
from __future__ import annotations

from pathlib import Path

import click

from minixl.cli.completion import complete_run
from minixl.cli.options import verbosity_options
from minixl.cli.terminal import printable, to_stderr, warn
from minixl.errors import DETAILS

RUN_FILES = ("report.html", "curves.csv")          # files in a run's folder that a report must not overwrite


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...",
                shell_complete=complete_run)
@click.option("--out", type=click.Path(path_type=Path), help="Page with the curves to write, an .html file.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Also write the points of the curves, to a .csv file.")
@verbosity_options
def report(runs: tuple[Path, ...], out: Path | None, table: Path | None) -> None:
    """Print the final scores of runs; with --out, draw their curves in common plots.

    The first run, or group of seeds, is what the others are compared with: their differences are printed with paired
    bootstrap intervals.

    RUN is a folder that `minixl train` wrote, for one or several seeds.  Runs that differ only in their seed become one
    curve with a band, mean ± standard deviation.  Curves of test scores need runs with --set train.score_tests=true.
    """
    from minixl.methods import LOSSES, SCHEMA
    from minixl.report.comparison import without_scores, write_comparison
    from minixl.report.final_scores import cell, final_scores, score_marks, shown_columns

    if out:
        _check_name("--out", out, ".html")
    if table:
        _check_name("--csv", table, ".csv")
    groups, differences, warnings = write_comparison(runs, out, table, schema=SCHEMA, losses=LOSSES)
    for name, members in groups:
        for run in members:
            DETAILS.debug("%s: %d steps, in the group %s", run.folder, run.steps, name)
    figure = groups[0][1][0].figure
    rows = final_scores(groups, figure)
    columns = shown_columns(rows)
    _print_columns([[f"test {figure}", "run", *columns],
                    *([row["language"], row["group"], *(cell(row, heading) or "–" for heading in columns)] for row in rows)]
                   if rows else [])
    for note in score_marks(groups)[1]:
        click.echo(printable(note))
    for paired in differences.tables:
        click.echo()
        click.echo(printable(paired.title))
        _print_columns([paired.head, *paired.rows], left=1)
    if differences.tables:
        for note in differences.notes:
            click.echo(printable(note))
    else:
        warnings = [*warnings, *differences.notes]
    for line in [*warnings, *without_scores(groups)]:
        warn(printable(line))
    count = sum(len(members) for _, members in groups)
    to_stderr(f"{f'{out}: ' if out else ''}{count} run{'s' * (count != 1)} in {len(groups)} group{'s' * (len(groups) != 1)}")


def _check_name(option: str, path: Path, suffix: str) -> None:
    """Raises UserError for a file that cannot be written, has the wrong suffix, or belongs to a run."""
    from minixl.errors import UserError

    if path.is_dir() or not path.resolve().parent.is_dir():
        problem = "a folder" if path.is_dir() else f"no folder {path.resolve().parent}"
        raise UserError(f"{option} {path}: expected the name of a file in an existing folder, found {problem}")
    if path.suffix.lower() != suffix:
        raise UserError(f"{option} {path}: expected a name that ends in {suffix}, found {path.suffix or 'no ending'!r}; "
                        f"give {option} {path.with_suffix(suffix)}")
    if path.name in RUN_FILES and (path.resolve().parent / "config.toml").is_file():
        raise UserError(f"{option} {path}: this file belongs to the run in this folder; choose another name")


def _print_columns(rows: list[list[str]], left: int = 2) -> None:
    """Print the rows, the first columns aligned left, the others right."""
    rows = [[printable(text) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(f"{text:{'<' if i < left else '>'}{width}}" for i, (text, width) in
                             enumerate(zip(row, widths, strict=True))))
