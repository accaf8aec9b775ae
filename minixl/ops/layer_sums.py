"""Weighted sums of the layers of a language model, one representation of each word.  Bao et al. 2019, section 2.4.

    fully weighted    w = softmax over the layers of F, for each dimension          y_t = Σ_l w_l ⊙ h_tl
                      dw_l = Σ_t h_tl ⊙ dy_t,       dF_l = w_l ⊙ (dw_l - Σ_k w_k ⊙ dw_k),      dh_tl = w_l ⊙ dy_t
    self weighted     w_t = softmax over the layers of scores_t, for each word      y_t = Σ_l w_tl h_tl
                      dw_tl = h_tl · dy_t,          dscores_tl = w_tl (dw_tl - Σ_k w_tk dw_tk),   dh_tl = w_tl dy_t

The scores come from the states themselves (models/layer_mixing.py).  States are (T, L, H), so that a word's layers are neighbours.
The language model below is fixed, so dh is computed only on request.  Checked in tests/ops/test_layer_sums.py.
"""
from typing import NamedTuple

from minixl.backend import Array, array_module, op
from minixl.ops.softmax import softmax_backward, softmax_forward, SoftmaxCache


class LayerSumCache(NamedTuple):
    states: Array          # (T, L, H)  a reference, not a copy
    softmax: SoftmaxCache  # of the transpose of F, (H, L), or of the scores, (T, L)


@op
def fully_weighted_forward(states: Array, weight: Array) -> tuple[Array, LayerSumCache]:
    """states (T, L, H), weight (L, H) -> y (T, H)."""
    shares, softmax = softmax_forward(weight.T)                                        # (H, L)
    return array_module(states, weight).einsum("tlh,hl->th", states, shares), LayerSumCache(states, softmax)


@op
def fully_weighted_backward(dy: Array, cache: LayerSumCache, *, need_dx: bool = True) -> tuple[Array | None, dict[str, Array]]:
    """dy (T, H) -> dstates (T, L, H), None unless needed, and the gradient of weight (L, H)."""
    xp, states = array_module(dy), cache.states
    dweight, _ = softmax_backward(xp.einsum("tlh,th->hl", states, dy), cache.softmax)  # (H, L)
    dstates = dy[:, None] * cache.softmax.probs.T if need_dx else None
    return dstates, {"weight": xp.ascontiguousarray(dweight.T)}


@op
def self_weighted_forward(states: Array, scores: Array) -> tuple[Array, LayerSumCache]:
    """states (T, L, H), scores (T, L) -> y (T, H)."""
    xp = array_module(states, scores)
    shares, softmax = softmax_forward(scores)                                          # (T, L)
    return xp.matmul(shares[:, None], states)[:, 0], LayerSumCache(states, softmax)


@op
def self_weighted_backward(dy: Array, cache: LayerSumCache, *, need_dx: bool = True) -> tuple[Array | None, dict[str, Array]]:
    """dy (T, H) -> dstates (T, L, H), None unless needed, and the gradient of scores (T, L)."""
    dshares = array_module(dy).matmul(cache.states, dy[:, :, None])[:, :, 0]           # (T, L)
    dscores, _ = softmax_backward(dshares, cache.softmax)
    return (cache.softmax.probs[:, :, None] * dy[:, None] if need_dx else None), {"scores": dscores}
