"""MUSE's discriminator of word vectors: is this vector a mapped source word?  Conneau et al. 2018, section 2.1 and 3.1.

    input dropout -> dense.0 -> leaky ReLU -> dense.1 -> leaky ReLU -> out -> logit s,  σ(s) = P(source)
    leaky ReLU    y = x where x > 0, else SLOPE · x                   dx = dy · (1 where x > 0, else SLOPE)

Checked against PyTorch in tests/alignment/test_discriminator.py.
"""
from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.parameters import ParameterStore

SLOPE = 0.2                                        # of leaky ReLU below 0
LAYERS = ("dense.0", "dense.1", "out")
PREFIX = "discriminator"


class DiscriminatorCache(NamedTuple):
    dropout: DropoutCache
    layers: tuple[LinearCache, ...]                # of dense.0, dense.1, out
    slopes: tuple[Array, ...]                      # (N, width) of dense.0 and dense.1


def discriminator_shapes(dim: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every parameter for vectors (H,) with H = dim and hidden layers of `width`."""
    sizes = {"dense.0": (width, dim), "dense.1": (width, width), "out": (1, width)}
    return {f"{PREFIX}.{layer}.{part}": shape if part == "weight" else shape[:1]
            for layer, shape in sizes.items() for part in ("weight", "bias")}


def initialise_discriminator(store: ParameterStore, rng: np.random.Generator) -> None:
    """Draw all weights and biases uniformly in ± 1/√inputs, like torch.nn.Linear, which MUSE uses."""
    for layer in LAYERS:
        bound = 1 / sqrt(store[f"{PREFIX}.{layer}.weight"].value.shape[1])
        for part in ("weight", "bias"):
            value = store[f"{PREFIX}.{layer}.{part}"].value
            value[...] = store.xp.asarray(rng.uniform(-bound, bound, value.shape), value.dtype)


def discriminator_forward(x: Array, store: ParameterStore, *, dropout: float = 0.0,
                          mask: Array | None = None) -> tuple[Array, DiscriminatorCache]:
    """x (N, H) -> logits (N,).  mask (N, H): which inputs are kept; None drops none (the mapping's step)."""
    xp, params = array_module(x), store.under(PREFIX)
    x, dropped = dropout_forward(x, dropout, mask=mask)
    layers, slopes = [], []
    for layer in LAYERS:
        x, cache = linear_forward(x, **params[layer])                                  # (N, width), at last (N, 1)
        layers.append(cache)
        if layer != "out":
            slopes.append(xp.where(x > 0, x.dtype.type(1), x.dtype.type(SLOPE)))
            x *= slopes[-1]
    return x[:, 0], DiscriminatorCache(dropped, tuple(layers), tuple(slopes))


def discriminator_backward(dlogits: Array, cache: DiscriminatorCache, *, need_dx: bool = False,
                           need_grads: bool = False) -> tuple[Array | None, dict]:
    """dlogits (N,) -> dx (N, H), for the mapping's step, and the gradients by layer, for the discriminator's own."""
    grads: dict[str, dict[str, Array]] = {}
    dx = dlogits[:, None]                                                              # (N, 1)
    for number, layer in reversed(list(enumerate(LAYERS))):
        if layer != "out":
            dx = dx * cache.slopes[number]
        below = need_dx or number > 0
        if need_grads:
            dx, grads[layer] = linear_backward(dx, cache.layers[number], need_dx=below)
        else:
            dx = dx @ cache.layers[number].weight if below else None
    return (None if dx is None else dropout_backward(dx, cache.dropout)[0]), grads
