"""Confidence of a CRF: the probability of each tag and of each entity.  Culotta & McCallum 2004, constrained forward.

    node_t(j)    = P(tag of token t is j)
    P(entity)    = Σ e^score(y) over all tag sequences y that contain the entity  /  Z

y contains an entity if the entity's tokens have its tags and it neither begins earlier nor ends later: for B-PER I-PER, the
tag before must not be one that B-PER continues (there is none), the tag after must not be I-PER.  The tags inside are
fixed, so the constrained sum is log A at the first token, the scores of the fixed path, and log B at the last token,
with A and B from crf_recursion.py: a few array operations for all entities of a batch.
Checked against the sum over all K**n paths in tests/ops/test_crf_confidence.py.
"""
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops.crf_recursion import Scores, forward_sums, log_alpha, log_beta, log_sum, marginals
from minixl.ops.steps import time_steps
from minixl.ops.viterbi import LegalMoves, chain_scores


def tag_probabilities(emissions: Array, starts: np.ndarray, *, transitions: Array, start: Array | None = None,
                      end: Array | None = None, legal: LegalMoves | None = None) -> Array:
    """emissions (T, K) packed, starts (B+1,) -> the probability (T, K) of every tag of every token."""
    xp = array_module(emissions)
    scores = Scores(emissions, *chain_scores(emissions, transitions, start, end, legal))
    steps = time_steps(starts, xp)
    _, state = forward_sums(scores, steps, len(starts) - 1)
    return marginals(scores, steps, state, xp.ones(len(emissions), emissions.dtype))[0]


def continuations(labels: Sequence[str]) -> np.ndarray:
    """labels, K tags -> (K, K) bool: does the second tag continue the entity of the first one?

    I-X and E-X continue B-X and I-X.  Nothing continues O, E-X, S-X or a tag without a prefix.
    """
    parts = [label.partition("-") for label in labels]
    return np.array([[first[0] in ("B", "I") and second[0] in ("I", "E") and first[2] == second[2]
                      for second in parts] for first in parts], dtype=bool).reshape(len(parts), len(parts))


def entity_probabilities(emissions: Array, starts: np.ndarray, spans: Array, tags: Array, *, transitions: Array,
                         start: Array | None = None, end: Array | None = None, legal: LegalMoves | None = None,
                         continues: Array | None = None) -> Array:
    """spans (S, 2), first and last + 1 row of each entity; tags (T,) -> the probability (S,) of each entity.

    Reads only the tags inside the spans.  With continues (K, K) bool, from `continuations`, an entity may not begin earlier
    or end later; with None, the tags before and after it do not matter.
    """
    xp = array_module(emissions)
    spans, tags = xp.asarray(spans).reshape(-1, 2), xp.asarray(tags)
    if not len(spans):
        return xp.zeros(0, emissions.dtype)
    _check(spans, starts)
    wide = emissions.astype(xp.float64)                                            # large sums are subtracted from each other
    scores = Scores(wide, *(part.astype(xp.float64)
                            for part in chain_scores(emissions, transitions, start, end, legal)))
    open_ends = xp.zeros_like(scores.transitions, dtype=bool) if continues is None else xp.asarray(continues)
    alpha, beta, log_partition = _sums(scores, starts, xp)
    sentence = np.searchsorted(starts, spans[:, 0].tolist(), side="right") - 1
    bounds = xp.asarray(np.stack([starts[sentence], starts[sentence + 1]]))        # (2, S) of the span's sentence
    log_probability = (_before(scores, alpha, spans, tags, bounds[0], open_ends, xp)
                       + _inside(scores, spans, tags, xp)
                       + _after(scores, beta, spans, tags, bounds[1], open_ends, xp)
                       - log_partition[xp.asarray(sentence)])
    return xp.minimum(xp.exp(log_probability), 1).astype(emissions.dtype)


def _sums(scores: Scores, starts: np.ndarray, xp: ModuleType) -> tuple[Array, Array, Array]:
    """log A (T, K) and log B (T, K) in packed order, log Z (B,)."""
    steps = time_steps(starts, xp)
    forward = log_alpha(scores, steps)
    log_partition = xp.zeros(len(starts) - 1)
    log_partition[steps.order] = log_sum(forward[steps.last] + scores.end, 1, xp)
    alpha, beta = xp.empty_like(forward), xp.empty_like(forward)
    alpha[steps.rows], beta[steps.rows] = forward, log_beta(scores, steps)
    return alpha, beta, log_partition


def _before(scores: Scores, alpha: Array, spans: Array, tags: Array, sentence_start: Array, continues: Array,
            xp: ModuleType) -> Array:
    """(S,) log of the sum over everything up to and including the first token of each span."""
    first = spans[:, 0]
    tag = tags[first]
    into = alpha[xp.maximum(first - 1, 0)] + scores.transitions[:, tag].T          # (S, from)
    inner = log_sum(xp.where(continues[:, tag].T, -xp.inf, into), 1, xp)
    return scores.emissions[first, tag] + xp.where(first == sentence_start, scores.start[tag], inner)


def _inside(scores: Scores, spans: Array, tags: Array, xp: ModuleType) -> Array:
    """(S,) scores of all tags of each span except the first."""
    lengths = spans[:, 1] - spans[:, 0] - 1
    owner = xp.repeat(xp.arange(len(spans)), lengths.tolist())
    rows = xp.arange(len(owner)) - (xp.cumsum(lengths) - lengths - spans[:, 0] - 1)[owner]
    links = scores.transitions[tags[rows - 1], tags[rows]] + scores.emissions[rows, tags[rows]]
    return xp.bincount(owner, weights=links, minlength=len(spans))


def _after(scores: Scores, beta: Array, spans: Array, tags: Array, sentence_end: Array, continues: Array,
           xp: ModuleType) -> Array:
    """(S,) log of the sum over everything after the last token of each span."""
    following = spans[:, 1]
    tag = tags[following - 1]
    row = xp.minimum(following, len(beta) - 1)
    onward = scores.transitions[tag] + scores.emissions[row] + beta[row]           # (S, to)
    inner = log_sum(xp.where(continues[tag], -xp.inf, onward), 1, xp)
    return xp.where(following == sentence_end, scores.end[tag], inner)


def _check(spans: Array, starts: np.ndarray) -> None:
    """Raise ValueError unless every span has tokens, all in one sentence."""
    first, after = (np.asarray(spans[:, k].tolist()) for k in (0, 1))
    within = (first >= 0) & (first < after) & (after <= starts[-1])
    within[within] = np.searchsorted(starts, first[within], "right") == np.searchsorted(starts, after[within] - 1, "right")
    if not within.all():
        wrong = int(np.flatnonzero(~within)[0])
        raise ValueError(f"spans: expected [first, last + 1) inside one sentence, got [{first[wrong]}, {after[wrong]})")
