"""Cross-entropy of a large vocabulary, computed over a sample of its words.  Jean et al. 2015 (arXiv:1412.2007), section 3.

    forward    s_tk = x_t · e_k - log Q(k)                 for k in {target_t} ∪ candidates, every word once
               loss = 1/T Σ_t  -log softmax(s_t)[target_t]
    backward   d_tk = dloss/T · (softmax(s_t)_k - [k = target_t])
               dx_t = Σ_k d_tk e_k,      dweight_k = Σ_t d_tk x_t                     row-sparse

Q(k), the expected count of word k among the candidates, corrects for the sampling.  Candidates are drawn without repetition from
the log-uniform law over the ranks of a vocabulary that is sorted by frequency, once for all rows (Bao et al. 2019, 3.2):

    P(k) = (log(k + 2) - log(k + 1)) / log(V + 1),         Q(k) = 1 - (1 - P(k))^tries

tries is the number of draws after which all candidates were different.  A candidate that is a row's target is left out of that
row (an accidental hit).  With all words as candidates, Q = 1 and the loss is that of the full softmax.
Checked in tests/ops/test_sampled_softmax.py.
"""
from math import log
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op
from minixl.ops.embedding import RowSparse, add_sparse, sum_rows


class Candidates(NamedTuple):
    """A sample of the words 0 ... V-1, on the CPU."""

    ids: np.ndarray    # (S,)  distinct, sorted
    tries: int         # draws that it took; 0: all words are candidates
    words: int         # V


class SampledSoftmaxCache(NamedTuple):
    x: Array           # (T, H)
    weight: Array      # (V, H)  a reference, not a copy
    targets: Array     # (T,)
    ids: Array         # (S,)    the candidates
    vectors: Array     # (S, H)  theirs; the weight itself if they are all words
    probs: Array       # (T, S)  of the candidates; 0 for accidental hits
    of_target: Array   # (T,)    probability of each row's target


@op
def sampled_softmax_forward(x: Array, weight: Array, *, targets: Array,
                            candidates: Candidates) -> tuple[Array, SampledSoftmaxCache]:
    """x (T, H), weight (V, H), targets (T,) from 0 to V-1 -> loss, a scalar array; 0 without rows."""
    xp = array_module(x, weight, targets)
    ids = xp.asarray(candidates.ids)
    vectors = weight[ids] if candidates.tries else weight
    probs = x @ vectors.T                                                              # (T, S)  the scores, for now
    probs -= log_expected(ids, candidates).astype(x.dtype)
    place = xp.minimum(xp.searchsorted(ids, targets), len(ids) - 1)
    hits = xp.flatnonzero(ids[place] == targets)
    probs[hits, place[hits]] = -xp.inf
    score = (x * weight[targets]).sum(axis=1) - log_expected(targets, candidates).astype(x.dtype)      # (T,)  of the targets
    most = xp.maximum(probs.max(axis=1), score)
    score -= most
    probs -= most[:, None]
    xp.exp(probs, out=probs)
    of_target = xp.exp(score)
    total = probs.sum(axis=1) + of_target
    loss = (xp.log(total) - score).sum() / max(len(x), 1)
    probs /= total[:, None]
    return loss.astype(x.dtype), SampledSoftmaxCache(x, weight, targets, ids, vectors, probs, of_target / total)


@op
def sampled_softmax_backward(dloss: Array, cache: SampledSoftmaxCache) -> tuple[Array, dict[str, RowSparse]]:
    """dloss scalar -> dx (T, H) and the row-sparse gradient of weight, of targets and candidates."""
    x, weight, targets, ids, vectors, probs, of_target = cache
    share = x.dtype.type(float(dloss) / max(len(x), 1))
    dtarget = ((of_target - 1) * share)[:, None]                                       # (T, 1)
    scaled = x * share
    dx = probs @ vectors
    dx *= share
    dx += dtarget * weight[targets]
    return dx, {"weight": add_sparse(RowSparse(ids, probs.T @ scaled), sum_rows(targets, dtarget * x))}


def probability(ids: Array, words: int) -> Array:
    """ids (n,) -> P(k) of each in a vocabulary of V words, float64: the log-uniform law."""
    xp = array_module(ids)
    return xp.log1p(1 / (ids + 1.0)) / log(words + 1)


def log_expected(ids: Array, candidates: Candidates) -> Array:
    """ids (n,) -> log Q(k) of each, float64; 0 if all words are candidates."""
    xp = array_module(ids)
    if not candidates.tries:
        return xp.zeros(len(ids))
    return xp.log(-xp.expm1(candidates.tries * xp.log1p(-probability(ids, candidates.words))))


def all_words(words: int) -> Candidates:
    """Return all words as candidates: the full softmax."""
    return Candidates(np.arange(words), 0, words)


def draw_candidates(words: int, count: int, rng: np.random.Generator) -> Candidates:
    """Draw `count` different words of 0 ... V-1; all of them if count is V or more."""
    if count >= words:
        return all_words(words)
    drawn = np.zeros(0, np.int64)
    while True:
        more = np.exp(rng.random(2 * count + 16) * log(words + 1)).astype(np.int64) - 1
        drawn = np.concatenate([drawn, np.minimum(more, words - 1)])                   # rounding may give V
        distinct, first = np.unique(drawn, return_index=True)
        if len(distinct) >= count:
            tries = int(np.partition(first, count - 1)[count - 1]) + 1
            return Candidates(distinct[first < tries], tries, words)
