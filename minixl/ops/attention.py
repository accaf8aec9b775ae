"""Multi-head scaled dot-product attention within each sentence of a packed batch.  Vaswani et al. 2017, eq. 1.

    forward    scores  = (query · scale) keyᵀ                 scale = 1/√D, per sentence and head
               probs   = softmax(scores)
               context = dropout(probs) value
               visible "before": a word sees itself and the words before it, "after": itself and those after it;
               the scores of the others are -∞, and the gradients through them are exactly 0
    backward   dvalue  = dropout(probs)ᵀ dcontext
               dprobs  = dropout'(dcontext valueᵀ)
               dscores = probs · (dprobs - Σ dprobs · probs)
               dropout's 1/(1-p) is applied to context and dcontext, which have fewer elements than the scores
               softmax subtracts the largest score of a row only from scores that might be large enough to overflow
               dquery  = dscores key · scale,   dkey = dscoresᵀ (query · scale)

Neighbouring sentences of equal length are computed together (a batch sorted by length has few such groups), so there is no
padding, no mask and no unused score.  The groups are spread over the threads; each is small enough for the CPU cache.
CUDA version: kernels/attention.cu.  Checked against PyTorch and against loops in tests/ops/test_attention.py.
"""
from math import sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module, in_parallel, op
from minixl.blas import single_threaded
from minixl.ops.dropout import dropout_mask, dropout_scale
from minixl.ops.softmax import row_maxima

LARGE = 80     # scores up to this size need no shift: exp(80) of 6000 words can be added, and exp(-80) is not too small
ALL, BEFORE, AFTER = VISIBLE = ("all", "before", "after")              # the words that a word sees


class LengthGroup(NamedTuple):
    """Neighbouring sentences of one length, as slices of the packed rows and of the flat scores."""

    rows: slice     # n · length rows of query, key, value
    scores: slice   # n · heads · length² elements of the flat scores
    length: int


class AttentionCache(NamedTuple):
    query: Array        # (T, H)   scaled by 1/√D
    key: Array          # (T, H)
    value: Array        # (T, H)
    probs: Array        # (S,)     S = Σ heads · length²; each group holds an (n, heads, length, length) block
    mask: Array | None  # (S,)     bool, dropout on probs
    scale: float        # 1 / (1 - p)
    groups: list[LengthGroup]
    heads: int


