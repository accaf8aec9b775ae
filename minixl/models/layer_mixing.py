"""One representation of each word from the layers of a fixed language model.  Bao et al. 2019, section 2.4.

    states h_t (L, D) of a word: layer by layer, forward and backward states side by side
    fully weighted    y_t = Σ_l softmax_l(F) ⊙ h_tl                                                    F (L, D)
    self weighted     y_t = Σ_l softmax_l(scores_t) h_tl,
                      scores_t = tanh(out(tanh(dense(h_t1 ⊕ ... ⊕ h_tL))))                             dense: L · D -> S

The second tanh is that of the paper's code: no weight is more than e² times another.  backward: of the ops in reverse, without a
gradient of the states.  Checked against PyTorch in tests/models/test_mlma_tagger.py.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops.layer_sums import (LayerSumCache, fully_weighted_backward, fully_weighted_forward, self_weighted_backward,
                                   self_weighted_forward)
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.ops.softmax import softmax_forward

FULLY, SELF = KINDS = ("fully-weighted", "self-weighted")
DEVIATION = 0.02                       # of the normal distribution of initial weights

Modules = Mapping[str, Mapping[str, Array]]


class MixingCache(NamedTuple):
    total: LayerSumCache
    dense: LinearCache | None          # None where F has the weights, as all that follows
    active: Array                      # (T, S)  tanh's output
    out: LinearCache | None
    scores: Array                      # (T, L)  tanh's output


def mixing_shapes(kind: str, layers: int, size: int, inner: int) -> dict[str, tuple[int, ...]]:
    """Return parameter name -> shape for L layers of states of D = size, S = inner."""
    if kind == FULLY:
        return {"mixing.weight": (layers, size)}
    return {"mixing.dense.weight": (inner, layers * size), "mixing.dense.bias": (inner,),
            "mixing.out.weight": (layers, inner), "mixing.out.bias": (layers,)}


def initial_weight(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the initial value of a parameter: matrices N(0, 0.02), biases 0."""
    return rng.normal(0, DEVIATION, shape) if len(shape) == 2 else np.zeros(shape)


def mixing_forward(states: Array, params: Modules) -> tuple[Array, MixingCache]:
    """states (T, L, D); params: the modules under "mixing" -> y (T, D)."""
    if "dense" not in params:
        y, total = fully_weighted_forward(states, **params[""])
        return y, MixingCache(total, None, None, None, None)
    xp = array_module(states)
    inner, dense = linear_forward(states.reshape(len(states), -1), **params["dense"])   # (T, S)
    active = xp.tanh(inner)
    raw, out = linear_forward(active, **params["out"])                                  # (T, L)
    scores = xp.tanh(raw)
    y, total = self_weighted_forward(states, scores)
    return y, MixingCache(total, dense, active, out, scores)


def mixing_backward(dy: Array, cache: MixingCache) -> dict[str, Any]:
    """dy (T, D) -> the gradients by module."""
    if cache.dense is None or cache.out is None:
        return fully_weighted_backward(dy, cache.total, need_dx=False)[1]
    _, grads = self_weighted_backward(dy, cache.total, need_dx=False)
    dactive, of_out = linear_backward(grads["scores"] * (1 - cache.scores * cache.scores), cache.out)
    _, of_dense = linear_backward(dactive * (1 - cache.active * cache.active), cache.dense, need_dx=False)
    return {"dense": of_dense, "out": of_out}


def layer_shares(states: Array, params: Modules) -> Array:
    """Return the mean weight of each layer, (L,): over dimensions, or over the words of `states`."""
    if "dense" not in params:
        return softmax_forward(params[""]["weight"].T)[0].mean(axis=0)
    return mixing_forward(states, params)[1].total.softmax.probs.mean(axis=0)
