"""minixl study: check the gradients of ops, models and methods; walk through one training step, or write it as a page."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minixl.cli.options import threads_option, verbosity_options
from minixl.cli.stepping import WrongArguments, paint, started, step_options, walk_through
from minixl.cli.terminal import to_stderr
from minixl.errors import UserError, nearest

if TYPE_CHECKING:
    from minixl.study.differences import Row

PAGE = 132                             # characters in a line where there is no terminal


@click.group()
def study() -> None:
    """Study one training step, number by number."""


@study.command()
@step_options
@click.option("--only", metavar="NAME", help="Print only what has all these words in its place, op, pass or loss, for example "
              "'backward classifier' or update; on a terminal, begin there.")
def step(model: str, only: str | None, **options: Any) -> None:
    """Walk through one training step, op by op: forward, backward and every update.

    MODEL is a model folder, an encoder (a folder or e5-small, the default), or bilstm-crf for a new one; with --text and
    --labels. Or it is the folder of a run, whose step --at-step is replayed exactly.

    On a terminal a key moves on, and h lists all keys; elsewhere everything is printed.
    """
    from minixl.study.recorder import record
    from minixl.study.view import describe
    from minixl.study.walk import is_named, names_of

    with started(model, **options) as (start, weights):
        recording = record(start.objective, start.step, weights)
    shown = [number for number, event in enumerate(recording.events) if only is None or is_named(event, only)]
    if not shown:
        names = {word for event in recording.events for word in names_of(event)}
        raise WrongArguments(f"--only: nothing in this step has {only!r} in its name{nearest(only or '', sorted(names))}")
    if sys.stdout.isatty() and sys.stdin.isatty():
        walk_through(recording, None if only is None else shown[0])
        return
    for number in shown:
        click.echo("\n".join(describe(recording, number, PAGE, paint)) + "\n")


@study.command()
@step_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("page.html"), show_default=True, help="HTML file to write.")
def page(model: str, out: Path, **options: Any) -> None:
    """Write one training step as an HTML page: every op, array, gradient and update, with the verdicts of minixl study check.

    MODEL and options are those of minixl study step. The page is one file that a browser opens without a network.
    """
    from minixl.study.page.write import write_study_page

    if out.is_dir():
        raise WrongArguments(f"--out: expected a file, for example {out / 'page.html'}, got the folder {out}")
    with started(model, **options) as (start, weights):
        written = write_study_page(out, start, title=_title(model, start), weights=weights)
    cut = f", {written.cut} of them cut to evenly spaced rows and columns" if written.cut else ""
    click.echo(f"{out}: {written.events} events, {written.arrays} arrays{cut}; {written.bytes / 1e6:.1f} MB")


def _title(model: str, start: Any) -> str:
    """Return what a page shows: the method, the model or run, and the step of a run."""
    method, name = start.objective.settings["method"], model or "e5-small"
    return f"A step of {method} on {name}" if start.total_steps == 1 else f"Step {start.step} of {name}, {method}"


@study.command()
@click.argument("names", nargs=-1)
@click.option("--change", nargs=3, metavar="FILE OLD NEW",
              help="Replace text in a file of minixl for these checks, to see which notice; for example --change ops/linear.py "
                   "'dy @ weight' '2 * dy @ weight'.")
@click.option("--parameters", is_flag=True, help="A line for every parameter.  [default: for the worst of each op, model, method]")
@click.option("--list", "show_names", is_flag=True, help="List the names of all ops, models and methods.")
@threads_option
@verbosity_options
def check(names: tuple[str, ...], change: tuple[str, str, str] | None, parameters: bool, show_names: bool) -> None:
    """Check the gradients of NAMES, ops, models and methods (default: all).

    Everything is computed in float64 and compared with central differences along random directions and of single weights, and
    with PyTorch if it is installed.  Exit code 1 if an error is too large: 1e-6 for central differences, 1e-9 for PyTorch.
    """
    from minixl.study.check import all_targets, targets
    from minixl.study.differences import LIMITS, has_torch

    try:
        checked = targets(names)
    except UserError as error:
        raise WrongArguments(str(error)) from None
    if show_names:
        for target in all_targets():
            click.echo(f"{target.kind:<8}{target.name}")
        return
    if change:
        _check_changed(change, [*names, *(["--parameters"] if parameters else [])])
        return
    if not has_torch():
        to_stderr("PyTorch is not installed: compared with central differences only")
    click.echo(_line("name", "parameter", "compared with", "relative error", "verdict"))
    failed = 0
    for target in checked:
        rows = target.check(has_torch())
        failed += sum(not row.passed for row in rows)
        for row in rows if parameters else _worst(rows):
            click.echo(_line(row.name, row.parameter, row.against, f"{row.error:.1e}",
                             click.style("passed", fg="green") if row.passed else click.style("FAILED", fg="red")))
    limits = ", ".join(f"{limit:g} {against}" for against, limit in LIMITS.items() if limit)
    to_stderr(f"{f'{failed} gradients or values FAILED' if failed else 'all passed'}; limits: {limits}")
    sys.exit(1 if failed else 0)


def _check_changed(change: tuple[str, str, str], arguments: list[str]) -> None:
    from minixl.study.change import Change, changed_source, check_changed

    try:
        changed_source(Change(*change))
    except UserError as error:
        raise WrongArguments(str(error)) from None
    status: str | int = 1
    for status in check_changed(Change(*change), arguments):
        if isinstance(status, str):
            click.echo(status)
    to_stderr("no check notices this change" if status == 0 else "the lines with FAILED notice this change")
    sys.exit(status)


def _worst(rows: Sequence[Row]) -> list[Row]:
    """Return for each name and comparison the row with the largest error of those that passed, and of those that failed."""
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.name, row.against, row.passed), []).append(row)
    worst = [(max(group, key=lambda row: row.error), len(group) - 1) for group in groups.values()]
    return [row if row.passed or not others else row._replace(parameter=f"{row.parameter} and {others} more")
            for row, others in worst]


def _line(name: str, parameter: str, against: str, error: str, verdict: str) -> str:
    return f"{name:<42} {parameter:<50} {against:<20} {error:>14}  {verdict}"