@op
def attention_forward(query: Array, key: Array, value: Array, starts: np.ndarray, *, heads: int, visible: str = ALL,
                      dropout: float = 0.0, rng=None, mask: Array | None = None) -> tuple[Array, AttentionCache]:
    """query, key, value (T, H), starts (B+1,) on the CPU -> context (T, H).

    visible: one of VISIBLE; rng or mask (S,) as in dropout_forward.
    """
    xp = array_module(query, key, value)
    check_visible(visible)
    groups = equal_length_groups(starts, heads)
    query = query * query.dtype.type(1 / sqrt(query.shape[1] // heads))
    probs = xp.empty(groups[-1].scores.stop if groups else 0, query.dtype)
    if mask is None and dropout and rng is not None:
        mask = dropout_mask(probs.shape, dropout, rng, xp)
    cache = AttentionCache(query, key, value, probs, mask, dropout_scale(dropout), groups, heads)
    context = xp.empty(query.shape, query.dtype)

    def one_group(group: LengthGroup) -> None:
        q, k, v, out = (_split(array, group, heads) for array in (query, key, value, context))  # (n, A, l, D)
        p = probs[group.scores].reshape(*q.shape[:2], group.length, group.length)               # (n, A, l, l) view
        xp.matmul(q, k.swapaxes(2, 3), out=p)
        if visible != ALL:
            p += _hidden(group.length, visible, p.dtype, xp)
        _limit(p, q, k, xp)
        xp.exp(p, out=p)
        p /= xp.einsum("nalk->nal", p)[..., None]
        out[...] = _kept(p, group, cache) @ v

    _for_each(one_group, groups, xp)
    if mask is not None:
        context *= context.dtype.type(cache.scale)
    return context, cache


@op
def attention_backward(dcontext: Array, cache: AttentionCache) -> tuple[Array, dict[str, Array]]:
    """dcontext (T, H) -> dquery (T, H) and {"key": dkey, "value": dvalue}, (T, H) each."""
    xp = array_module(dcontext)
    dquery, dkey, dvalue = (xp.empty(dcontext.shape, dcontext.dtype) for _ in range(3))
    scale = dcontext.dtype.type(1 / sqrt(dcontext.shape[1] // cache.heads))
    if cache.mask is not None:
        dcontext = dcontext * dcontext.dtype.type(cache.scale)         # once here instead of twice for every score

    def one_group(group: LengthGroup) -> None:
        q, k, v, dc, dq, dk, dv = (_split(array, group, cache.heads) for array in
                                   (cache.query, cache.key, cache.value, dcontext, dquery, dkey, dvalue))
        p = cache.probs[group.scores].reshape(*q.shape[:2], group.length, group.length)         # (n, A, l, l)
        dv[...] = _kept(p, group, cache).swapaxes(2, 3) @ dc
        dp = dc @ v.swapaxes(2, 3)                                                              # (n, A, l, l)
        if cache.mask is not None:
            dp *= cache.mask[group.scores].reshape(p.shape)
        dp -= xp.einsum("nalk,nalk->nal", dp, p)[..., None]                                     # in one pass
        dp *= p                                                                                 # now dscores
        dq[...] = dp @ k
        dk[...] = dp.swapaxes(2, 3) @ q

    _for_each(one_group, cache.groups, xp)
    dquery *= scale
    return dquery, {"key": dkey, "value": dvalue}


def check_visible(visible: str) -> None:
    """Raise ValueError unless it is one of VISIBLE."""
    if visible not in VISIBLE:
        raise ValueError(f"visible: expected one of {', '.join(VISIBLE)}, got {visible!r}")


def _limit(p: Array, q: Array, k: Array, xp) -> None:
    """Subtract from p (n, A, l, l) the largest score of every row, of heads whose scores may be large: |q · k| <= |q| |k|.

    With CuPy, of all, since the host would have to wait for the answer.
    """
    if xp is np:
        query, key = (np.einsum("nald,nald->nal", array, array).max(axis=2) for array in (q, k))      # (n, A) largest squares
        large = query * key > LARGE * LARGE
        if not large.all():
            if large.any():
                p[large] -= row_maxima(p[large])
            return
    p -= row_maxima(p)


def _hidden(length: int, visible: str, dtype: np.dtype, xp) -> Array:
    """Return (l, l): -inf where query i does not see key j, 0 elsewhere."""
    places = xp.arange(length)
    later = places[None, :] > places[:, None]
    return xp.where(later if visible == BEFORE else later.T, dtype.type(-np.inf), dtype.type(0))


def equal_length_groups(starts: np.ndarray, heads: int) -> list[LengthGroup]:
    """Group neighbouring sentences of equal length; a group's scores have at most 2^18 elements, to fit the CPU cache."""
    groups: list[LengthGroup] = []
    lengths = np.diff(starts).tolist()
    sentence, row, score = 0, 0, 0
    while sentence < len(lengths):
        length = lengths[sentence]
        limit = max(1, (1 << 18) // max(1, heads * length * length))
        count = 1
        while count < limit and sentence + count < len(lengths) and lengths[sentence + count] == length:
            count += 1
        if length:
            size = count * heads * length * length
            groups.append(LengthGroup(slice(row, row + count * length), slice(score, score + size), length))
            row, score = row + count * length, score + size
        sentence += count
    return groups


def _for_each(function, groups: list[LengthGroup], xp) -> None:
    """Call function(group) for every group: on a CPU on all threads, largest groups first, so that the threads end together."""
    if xp is np and len(groups) > 1:
        with single_threaded():        # two threads whose BLAS calls each want both cores wait for each other
            in_parallel(function, sorted(groups, key=lambda group: -(group.scores.stop - group.scores.start)))
    else:
        for group in groups:
            function(group)


def _split(array: Array, group: LengthGroup, heads: int) -> Array:
    """View the group's rows (n·l, H) as (n, A, l, D)."""
    return array[group.rows].reshape(-1, group.length, heads, array.shape[1] // heads).swapaxes(1, 2)


def _kept(probs: Array, group: LengthGroup, cache: AttentionCache) -> Array:
    """Return the probabilities with zeros where dropout's mask has them, not yet scaled."""
    if cache.mask is None:
        return probs
    return probs * cache.mask[group.scores].reshape(probs.shape)
