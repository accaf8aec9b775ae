"""What several commands say of their options, and how they show their progress."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from minixl.errors import UserError

OPTIONS = {"data.encoding": "--encoding", "data.scheme": "--scheme"}


@contextmanager
def named_options() -> Iterator[None]:
    """Commands other than train have an option where a recipe has a setting: their messages name that."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for setting, option in OPTIONS.items():
            text = text.replace(f"--set {setting}=", f"{option} ").replace(f"{setting}:", f"{option}:")
        raise UserError(text) from None


@contextmanager
def bar(total: int, what: str) -> Iterator[Callable[[int], None] | None]:
    """A bar over `total` word pieces on stderr.  Yields what is called with each batch's count; None where no terminal is."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=total, file=sys.stderr, label=what, show_pos=True) as shown:
        yield shown.update
