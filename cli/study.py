"""minixl study: check the gradients of ops, models and methods; walk through one training step."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minixl.cli.options import threads_option, verbosity_options
from minixl.cli.terminal import Keys, to_stderr
from minixl.errors import UserError

if TYPE_CHECKING:
    from minixl.study.differences import Row
    from minixl.study.events import Recording
    from minixl.study.walk import Walk

PAGE = 132                             # characters in a line where there is no terminal
KEYS = "n next  b back  i into  o out  j jump  p print  h help  q quit"
HELP = """n, space, Enter, right   the next op
b, left                  the op before
i                        into the ops that this one calls
o                        out of them; or past this block of the model, such as a layer
j, /                     jump to the next op, update or place in the model with a name, such as layer.1 or backward classifier
p                        print an array or a slice of it, such as dx, or weight 0:3,1
q                        quit"""


class WrongArguments(click.ClickException):
    """One line about arguments that do not fit; exit code 2."""

    exit_code = 2


@click.group()
def study() -> None:
    """Study one training step, number by number."""


@study.command()
@click.argument("model", default="")
@click.option("--text", "texts", multiple=True, help="A labelled text, words separated by spaces; several make a batch.")
@click.option("--labels", multiple=True, help="The labels of its words, or the label of a document; one option for each --text.")
@click.option("--target", "targets", multiple=True, help="A text in another language, for methods that compare languages.")
@click.option("--method", help="Method whose step to make.  [default: finetune]")
@click.option("--recipe", metavar="RECIPE", help="Take the settings of a recipe.  [default: the defaults of all settings]")
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change a setting, as in minixl train.")
@click.option("--at-step", type=int, help="MODEL is a run: record its step N, from 0.  [default: the step after its checkpoint]")
@click.option("--stage", default="", help="MODEL is a run: the folder in it of an earlier stage, such as rounds/1.")
@click.option("--weight", "weights", multiple=True, metavar="NAME[I,J]",
              help="Show this weight in every update, with its Adam moments; for example classifier.weight[0,3].")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of new parameters and dropout.")
@threads_option
@verbosity_options
def step(model: str, texts: tuple[str, ...], labels: tuple[str, ...], targets: tuple[str, ...], at_step: int | None, stage: str,
         weights: tuple[str, ...], **options: Any) -> None:
    """Walk through one training step, op by op: forward, backward and every update.

    MODEL is a model folder, an encoder (a folder or e5-small, the default), or bilstm-crf for a new one; with --text and
    --labels. Or it is the folder of a run, whose step --at-step is replayed exactly.

    On a terminal a key moves on, and h lists all keys; elsewhere everything is printed.
    """
    from minixl.study.recorder import record, weight_named

    if len(labels) != len(texts):
        raise WrongArguments(f"expected one --labels for each --text, got {len(labels)} for {len(texts)}")
    with _wrong_arguments():
        with _start(model, list(zip(texts, labels, strict=True)), targets, at_step, stage, options) as start:
            recording = record(start.objective, start.step, [weight_named(start.objective.model.store, name) for name in weights])
    if sys.stdout.isatty() and sys.stdin.isatty():
        walk_through(recording)
    else:
        from minixl.study.view import describe

        for number in range(len(recording.events)):
            click.echo("\n".join(describe(recording, number, PAGE, _paint)) + "\n")


def _start(model: str, texts: list[tuple[str, str]], targets: Sequence[str], at_step: int | None, stage: str,
           options: dict[str, Any]) -> Any:
    """Return the context of the step to record.  options: method, recipe, changes and seed."""
    from minixl.cli.train import Terminal
    from minixl.run.folder import holds_run
    from minixl.study.replay import run_at
    from minixl.study.texts import of_text

    is_run = bool(model) and holds_run(Path(model))
    if is_run and not texts:
        if any((options["method"], options["recipe"], options["changes"], targets)):
            raise UserError("--method, --recipe, --set and --target: a run is replayed with its own settings and texts; leave them "
                            "out, or give --text")
        return run_at(Path(model), at_step, stage, reporter=Terminal())
    if at_step is not None or stage:
        raise UserError("--at-step and --stage: expected the folder of a run as MODEL, and no --text")
    name = str(Path(model) / "model") if is_run else model or "e5-small"
    return of_text(name, texts, targets, method=options["method"] or "", recipe=options["recipe"] or "",
                   changes=options["changes"], seed=options["seed"], reporter=Terminal())


@contextmanager
def _wrong_arguments() -> Iterator[None]:
    """Exit with 2 for an error that begins with the name of an option."""
    try:
        yield
    except UserError as error:
        if str(error).startswith("--"):
            raise WrongArguments(str(error)) from None
        raise


def walk_through(recording: Recording) -> None:
    """Show one event at a time; a key moves."""
    from minixl.study.view import describe
    from minixl.study.walk import Walk

    walk, message = Walk(recording), ""
    with Keys() as keys:
        while True:
            width, height = shutil.get_terminal_size()
            click.clear()
            lines = describe(recording, walk.position, width, _paint, 0 if message else max(height - 3, 1))
            click.echo("\n".join(lines) + f"\n{message}\n{KEYS[:width]}")
            key = keys.read()
            if key in ("q", "\x04", ""):
                return
            message = _act(walk, key, keys, width)


def _act(walk: Walk, key: str, keys: Keys, width: int) -> str:
    """Do what a key asks for; return a message for the user, or ""."""
    from minixl.study.view import printed

    moves = {**dict.fromkeys(("n", " ", "\n", "\r", "\x1b[C"), walk.next), **dict.fromkeys(("b", "\x1b[D"), walk.back),
             "i": walk.into, "o": walk.out}
    if key in moves:
        return moves[key]()
    if key in ("j", "/"):
        return walk.jump(keys.ask("jump to"))
    if key == "p":
        try:
            return "\n".join(printed(walk.event, keys.ask("print (such as dx 0:3)"), width, _paint))
        except ValueError as error:
            return str(error)
    return HELP


def _paint(text: str, value: float) -> str:
    """Colour a number by its sign."""
    return click.style(text, fg="blue") if value > 0 else click.style(text, fg="red") if value < 0 else click.style(text, dim=True)


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
        chosen = targets(names)
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
    for target in chosen:
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
