"""A method with terms added to it: after each of its steps every term makes its own updates, on batches of its own.

A term has STREAMS, step(number) -> list[Update], subsets() and optimizers(), like minixl/methods/adversary.py.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minixl.training.update import Update


class Composed:
    """Behaves as the method does, and does more in each step."""

    def __init__(self, method: Any, terms: Sequence[Any]) -> None:
        self.method, self.terms = method, terms

    @property
    def steps(self) -> int:
        """Iterations so far."""
        return int(self.method.steps)

    @steps.setter
    def steps(self, steps: int) -> None:
        self.method.steps = steps

    def step(self) -> list[Update]:
        """One step of the method, then one of every term."""
        number = self.steps
        return [*self.method.step(), *(update for term in self.terms for update in term.step(number))]

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return self.method.subsets() | {loss: names for term in self.terms for loss, names in term.subsets().items()}

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return self.method.optimizers() | {loss: made for term in self.terms for loss, made in term.optimizers().items()}
