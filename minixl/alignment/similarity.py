"""Learn a map without a dictionary, from similarities within each language.  Artetxe et al. 2018 (VecMap, unsupervised).

    start     a word's similarities to all frequent words, sorted, look alike for translations:
              rows of sort((X Xᵀ)^½) and sort((Y Yᵀ)^½), normalised as the vectors are, are paired by CSLS
    repeat    W ← Procrustes of the pairs, of both directions
              pairs ← for every frequent word of each language the best translation by CSLS in which each candidate takes part
                      only with probability p
              the objective is the mean score of the best translations, without leaving any out
              p doubles when the objective has not improved for `patience` iterations; with p = 1 that is the end

Leaving candidates out at random lets the search escape poor solutions.  Drawing a number for each pair of words would take
longer than the search: the first candidate that takes part, from the best down, has rank 1, 2, ... with probability p,
p (1 - p), ..., so one rank is drawn for each word from this geometric distribution, among its best translations.
Test: tests/alignment/test_similarity.py
"""
from __future__ import annotations

from math import ceil, log
from typing import Any

import numpy as np

from minixl.alignment.csls_search import translations
from minixl.alignment.normalization import Normalization
from minixl.alignment.procrustes import procrustes
from minixl.alignment.retrieval import Pairs, induce
from minixl.backend import Array, array_module
from minixl.ops import csls
from minixl.ops.csls import Best
from minixl.settings import Section, Setting

NORMALIZE = ("unit", "center", "unit")
TAIL = 1e-3                                        # probability of a rank beyond the candidates; such a word stays unpaired

SETTINGS = Section("mapping by similarity distributions", {
    "similarity.start_words": Setting(4000, "most frequent words compared at the start", at_least=1),
    "similarity.frequent": Setting(20_000, "most frequent words that the map is learnt from", at_least=1),
    "similarity.keep": Setting(0.1, "probability that a candidate takes part at first", above=0, at_most=1),
    "similarity.growth": Setting(2.0, "factor of that probability when the objective stops improving", above=1),
    "similarity.patience": Setting(50, "iterations without improvement until the probability grows, or training ends", at_least=1),
    "similarity.threshold": Setting(1e-6, "smallest change of the objective that counts as an improvement", at_least=0),
    "similarity.max_iterations": Setting(2000, "iterations after which training ends in any case", at_least=1),
})


def start_pairs(x: Array, y: Array, words: int, *, engine: Any = csls) -> Pairs:
    """x (n, H), y (m, H), normalised -> pairs of frequent words whose sorted similarities match best, in both directions."""
    words = min(words, len(x), len(y))
    x_signatures, y_signatures = (_signatures(vectors[:words]) for vectors in (x, y))  # (words, words) each
    return pairs_both_ways(x_signatures, y_signatures, engine=engine)


def pairs_both_ways(x: Array, y: Array, *, engine: Any = csls) -> Pairs:
    """x (n, H), y (m, H), unit vectors in one space -> the best translation by CSLS of every word of either."""
    return _joined(induce(x, y, mutual=False, engine=engine), induce(y, x, mutual=False, engine=engine))


def _signatures(x: Array) -> Array:
    """x (n, H) -> sorted rows of (X Xᵀ)^½, normalised: a description of each word that no rotation changes, (n, n)."""
    xp = array_module(x)
    left, singular, _ = xp.linalg.svd(x, full_matrices=False)
    similarities = (left * singular) @ left.T                                          # (X Xᵀ)^½ = U S Uᵀ
    similarities.sort(axis=1)
    return Normalization.fit(similarities, NORMALIZE)[1]


def _joined(forward: Pairs, backward: Pairs) -> Pairs:
    """Join pairs of x with y and pairs of y with x."""
    xp = array_module(forward.source)
    return Pairs(xp.concatenate([forward.source, backward.target]), xp.concatenate([forward.target, backward.source]),
                 xp.concatenate([forward.scores, backward.scores]))


class SelfLearning:
    """The map and everything that the next iteration needs.

    mapping    W (H, H) of the pairs before the last     keep       p
    pairs      for the next iteration                    best       the best objective so far
    iteration  finished ones                             waited     iterations since it improved
    ended      whether the stop rule has ended training
    """

    def __init__(self, x: Array, y: Array, pairs: Pairs, settings: Any, seed: int, *, engine: Any = csls) -> None:
        """x (n, H), y (m, H), normalised; pairs: rows among the frequent words."""
        frequent = settings["similarity.frequent"]
        self.x, self.y, self.pairs, self.settings, self.engine = x[:frequent], y[:frequent], pairs, settings, engine
        self.rng = np.random.default_rng(seed)
        self.keep, self.best, self.waited, self.iteration, self.ended = settings["similarity.keep"], -np.inf, 0, 0, False
        self.mapping = procrustes(x[pairs.source], y[pairs.target])

    def step(self) -> float:
        """Map with the current pairs, find new ones, apply the stop rule; return the objective."""
        self.mapping = procrustes(self.x[self.pairs.source], self.y[self.pairs.target])
        mapped = self.x @ self.mapping.T
        candidates = 1 if self.keep >= 1 else min(len(self.x), len(self.y), ceil(log(TAIL) / log(1 - self.keep)))
        forward, backward, nearest = translations(mapped, self.y, candidates, backward=True, engine=self.engine)
        assert backward is not None
        objective = sum(float(cosines[:, 0].mean()) for cosines in nearest) / 2
        self.pairs = _joined(self._drawn(forward), self._drawn(backward))
        self._stop_rule(objective)
        self.iteration += 1
        return objective

    def _drawn(self, best: Best) -> Pairs:
        """Pair every word with its first candidate that takes part."""
        xp = array_module(best.indices)
        ranks = xp.asarray(self.rng.geometric(self.keep, len(best.indices)) - 1)       # (n,) from 0
        words = xp.flatnonzero(ranks < best.indices.shape[1])
        return Pairs(words, best.indices[words, ranks[words]], best.scores[words, ranks[words]])

    def _stop_rule(self, objective: float) -> None:
        """Let more candidates take part, or end, when the objective has not improved for long."""
        improved = objective >= self.best + self.settings["similarity.threshold"]
        self.waited, self.best = (0, objective) if improved else (self.waited + 1, self.best)
        if self.waited > self.settings["similarity.patience"]:
            self.ended = self.keep >= 1
            self.keep, self.waited = min(1.0, self.keep * self.settings["similarity.growth"]), 0
        self.ended |= self.iteration + 1 >= self.settings["similarity.max_iterations"]
