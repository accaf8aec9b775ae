"""The `minixl` command; each of its commands, listed here, has a file.  Results go to stdout, everything else to stderr.

Of several processes that mpiexec started, only one prints: minixl/distributed/launch.py.

Exit codes: 0, 1 for an error (UserError), 2 for wrong usage (click), 128 + signal (129, 130, 143) for a run that was stopped.
"""
from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from minixl import __version__
from minixl.cli.terminal import discard_output, standard_streams
from minixl.distributed.launch import together
from minixl.errors import UserError, nearest

COMMANDS = {                 # name -> one line of help; a command's module is imported when it runs
    "train": "Train on languages with labels, score on the others.",
    "evaluate": "Score a trained model; compare languages in its hidden states.",
    "report": "Compare runs: their curves and scores on one page.",
    "predict": "Tag or classify text with a trained model.",
    "states": "Write the states of a language model for any text.",
    "align": "Map word vectors of several languages into one space.",
    "weights": "Show, convert and fetch encoder weights.",
    "data": "Write the sample corpus; describe data files; replace words by translations.",
    "study": "Check gradients; study one training step.",
    "bench": "Measure training, prediction and kernels.",
}

COMPLETION = "_MINIXL_COMPLETE"                      # environment variable that shells set, see completion.py


class Commands(click.Group):
    """The commands of COMMANDS, imported only when used, so that --help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"minixl.cli.{name}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], COMMANDS) or '; minixl --help lists them'}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="minixl")
def cli() -> None:
    """Move a tagger or a text classifier from a language that has labels to languages that have none."""


def main() -> None:
    """Run the command line; print an error as one line on stderr and exit with code 1."""
    with standard_streams():
        _run_and_exit()


def _run_and_exit() -> None:
    if COMPLETION in os.environ:                     # a shell asks
        importlib.import_module("minixl.cli.completion").install()
    try:
        with together():
            cli.main(complete_var=COMPLETION, standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (UserError, FloatingPointError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except MemoryError as error:
        click.echo(f"Error: out of memory{f' ({error})' if str(error) else ''}; for training, try a smaller "
                   "train.batch_size or train.accumulate=2", err=True)
        sys.exit(1)
    except BrokenPipeError:                          # the reader, for example `head`, has finished: no error
        discard_output()
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {where}{error.strerror or error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
