"""Linear-chain conditional random field: negative log-likelihood of the gold tags.  Lafferty et al. 2001.

    score(y) = start_y1 + Σ_t x_t,yt + Σ_t transition_yt-1,yt + end_yn
    nll      = log Z - score(gold)          log Z = log Σ over all tag sequences y of e^score(y)

    backward   dx_t          = dnll · (node_t - onehot(gold_t))            node, edge: probability of a tag, of a pair
               dtransitions  = Σ dnll · (edge_t - onehot(gold_t-1, gold_t))
               dstart, dend  = Σ dnll · (node - onehot(gold)) at the first, at the last token

log Z and the marginals come from crf_recursion.py.  start and end are optional (Bari et al. 2020 have none), and
`legal` rules out tag sequences in training as in viterbi.  Checked against all K**n paths and against
pytorch-crf in tests/ops/test_crf.py.
"""
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, op
from minixl.errors import UserError
from minixl.ops.crf_recursion import Logarithmic, Scaled, Scores, forward_sums, marginals
from minixl.ops.steps import Steps, time_steps
from minixl.ops.viterbi import LegalMoves, chain_scores
from minixl.packing import owner_of, sums_by_sentence


class CRFCache(NamedTuple):
    scores: Scores                # emissions, transitions, start, end; zeros for None
    state: Scaled | Logarithmic   # of the forward recursion, for the marginals
    tags: Array                   # (T,)    gold
    owner: Array                  # (T,)    sentence of each token
    ends: tuple[Array, Array]     # (R,)    rows of the first and last token of each sentence with tokens
    boundaries: tuple[bool, bool]  # whether start, end are parameters
    steps: Steps


@op
def crf_forward(emissions: Array, transitions: Array, start: Array | None = None, end: Array | None = None, *,
                tags: Array, starts: np.ndarray, legal: LegalMoves | None = None) -> tuple[Array, CRFCache]:
    """emissions (T, K) packed, transitions (K, K) [from, to], start (K,), end (K,) -> nll (B,) of each sentence.

    tags (T,) are the gold tags; starts (B+1,).  A sentence without tokens has nll 0.
    """
    xp = array_module(emissions, transitions, start, end)
    tags, steps = xp.asarray(tags), time_steps(starts, xp)
    _check(emissions, tags, starts)
    scores = Scores(emissions, *chain_scores(emissions, transitions, start, end, legal))
    owner = xp.asarray(owner_of(starts))
    first, last = xp.asarray(starts[:-1])[steps.order], xp.asarray(starts[1:])[steps.order] - 1
    gold = _gold_score(scores, tags, owner, (first, last), starts)
    if legal is not None and not xp.isfinite(gold).all():
        sentence = int(xp.flatnonzero(~xp.isfinite(gold))[0])
        raise UserError(f"tags: the gold tags of sentence {sentence} of the batch are illegal in this tag scheme; "
                        "training that rules out illegal sequences needs legal gold tags")
    log_partition, state = forward_sums(scores, steps, len(starts) - 1)
    cache = CRFCache(scores, state, tags, owner, (first, last), (start is not None, end is not None), steps)
    return (log_partition - gold).astype(emissions.dtype), cache


@op
def crf_backward(dy: Array, cache: CRFCache) -> tuple[Array, dict[str, Array]]:
    """dy (B,) -> demissions (T, K) and the gradients of transitions and of start and end, unless they were None."""
    xp = array_module(cache.tags)
    tags, owner, (first, last) = cache.tags, cache.owner, cache.ends
    weight = dy.astype(cache.scores.emissions.dtype)[owner]                        # (T,)
    node, edges = marginals(cache.scores, cache.steps, cache.state, weight)
    node[xp.arange(len(node)), cache.tags] -= 1
    node *= weight[:, None]
    inside = owner[1:] == owner[:-1]                                               # pairs within a sentence
    one_hot = xp.eye(node.shape[1], dtype=node.dtype)[tags]                        # a product: bincount adds in any order on a GPU
    edges -= (one_hot[:-1] * (inside * weight[1:])[:, None]).T @ one_hot[1:]
    grads = {"transitions": edges}
    if cache.boundaries[0]:
        grads["start"] = node[first].sum(axis=0)
    if cache.boundaries[1]:
        grads["end"] = node[last].sum(axis=0)
    return node, grads


def _gold_score(scores: Scores, tags: Array, owner: Array, ends: tuple[Array, Array], starts: np.ndarray) -> Array:
    """score(gold) of each sentence, (B,) in float64."""
    (emissions, transitions, start, end), (first, last) = scores, ends
    xp = array_module(emissions)
    terms = emissions[xp.arange(len(tags)), tags].astype(xp.float64)               # (T,)
    terms[1:] += xp.where(owner[1:] == owner[:-1], transitions[tags[:-1], tags[1:]], 0)
    terms[first] += start[tags[first]]
    terms[last] += end[tags[last]]
    return sums_by_sentence(terms, starts, xp)


def _check(emissions: Array, tags: Array, starts: np.ndarray) -> None:
    """Raise ValueError unless each row of emissions has one tag from 0 to K-1 and the sentences cover all rows."""
    if tags.shape != emissions.shape[:1] or int(starts[-1]) != len(tags):
        raise ValueError(f"crf: expected one tag for each of the {len(emissions)} rows of emissions, got tags of shape "
                         f"{tags.shape} and sentences that end at row {int(starts[-1])}")
    if len(tags) and not 0 <= int(tags.min()) <= int(tags.max()) < emissions.shape[1]:
        raise ValueError(f"tags: expected numbers from 0 to {emissions.shape[1] - 1}, "
                         f"got {int(tags.min())} to {int(tags.max())}")
