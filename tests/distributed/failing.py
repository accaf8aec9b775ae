"""`minixl train` in which one of several processes dies or raises.

    python -m tests.distributed.failing WHERE RANK HOW COUNT -- train ...

WHERE: forward, sum or checkpoint; HOW: kill, raise or diverge; COUNT: at which call, from 1.
"""
from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import minixl.cli.main
import minixl.training.checkpoint as checkpoint
import minixl.training.update as update
from minixl.distributed import group
from minixl.models.transformer import Transformer

PLACES: dict[str, tuple[Any, str]] = {"forward": (Transformer, "loss_forward"), "sum": (update, "sum_gradients"),
                                      "checkpoint": (checkpoint, "save_file")}


def fail(how: str) -> None:
    """Die, or raise."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise FloatingPointError("the gradient became nan") if how == "diverge" else RuntimeError("a mistake in the code")


def failing(function: Callable[..., Any], rank: int, how: str, count: int) -> Callable[..., Any]:
    """Return a function that fails at one call in one process."""
    calls = 0
    me = int(os.environ["PMI_RANK"])

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if me == rank and calls == count:
            assert group().size > 1 or function.__name__ == "save_file"
            if function.__name__ == "save_file":
                function(*arguments, **options)                        # the file is there, but has not its name yet
            fail(how)
        return function(*arguments, **options)

    return call


if __name__ == "__main__":
    where, rank, how, count = sys.argv[1:5]
    owner, name = PLACES[where]
    setattr(owner, name, failing(getattr(owner, name), int(rank), how, int(count)))
    sys.argv[1:] = sys.argv[6:]
    minixl.cli.main.main()
