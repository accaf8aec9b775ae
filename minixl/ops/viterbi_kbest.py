"""The k best tag sequences of every sentence of a batch, best first.

As viterbi.py, but each tag of each token keeps the k best paths that end there, not one:

    best_t(j, 1..k) = the k largest of  best_t-1(i, r) + transition_ij + score_tj      over all i and all ranks r

Every (i, r) is a different path, so no path is found twice.  Ties: the lower tag comes first, as in viterbi, whose
path is always the first of the k.  NaN would be sorted behind all other scores, so it is looked for beforehand.
Checked against all K**n paths in tests/ops/test_viterbi_kbest.py.
"""
from types import ModuleType

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops.steps import Steps, time_steps
from minixl.ops.viterbi import LegalMoves, chain_scores, reject_nan
from minixl.packing import owner_of


def viterbi_kbest(scores: Array, starts: np.ndarray, k: int, *, transitions: Array | None = None,
                  start: Array | None = None, end: Array | None = None,
                  legal: LegalMoves | None = None) -> tuple[Array, Array]:
    """scores (T, K), starts (B+1,) -> tags (k, T) int64 and path scores (k, B), falling along the first axis.

    Where a sentence has fewer than k (legal) paths, the missing ones have score minus infinity and tags -1.  A
    sentence without tokens has one path, the empty one, of score 0.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1 path per sentence, got {k}")
    xp = array_module(scores, transitions, start, end)
    tags = xp.full((k, len(scores)), -1, dtype=xp.int64)
    path_scores = xp.full((k, len(starts) - 1), -xp.inf, dtype=scores.dtype)
    path_scores[0, xp.asarray(np.flatnonzero(np.diff(starts) == 0))] = 0
    if not len(scores):
        return tags, path_scores
    transitions, start, end = chain_scores(scores, transitions, start, end, legal)
    reject_nan(scores.max(axis=1), scores=scores)
    reject_nan(transitions, transitions=transitions)
    reject_nan(start, start=start)
    reject_nan(end, end=end)
    steps = time_steps(starts, xp)
    best, origin = _forward(scores[steps.rows], steps.bounds, k, transitions, start, xp)
    values, choice = _largest((best[steps.last] + end[:, None])[:, None], k, xp)   # (R, 1, k) from all (tag, rank)
    path_scores[:, steps.order] = values[:, 0].T
    tags[:, steps.rows] = _follow_back(origin, choice[:, 0], k, steps, xp)
    owner = xp.asarray(owner_of(starts))     # (T,) sentence of each token
    tags[xp.isneginf(path_scores)[:, owner]] = -1
    return tags, path_scores


def _forward(scores: Array, bounds: list[int], k: int, transitions: Array, start: Array,
             xp: ModuleType) -> tuple[Array, Array]:
    """scores (T, K) in step order -> best (T, K, k) and origin (T, K, k): tag * k + rank of the path it prolongs."""
    best = xp.full((*scores.shape, k), -xp.inf, dtype=scores.dtype)
    origin = xp.zeros(best.shape, dtype=xp.int64)
    best[:bounds[1], :, 0] = scores[:bounds[1]] + start
    moves = transitions.T[:, :, None]                                              # (to, from, 1)
    for before, now, after in zip(bounds, bounds[1:], bounds[2:]):
        candidates = best[before:before + after - now, None] + moves               # (n, to, from, k)
        values, origin[now:after] = _largest(candidates, k, xp)
        best[now:after] = values + scores[now:after, :, None]
    return best, origin


def _largest(candidates: Array, k: int, xp: ModuleType) -> tuple[Array, Array]:
    """candidates (n, J, K, k) -> the k largest of the last two axes, falling, and where they stood: (n, J, k) each."""
    flat = candidates.reshape(*candidates.shape[:2], -1)
    where = xp.argsort(-flat, axis=-1, kind="stable")[..., :k]
    return xp.take_along_axis(flat, where, axis=-1), where


def _follow_back(origin: Array, choice: Array, k: int, steps: Steps, xp: ModuleType) -> Array:
    """choice (R, k), last tag * k + rank of each path -> the tags (k, T) of the paths, in step order."""
    bounds = steps.bounds
    state = xp.empty((bounds[-1], k), dtype=xp.int64)                              # tag * k + rank, per token and path
    state[steps.last] = choice
    for before, now, after in reversed(list(zip(bounds, bounds[1:], bounds[2:]))):
        reached = origin[now:after].reshape(after - now, -1)                       # (n, K * k)
        state[before:before + after - now] = xp.take_along_axis(reached, state[now:after], axis=1)
    return (state // k).T
