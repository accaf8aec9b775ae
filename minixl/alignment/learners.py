"""One attempt to learn a map, in pieces between which it can be stopped, saved and continued with the same bits.

A Learner has
    advance()          does a piece of work; returns the steps done and, when there is one, a point of its curve
    ended              whether there is nothing left to do
    best, mapping      the best criterion so far and its W (H, H)
    state(), restore() arrays and JSON values that continue it elsewhere

Test: tests/alignment/test_learners.py
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from minixl.alignment.adversarial import AdversarialMapping
from minixl.alignment.normalization import unit
from minixl.alignment.procrustes import procrustes
from minixl.alignment.retrieval import Pairs, mean_cosine
from minixl.alignment.similarity import SelfLearning, pairs_both_ways, start_pairs
from minixl.backend import Array, array_module, to_numpy

CHUNK = 500                                        # steps of the adversarial method between two chances to stop
LOWEST = -1.0                                      # criterion, a mean cosine, before there is one


class Progress(NamedTuple):
    """What a piece of work was: `steps` more of the method's steps, and the values of the curves at the end, if any."""

    steps: int
    point: dict[str, float] | None


class Learner(Protocol):
    """One attempt to learn a map."""

    steps: int                                     # steps at most, for the progress bar
    ended: bool
    best: float

    @property
    def mapping(self) -> Array: ...
    def advance(self) -> Progress: ...
    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]: ...
    def restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None: ...


class PairsLearner:
    """The map of known pairs: one step."""

    steps = 1

    def __init__(self, x: Array, y: Array, rows: np.ndarray, settings: Any, engine: Any) -> None:
        """x (n, H), y (m, H), rows (p, 2)."""
        xp = array_module(x)
        self.x, self.y, self.settings, self.engine, self.ended = x, y, settings, engine, False
        pairs = xp.asarray(rows)
        self.mapping, self.best = procrustes(x[pairs[:, 0]], y[pairs[:, 1]]), LOWEST

    def advance(self) -> Progress:
        self.ended, self.best = True, criterion(self.mapping, self.x, self.y, self.settings, self.engine)
        return Progress(1, {"criterion": self.best})

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {}

    def restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Has no state: the map is computed when it is made."""


class AdversarialLearner:
    """MUSE's adversarial training; a point of its curve at the end of each epoch."""

    def __init__(self, x: Array, y: Array, settings: Any, seed: int, engine: Any, *, reflected: bool = False) -> None:
        """x (n, H), y (m, H), all words; the most frequent are drawn.  reflected: see AdversarialMapping."""
        frequent = settings["adversarial.frequent"]
        self.x, self.y, self.settings, self.engine = x, y, settings, engine
        self.training = AdversarialMapping(x[:frequent], y[:frequent], settings, seed, reflected=reflected)
        self.epoch_steps = self.training.steps_per_epoch()
        self.steps = self.epoch_steps * settings["adversarial.epochs"]
        self.done, self.ended, self.best, self.sums = 0, False, LOWEST, np.zeros(2)
        self.mapping = self.training.mapping.copy()

    def advance(self) -> Progress:
        left = self.epoch_steps - self.done % self.epoch_steps
        steps = min(CHUNK, left)
        for _ in range(steps):
            self.sums += self.training.step()
        self.done += steps
        return Progress(steps, self._end_epoch() if steps == left else None)

    def _end_epoch(self) -> dict[str, float]:
        value = criterion(self.training.mapping, self.x, self.y, self.settings, self.engine)
        loss, accuracy = self.sums / self.epoch_steps
        point = {"criterion": value, "discriminator_loss": float(loss), "discriminator_accuracy": float(accuracy),
                 "lr": self.training.lr}
        if value > self.best:
            self.best, self.mapping = value, self.training.mapping.copy()
        self.sums[:] = 0
        self.ended = not np.isfinite(value) or not self.training.end_epoch(value) or self.done >= self.steps
        return point

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        training = self.training
        arrays = {"values": to_numpy(training.store.values), "mapping": to_numpy(self.mapping), "sums": self.sums}
        return arrays, {"rng": training.rng.bit_generator.state, "lr": training.lr, "was_worse": training.was_worse,
                        "best_of_training": training.best, "best": self.best, "done": self.done}

    def restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        training, xp = self.training, self.training.store.xp
        training.store.values[...] = xp.asarray(arrays["values"])
        training.rng.bit_generator.state = values["rng"]
        training.lr, training.was_worse, training.best = values["lr"], values["was_worse"], values["best_of_training"]
        self.mapping, self.sums = xp.asarray(arrays["mapping"]), arrays["sums"].copy()
        self.best, self.done = values["best"], values["done"]


class SimilarityLearner:
    """VecMap's start and self-learning; its curve has the objective at every iteration, the criterion at the end."""

    def __init__(self, x: Array, y: Array, settings: Any, seed: int, engine: Any, start: Array | None = None) -> None:
        """x (n, H), y (m, H), normalised.  start (H, H): a map to begin from instead of the similarity distributions."""
        self.start = start
        self.x, self.y, self.settings, self.engine = x, y, settings, engine
        self.steps, self.ended, self.best = settings["similarity.max_iterations"], False, LOWEST
        self.seed = seed
        self.training: SelfLearning | None = None

    @property
    def mapping(self) -> Array:
        assert self.training is not None
        return self.training.mapping

    def advance(self) -> Progress:
        if self.training is None:
            frequent = self.settings["similarity.frequent"]
            if self.start is None:
                words = min(self.settings["similarity.start_words"], frequent)
                pairs = start_pairs(self.x, self.y, words, engine=self.engine)
            else:
                pairs = pairs_both_ways(unit(self.x[:frequent] @ self.start.T), unit(self.y[:frequent]), engine=self.engine)
            self.training = SelfLearning(self.x, self.y, pairs, self.settings, self.seed, engine=self.engine)
            return Progress(0, None)
        point = {"objective": self.training.step(), "keep": self.training.keep}
        self.ended = self.training.ended
        if self.ended:
            self.best = point["criterion"] = criterion(self.mapping, self.x, self.y, self.settings, self.engine)
        return Progress(1, point)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        training = self.training
        if training is None:
            return {}, {}
        arrays = {"source": to_numpy(training.pairs.source), "target": to_numpy(training.pairs.target),
                  "scores": to_numpy(training.pairs.scores)}
        return arrays, {"rng": training.rng.bit_generator.state, "keep": training.keep, "best_objective": training.best,
                        "waited": training.waited, "iteration": training.iteration}

    def restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        if not values:
            return
        xp = array_module(self.x)
        pairs = Pairs(*(xp.asarray(arrays[name]) for name in Pairs._fields))
        training = self.training = SelfLearning(self.x, self.y, pairs, self.settings, self.seed, engine=self.engine)
        training.rng.bit_generator.state = values["rng"]
        training.keep, training.best = values["keep"], values["best_objective"]
        training.waited, training.iteration = values["waited"], values["iteration"]


def criterion(mapping: Array, x: Array, y: Array, settings: Any, engine: Any) -> float:
    """The criterion of W (H, H): mean cosine of the translations of frequent words."""
    words = settings["align.criterion_words"]
    return mean_cosine(unit(x[:words] @ mapping.T), unit(y[:words]), words, engine=engine)
