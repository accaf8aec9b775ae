"""What is compared: an engine that trains and applies one family of models.

A new family is a class for each engine with these four methods, and a line in CONTENDERS.
"""
from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from minixl.bench.work import Examples, Work
from minixl.data.encoding import Example
from minixl.errors import UserError

# family -> engine -> where its class is; imported only in the process that measures it
CONTENDERS = {"bert": {"minixl": "minixl.bench.minixl_bert.MinixlBert",
                       "transformers": "minixl.bench.transformers_bert.TransformersBert"}}
AGAINST = {"torch": "transformers"}    # --against -> engine


class Contender(Protocol):
    """A model with its optimiser."""

    def __init__(self, work: Work, threads: int) -> None:
        """Build the model, load the weights, freeze."""

    def prepare(self, batch: Sequence[Example]) -> Any:
        """The batch in the engine's own form; not timed, for a data loader does it beside the training."""

    def step(self, prepared: Any) -> float:
        """Forward with dropout, backward, clip, update, gradients back to zero; returns the loss."""

    def loss(self, prepared: Any) -> float:
        """Loss without dropout, nothing updated: must be the same for every contender."""

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Log-probabilities (words, K) of every sentence, in order."""


def make(family: str, engine: str, work: Work, threads: int) -> Contender:
    """The contender by name."""
    module, _, name = CONTENDERS[family][engine].rpartition(".")
    return getattr(importlib.import_module(module), name)(work, threads)


def require_installed(against: str) -> None:
    """Raises UserError when the other engine is not there."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"--against {against}: {package} is not installed; pip install 'minixl[test]' brings it")
