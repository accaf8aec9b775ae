"""The lattice of a CRF: how probable every tag and every pair of tags is, the gold path and the best one.

The marginals are computed here in float64 with log-sum-exp, one sentence after another, and so are independent of the op:

    A_t(j) = log Σ_i exp(A_t-1(i) + transition_ij) + x_tj        B_t(i) = log Σ_j exp(transition_ij + x_t+1,j + B_t+1(j))
    node_t = exp(A_t + B_t - log Z)
    edge_t(i, j) = exp(A_t-1(i) + transition_ij + x_tj + B_t(j) - log Z)
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minixl.ops.crf_recursion import Scores
from minixl.ops.viterbi import viterbi
from minixl.study.events import OpCall

MOST_SENTENCES, MOST_TOKENS = 4, 48


class Lattice(NamedTuple):
    """A sentence of n tokens, K tags."""

    first: int                         # its first row in the batch
    node: np.ndarray                   # (n, K)      probability of a tag
    edges: np.ndarray                  # (n-1, K, K) of a pair [from, to]
    gold: list[int]                    # (n,)
    best: list[int]                    # (n,)        by Viterbi
    log_partition: float
    gold_score: float
    best_score: float

    @property
    def error(self) -> np.ndarray:
        """Marginal minus one-hot, (n, K): the gradient of the emissions for dnll = 1."""
        return self.node - np.eye(self.node.shape[1])[self.gold]


def lattices(call: OpCall) -> list[Lattice]:
    """Return the lattice of each of the first sentences of a call of crf_forward."""
    scores, starts = Scores(*(np.asarray(part, float) for part in call.cache.scores)), call.arguments["starts"]
    tags = np.asarray(call.arguments["tags"])
    paths, best = viterbi(scores.emissions, starts, transitions=scores.transitions, start=scores.start, end=scores.end)
    return [_lattice(scores, int(first), int(end), tags, paths, float(best[i]))
            for i, (first, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)) if end > first][:MOST_SENTENCES]


def _lattice(scores: Scores, first: int, end: int, tags: np.ndarray, paths: np.ndarray, best: float) -> Lattice:
    x, moves = scores.emissions[first:end], scores.transitions
    alpha, beta = np.empty_like(x), np.empty_like(x)
    alpha[0], beta[-1] = scores.start + x[0], scores.end
    for t in range(1, len(x)):
        alpha[t] = np.logaddexp.reduce(alpha[t - 1][:, None] + moves, axis=0) + x[t]
    for t in range(len(x) - 2, -1, -1):
        beta[t] = np.logaddexp.reduce(moves + x[t + 1] + beta[t + 1], axis=1)
    log_partition = float(np.logaddexp.reduce(alpha[-1] + scores.end))
    edges = np.exp(alpha[:-1, :, None] + moves + (x + beta)[1:, None] - log_partition)
    gold = tags[first:end]
    score = scores.start[gold[0]] + scores.end[gold[-1]] + x[np.arange(len(x)), gold].sum() + moves[gold[:-1], gold[1:]].sum()
    return Lattice(first, np.exp(alpha + beta - log_partition), edges, gold.tolist(), paths[first:end].tolist(), log_partition,
                   float(score), best)
