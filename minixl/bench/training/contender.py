"""A contender: an engine that trains and applies one family of models.

A new family needs a class with the methods of Contender for each engine, listed in CONTENDERS, and a function that makes
its Work, listed in MAKERS.  A contender that finds its tags by a search is a DecodingContender; the search is also timed.
"""
from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from minixl.bench.training.work import Examples, Work

# family -> engine -> module and class in this folder; imported only in the process that measures it
CONTENDERS = {"bert": {"minixl": "minixl_bert.MinixlBert", "transformers": "transformers_bert.TransformersBert"},
              "bert-adversarial": {"minixl": "minixl_adversarial.MinixlAdversarial",
                                   "transformers": "transformers_adversarial.TransformersAdversarial"},
              "bilstm-crf": {"minixl": "minixl_bilstm_crf.MinixlBilstmCrf", "torch": "torch_bilstm_crf.TorchBilstmCrf"},
              "language-model": {"minixl": "minixl_language_model.MinixlLanguageModel",
                                 "torch": "torch_language_model.TorchLanguageModel"}}
MAKERS = {"bert": "work_bert.make_work", "bert-adversarial": "work_adversarial.make_work",
          "bilstm-crf": "work_bilstm_crf.make_work", "language-model": "work_language_model.make_work"}
# family -> --against -> engine
AGAINST = {"bert": {"torch": "transformers"}, "bert-adversarial": {"torch": "transformers"}, "bilstm-crf": {"torch": "torch"},
           "language-model": {"torch": "torch"}}
Loss = float | dict[str, float]        # one number, or for a step with several losses each by name


class Contender(Protocol):
    """A model and its optimiser."""

    def __init__(self, work: Any, threads: int) -> None:
        """Build the model, load the weights, freeze."""

    def prepare(self, batch: Any) -> Any:
        """Convert the batch to the engine's own form; not timed, since a data loader does this in the background."""

    def step(self, prepared: Any) -> Loss:
        """Forward with dropout, backward, clip, update, zero the gradients; returns the loss."""

    def loss(self, prepared: Any) -> Loss:
        """Compute the loss without dropout and without an update; it must be the same for every contender."""


@runtime_checkable
class TaggingContender(Contender, Protocol):
    """A contender whose work includes prediction."""

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """For every sentence, in order: log-probabilities (words, K), or from a DecodingContender the tags (words,)."""


@runtime_checkable
class ItemisedContender(Contender, Protocol):
    """A contender that can run the parts of a step one at a time."""

    def parts(self, prepared: Any) -> dict[str, dict[str, float]]:
        """loss -> part of its update -> seconds, each measured alone; together they do the work of a step."""


@runtime_checkable
class DecodingContender(TaggingContender, Protocol):
    """A contender that searches for the best tag sequence from the scores of a sentence."""

    def emissions(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Scores (words, K) of every sentence, in order."""

    def hold(self, emissions: Sequence[np.ndarray], sizes: Sequence[int]) -> Any:
        """Convert the emissions of batches of these sizes to the form that the engine's model outputs; not timed."""

    def decode(self, held: Any) -> list[np.ndarray]:
        """The tags (words,) of every sentence, in order."""


def load(path: str) -> Any:
    """Import MODULE.NAME, a function or class of this folder."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"minixl.bench.training.{module}"), name)


def make(family: str, engine: str, work: Work, threads: int) -> Contender:
    """Make the contender of a family and engine."""
    return load(CONTENDERS[family][engine])(work, threads)
