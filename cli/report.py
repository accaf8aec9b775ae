"""minixl report: the curves and final scores of several runs on one page."""
from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The page, an .html file.")
@click.option("--csv", "table", type=click.Path(path_type=Path), help="The rows behind the curves, a .csv file.")
def report(runs: tuple[Path, ...], out: Path, table: Path | None) -> None:
    """Draw the curves of run folders over each other, and print their final scores.

    RUN is a folder that `minixl train` wrote, also one of several seeds.  Runs that differ in their seed alone are one
    curve with a band, mean ± standard deviation.  Curves of test scores need runs with --set train.score_tests=true.
    """
    from minixl.report.comparison import final_scores, write_comparison
    from minixl.errors import UserError

    for option, path in (("--out", out), ("--csv", table)):
        if path and (path.is_dir() or not path.resolve().parent.is_dir()):
            found = "a folder" if path.is_dir() else f"no folder {path.resolve().parent}"
            raise UserError(f"{option} {path}: expected the name of a file in a folder that is there, found {found}")
    groups = write_comparison(runs, out, table)
    figure = groups[0][1][0].figure
    width = max(len(name) for name, _ in groups) + 2
    click.echo(f"{'test ' + figure:<12}{'run':<{width}}{'selected':>14}{'last':>14}{'oracle':>14}")
    for row in final_scores(groups, figure):
        cells = (f"{100 * row[part]['mean']:.1f} ±{100 * row[part]['sd']:.1f}" if row[part] else "" for part in
                 ("test", "last", "oracle"))
        click.echo(f"{row['language']:<12}{row['group']:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
    click.echo(f"{out}: {sum(len(members) for _, members in groups)} runs in {len(groups)} groups", err=True)
