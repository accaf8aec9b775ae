"""The best tag sequence of every sentence of a batch.  Viterbi 1967; Lafferty et al. 2001 for the linear chain.

    best_1(j) = start_j + score_1j
    best_t(j) = max_i (best_t-1(i) + transition_ij) + score_tj          i: tag before, j: tag now
    path      = max_j (best_n(j) + end_j), followed back to the first token

Transitions that `legal` rules out score minus infinity, both for a CRF and for a softmax tagger (no transition scores).
Ties: of equally good paths, the one with the lowest last tag wins, then the one with the lowest tag before it, and so on.

A loop over the steps computes all sentences together (see steps.py).  In the forward loop the tags are the first axis and
the sentences the last, so that the maximum over i compares whole blocks of memory.  No back pointers are stored; following
the path back takes the maximum again for the one tag on the path, which is K times less work than for all tags.
NaN among the scores would look like the best path; max propagates it to the path scores, where it is found and reported.
CUDA version: kernels/viterbi.cu.  Checked against all K**n paths in tests/ops/test_viterbi.py.
"""
from types import ModuleType
from typing import Protocol

import numpy as np

from minixl.backend import BLOCK, Array, array_module, op
from minixl.ops.steps import Steps, time_steps
from minixl.packing import sums_by_sentence

BUFFER = 1024         # elements, see _forward


class LegalMoves(Protocol):
    """What a tag scheme allows: minixl.data.schemes.Legal, or any object with these three attributes."""

    @property
    def start(self) -> Array: ...          # (K,)    bool: may a sentence begin with this tag?
    @property
    def transitions(self) -> Array: ...    # (K, K)  bool: may the second follow the first?   [from, to]
    @property
    def end(self) -> Array: ...            # (K,)    bool: may a sentence end with this tag?


@op
def viterbi(scores: Array, starts: np.ndarray, *, transitions: Array | None = None, start: Array | None = None,
            end: Array | None = None, legal: LegalMoves | None = None) -> tuple[Array, Array]:
    """scores (T, K) of packed sentences, starts (B+1,) -> tags (T,) int64 and the score (B,) of each best path.

    transitions (K, K) [from, to], start (K,) and end (K,) are scores; None means zeros.  The score of a sentence
    is minus infinity if `legal` allows no path of its length, and 0 if it has no tokens.  Raises ValueError for
    NaN in any of the scores, and for a `legal` that is not bool.
    """
    xp = array_module(scores, transitions, start, end)
    if scores.ndim != 2 or not scores.shape[1]:
        raise ValueError(f"scores: expected shape (T, K) with K at least 1, got {scores.shape}")
    tags = xp.zeros(len(scores), dtype=xp.int64)
    path_scores = xp.zeros(len(starts) - 1, dtype=scores.dtype)
    if not len(scores):
        return tags, path_scores
    if transitions is None and start is None and end is None and legal is None:
        tags[:] = scores.argmax(axis=1)
        path_scores[:] = sums_by_sentence(scores.max(axis=1).astype(np.float64), starts, xp)
        reject_nan(path_scores, scores=scores)
        return tags, path_scores
    transitions, start, end = chain_scores(scores, transitions, start, end, legal)
    steps = time_steps(starts, xp)
    best = _forward(scores.take(steps.rows, axis=0), steps.bounds, transitions, start, xp)
    final = best[steps.last] + end                                                 # (R, K)
    path_scores[steps.order] = final.max(axis=1)
    reject_nan(path_scores, scores=scores, transitions=transitions, start=start, end=end)
    tags[steps.rows] = _follow_back(best, transitions, final.argmax(axis=1), steps, xp)
    return tags, path_scores


def reject_nan(path_scores: Array, **arguments: Array) -> None:
    """Raise ValueError if a path score is NaN (one pass over (B,) numbers), naming the argument that contains NaN."""
    xp = array_module(path_scores)
    if not xp.isnan(path_scores).any():
        return
    for name, array in arguments.items():
        count = int(xp.isnan(array).sum())
        if count:
            raise ValueError(f"{name}: expected numbers, got NaN in {count} of {array.size} places")
    raise ValueError(f"{', '.join(arguments)}: expected numbers below infinity, got infinity")


def chain_scores(scores: Array, transitions: Array | None, start: Array | None, end: Array | None,
                 legal: LegalMoves | None) -> tuple[Array, Array, Array]:
    """Return transitions (K, K), start (K,), end (K,) with zeros for None and minus infinity for illegal transitions."""
    xp, tags = array_module(scores), scores.shape[1]
    shapes = (tags, tags), (tags,), (tags,)
    allowed = (None, None, None) if legal is None else (legal.transitions, legal.start, legal.end)
    filled = []
    for name, array, shape, mask in zip(("transitions", "start", "end"), (transitions, start, end), shapes, allowed):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape} for scores of {tags} tags, got {array.shape}")
        if mask is not None and (mask.shape != shape or mask.dtype != np.bool_):   # NaN as a float would mean "allowed"
            raise ValueError(f"legal.{name}: expected bool of shape {shape}, got {mask.dtype} {mask.shape}")
        value = xp.zeros(shape, scores.dtype) if array is None else array
        filled.append(value if mask is None else xp.where(xp.asarray(mask), value, -xp.inf).astype(value.dtype))
    return filled[0], filled[1], filled[2]


def _forward(scores: Array, bounds: list[int], transitions: Array, start: Array, xp: ModuleType) -> Array:
    """scores (T, K) in step order -> best (T, K): the best score of a path that ends in this tag at this token.

    NumPy copies a broadcast operand before adding if its rows are shorter than NumPy's buffer; for rows of a few hundred
    sentences the copy takes longer than the sum, hence the small BUFFER.  Sums of more than BLOCK elements do not fit the cache.
    """
    tags, moves = len(transitions), transitions[:, :, None]                        # (from, to, 1)
    best = xp.empty_like(scores)
    best[:bounds[1]] = scores[:bounds[1]] + start
    row = xp.ascontiguousarray(best[:bounds[1]].T)                                 # (K, running), best of one step
    with np.errstate():                                                            # restores the buffer size, too
        np.setbufsize(BUFFER)
        for now, after in zip(bounds[1:], bounds[2:]):
            running = after - now
            ahead = xp.ascontiguousarray(scores[now:after].T)
            count = max(1, BLOCK // (tags * running))                              # tags at a time
            for to in range(0, tags, count):
                sums = row[:, None, :running] + moves[:, to:to + count]            # (from, count, running)
                ahead[to:to + count] += sums.max(axis=0)
            best[now:after] = ahead.T
            row = ahead
    return best


def _follow_back(best: Array, transitions: Array, final: Array, steps: Steps, xp: ModuleType) -> Array:
    """final (R,), the last tag of each sentence -> the tags (T,) of its best path, in step order."""
    bounds, into = steps.bounds, xp.ascontiguousarray(transitions.T)               # into: (to, from)
    tags = xp.empty(bounds[-1], dtype=xp.int64)
    tags[steps.last] = final
    for before, now, after in reversed(list(zip(bounds, bounds[1:], bounds[2:]))):
        previous = slice(before, before + after - now)
        tags[previous] = (best[previous] + into.take(tags[now:after], axis=0)).argmax(axis=1)  # of (running, from)
    return tags
