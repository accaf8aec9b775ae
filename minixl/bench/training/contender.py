"""What is compared: an engine that trains and applies one family of models.

A new family is a class for each engine with the methods of Contender, a line in CONTENDERS, and a function that makes
its Work, in MAKERS.  An engine whose tags come from a search of their own is a DecodingContender, and the search is timed as well.
"""
from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from minixl.bench.training.work import Examples, Work

# family -> engine -> where its class is; imported only in the process that measures it
CONTENDERS = {"bert": {"minixl": "minixl_bert.MinixlBert", "transformers": "transformers_bert.TransformersBert"},
              "bert-adversarial": {"minixl": "minixl_adversarial.MinixlAdversarial",
                                   "transformers": "transformers_adversarial.TransformersAdversarial"},
              "bilstm-crf": {"minixl": "minixl_bilstm_crf.MinixlBilstmCrf", "torch": "torch_bilstm_crf.TorchBilstmCrf"}}
MAKERS = {"bert": "work_bert.make_work", "bert-adversarial": "work_adversarial.make_work",
          "bilstm-crf": "work_bilstm_crf.make_work"}
# family -> --against -> engine
AGAINST = {"bert": {"torch": "transformers"}, "bert-adversarial": {"torch": "transformers"}, "bilstm-crf": {"torch": "torch"}}
Loss = float | dict[str, float]        # one number, or of a step with several losses each by its name


class Contender(Protocol):
    """A model with its optimiser."""

    def __init__(self, work: Any, threads: int) -> None:
        """Build the model, load the weights, freeze."""

    def prepare(self, batch: Any) -> Any:
        """The batch in the engine's own form; not timed, for a data loader does it beside the training."""

    def step(self, prepared: Any) -> Loss:
        """Forward with dropout, backward, clip, update, gradients back to zero; returns the loss."""

    def loss(self, prepared: Any) -> Loss:
        """Loss without dropout, nothing updated: must be the same for every contender."""


@runtime_checkable
class TaggingContender(Contender, Protocol):
    """A contender whose work has sentences to predict."""

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Of every sentence, in order: log-probabilities (words, K), or from a DecodingContender the tags (words,)."""


@runtime_checkable
class ItemisedContender(Contender, Protocol):
    """A contender that can do the parts of a step one at a time."""

    def parts(self, prepared: Any) -> dict[str, dict[str, float]]:
        """loss -> part of its update -> seconds, each measured alone; together they do a step's work."""


@runtime_checkable
class DecodingContender(TaggingContender, Protocol):
    """A contender that searches for the best tag sequence, given the scores of a sentence."""

    def emissions(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Scores (words, K) of every sentence, in order."""

    def hold(self, emissions: Sequence[np.ndarray], sizes: Sequence[int]) -> Any:
        """Emissions of batches of these sizes in the form in which the engine's model hands them over; not timed."""

    def decode(self, held: Any) -> list[np.ndarray]:
        """The tags (words,) of every sentence, in order."""


def load(path: str) -> Any:
    """Import MODULE.NAME, a function or class of this folder."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"minixl.bench.training.{module}"), name)


def make(family: str, engine: str, work: Work, threads: int) -> Contender:
    """The contender by name."""
    return load(CONTENDERS[family][engine])(work, threads)
