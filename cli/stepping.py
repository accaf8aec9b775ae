"""What `minixl study step` and `minixl study page` share: their options and where the step starts; walking through it."""
from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minixl.cli.options import threads_option, verbosity_options
from minixl.cli.terminal import Keys
from minixl.errors import UserError

if TYPE_CHECKING:
    from minixl.study.events import Recording
    from minixl.study.walk import Walk

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


def step_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options that say which step to make."""
    for decorate in reversed((
            click.argument("model", default=""),
            click.option("--text", "texts", multiple=True,
                         help="A labelled text, words separated by spaces; several make a batch."),
            click.option("--labels", multiple=True,
                         help="The labels of its words, or the label of a document; one option for each --text."),
            click.option("--target", "targets", multiple=True,
                         help="A text in another language, for methods that compare languages."),
            click.option("--method", help="Method whose step to make.  [default: finetune]"),
            click.option("--recipe", metavar="RECIPE",
                         help="Take the settings of a recipe.  [default: the defaults of all settings]"),
            click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change a setting, as in minixl train."),
            click.option("--at-step", type=int,
                         help="MODEL is a run: record its step N, from 0.  [default: the step after its checkpoint]"),
            click.option("--stage", default="", help="MODEL is a run: the folder in it of an earlier stage, such as rounds/1."),
            click.option("--weight", "weights", multiple=True, metavar="NAME[I,J]",
                         help="Show this weight in every update, with its Adam moments; for example classifier.weight[0,3]."),
            click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
                         help="Seed of new parameters and dropout."),
            threads_option, verbosity_options)):
        command = decorate(command)
    return command


@contextmanager
def started(model: str, *, texts: Sequence[str], labels: Sequence[str], targets: Sequence[str], at_step: int | None, stage: str,
            weights: Sequence[str], **options: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield where the step starts, and the chosen weights.  options: method, recipe, changes and seed.

    Exits with 2 for an error that begins with the name of an option.
    """
    from minixl.study.recorder import weight_named

    if len(labels) != len(texts):
        raise WrongArguments(f"expected one --labels for each --text, got {len(labels)} for {len(texts)}")
    try:
        with _start(model, list(zip(texts, labels, strict=True)), targets, at_step, stage, options) as start:
            yield start, [weight_named(start.objective.model.store, name) for name in weights]
    except UserError as error:
        if str(error).startswith("--"):
            raise WrongArguments(str(error)) from None
        raise


def _start(model: str, texts: list[tuple[str, str]], targets: Sequence[str], at_step: int | None, stage: str,
           options: dict[str, Any]) -> Any:
    """Return the context of the step to record."""
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


def walk_through(recording: Recording, first: int | None = None) -> None:
    """Show one event at a time; a key moves.  first: where to begin; None: at the first op that no op calls."""
    from minixl.study.view import describe
    from minixl.study.walk import Walk

    walk, message = Walk(recording), ""
    if first is not None:
        walk.position = first
    with Keys() as keys:
        while True:
            width, height = shutil.get_terminal_size()
            click.clear()
            lines = describe(recording, walk.position, width, paint, 0 if message else max(height - 3, 1))
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
            return "\n".join(printed(walk.event, keys.ask("print (such as dx 0:3)"), width, paint))
        except ValueError as error:
            return str(error)
    return HELP


def paint(text: str, value: float) -> str:
    """Colour a number by its sign."""
    return click.style(text, fg="blue") if value > 0 else click.style(text, fg="red") if value < 0 else click.style(text, dim=True)
