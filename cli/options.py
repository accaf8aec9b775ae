"""Options and their messages, and a progress bar that several commands share."""
from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from minixl.cli.terminal import VERBOSITY, details, is_quiet
from minixl.errors import UserError

OPTIONS = {"data.encoding": "--encoding", "data.scheme": "--scheme", "data.test_limit": "--limit", "data.sample": "--sample",
           "data.labels": "--labels", "data.text_column": "--text-column", "data.label_column": "--label-column"}
encoding_option = click.option("--encoding", default="utf-8", show_default=True, help="Character encoding of the input.")
text_column_option = click.option("--text-column", default="", metavar="NAME", help="Column, or key of JSON lines, that holds "
                                  "the text.  [default: text, sentence or utterance]")
label_column_option = click.option("--label-column", default="", metavar="NAME", help="Column, or key of JSON lines, that holds "
                                   "the label.  [default: label, category, intent, topic or class]")
scheme_option = click.option("--scheme", type=click.Choice(["auto", "IOB1", "IOB2", "IOBES", "BIOUL"]), default="auto",
                             show_default=True, help="Scheme of the entity tags; auto detects it.")
device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
                             help="Device to compute on; auto is the GPU if there is one.")


def _set_threads(context: click.Context, option: click.Parameter, value: int | None) -> None:
    if value is not None and not context.resilient_parsing:            # set while a shell completes a line
        from minixl.blas import using_threads

        context.with_resource(using_threads(value))


threads_option = click.option("--threads", type=click.IntRange(1), expose_value=False, callback=_set_threads,
                              help="Threads to compute on.  [default: OMP_NUM_THREADS, or the cores of this process]")


def verbosity_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --quiet and --verbose to a command."""
    quiet = click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_set_verbosity,
                         help="Print only results, warnings and errors: no progress, no other messages.")
    verbose = click.option("-v", "--verbose", is_flag=True, expose_value=False, callback=_set_verbosity,
                           help="Also print what is read and decided, and the time it takes.")
    return quiet(verbose(command))


def _set_verbosity(context: click.Context, option: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    if context.meta.setdefault(VERBOSITY, option.name) != option.name:
        raise click.UsageError("--quiet and --verbose exclude each other")
    if option.name == "verbose":
        context.with_resource(details())


@contextmanager
def named_options() -> Iterator[None]:
    """Name the option instead of the setting in error messages: only train has settings."""
    try:
        yield
    except UserError as error:
        raise UserError(with_options(str(error))) from None


def with_options(message: str) -> str:
    """Name the option instead of the setting in a message."""
    for setting, option in OPTIONS.items():
        message = re.sub(rf"\b{re.escape(setting)}\b", option, message.replace(f"--set {setting}=", f"{option} "))
    return message


@contextmanager
def bar(total: int | None, label: str) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar for `total` word pieces or lines on stderr.

    Yields the function that advances it; None without a terminal or a total, and with --quiet.
    """
    if total is None or is_quiet() or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=total, file=sys.stderr, label=label, show_pos=True) as progress:
        yield progress.update
