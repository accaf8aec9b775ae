"""Language discriminators: from an encoder's last hidden states to the logit s of "this is the source language".

    sentence   s_b = weight · mean_t h_t + bias                      Keung et al. 2019: a single affine unit
    token      s_t = out(relu(dense(h_t)))                           AdvPicker (Chen et al. 2021, eq. 3), with biases
    backward   of the ops in reverse; through relu  dx = dy where x > 0

With specials=False both ignore a sentence's first and last piece, [CLS] and [SEP], unless it has no others.
Checked against PyTorch in tests/models/test_discriminators.py.
"""
from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.ops.mean_pooling import MeanPoolingCache, mean_pooling_backward, mean_pooling_forward
from minixl.packing import starts_of
from minixl.parameters import ParameterStore

DISCRIMINATORS = ("sentence", "token")
SOURCE, TARGET = 1.0, 0.0                # labels of the two languages (Keung et al. 2019, section 3.1)


class Discriminator(NamedTuple):
    """The language discriminator that a model has."""

    kind: str = "none"                   # or one of DISCRIMINATORS
    size: int = 500                      # hidden units of "token"


NO_DISCRIMINATOR = Discriminator()


class DiscriminatorCache(NamedTuple):
    rows: Array | None                   # (J,)    rows of hidden that were classified; None: all
    tokens: int                          # T
    pooling: MeanPoolingCache | None     # of "sentence"
    dense: LinearCache | None            # of "token"
    active: Array | None                 # (J, D)  of "token": where relu's input was positive
    out: LinearCache                     # the unit that gives s


def discriminator_shapes(kind: str, hidden_size: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every parameter.  `width`: that of the hidden layer of "token"."""
    if kind not in DISCRIMINATORS:
        raise ValueError(f"discriminator: expected one of {', '.join(DISCRIMINATORS)}, got {kind!r}")
    if kind == "sentence":
        return {"discriminator.weight": (1, hidden_size), "discriminator.bias": (1,)}
    return {"discriminator.dense.weight": (width, hidden_size), "discriminator.dense.bias": (width,),
            "discriminator.out.weight": (1, width), "discriminator.out.bias": (1,)}


def initialise_discriminator(store: ParameterStore, rng: np.random.Generator) -> None:
    """Draw weights and biases uniformly in ± 1/√inputs, like torch.nn.Linear, which AdvPicker's code uses."""
    for parameter in store:
        module, _, last = parameter.name.rpartition(".")
        if parameter.name.startswith("discriminator.") and last in ("weight", "bias"):
            bound = 1 / sqrt(store[f"{module}.weight"].value.shape[1])
            drawn = rng.uniform(-bound, bound, parameter.value.shape)
            parameter.value[...] = store.xp.asarray(drawn, parameter.value.dtype)


def judged(starts: np.ndarray, specials: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """starts (B+1,) -> the rows that a discriminator reads, (J,) or None for all, and starts (B+1,) among these."""
    if specials:
        return None, starts
    lengths = np.diff(starts)
    kept = np.ones(starts[-1], bool)
    inner = lengths > 2
    kept[starts[:-1][inner]] = False
    kept[starts[1:][inner] - 1] = False
    return np.flatnonzero(kept), starts_of(lengths - 2 * inner)


def discriminator_forward(hidden: Array, params: dict[str, dict[str, Array]], *, starts: np.ndarray, kind: str,
                          specials: bool = True) -> tuple[Array, DiscriminatorCache]:
    """hidden (T, H), starts (B+1,) -> logits: (B,) of "sentence", one per row read of "token", (T,) with specials.

    params: the result of store.under("discriminator").
    """
    xp = array_module(hidden)
    rows, inner_starts = judged(starts, specials)
    picked = None if rows is None else xp.asarray(rows)
    x = hidden if picked is None else hidden[picked]                                   # (J, H)
    if kind == "sentence":
        pooled, pooling = mean_pooling_forward(x, inner_starts)                        # (B, H)
        logits, out = linear_forward(pooled, **params[""])                             # (B, 1)
        return logits[:, 0], DiscriminatorCache(picked, len(hidden), pooling, None, None, out)
    x, dense = linear_forward(x, **params["dense"])                                    # (J, D)
    active = x > 0
    x *= active                                                                        # in place: nobody else holds x
    logits, out = linear_forward(x, **params["out"])                                   # (J, 1)
    return logits[:, 0], DiscriminatorCache(picked, len(hidden), None, dense, active, out)


def discriminator_backward(dlogits: Array, cache: DiscriminatorCache, *, need_dx: bool = True,
                           need_grads: bool = True) -> tuple[Array | None, dict]:
    """dlogits (B,) or (J,) -> dhidden (T, H) and the gradients for store.accumulate("discriminator", ...).

    The discriminator's own update needs no dhidden (need_dx=False), the generator's no gradients (need_grads=False).
    """
    dy = dlogits[:, None]                                                              # (B or J, 1)
    if cache.pooling is not None:
        dx, grads = linear_backward(dy, cache.out, need_dx=need_dx, need_grads=need_grads)  # (B, H)
        if dx is not None:
            dx, _ = mean_pooling_backward(dx, cache.pooling)                           # (J, H)
    else:
        assert cache.dense is not None
        dactive, out_grads = linear_backward(dy, cache.out, need_grads=need_grads)         # (J, D)
        dactive *= cache.active
        dx, dense_grads = linear_backward(dactive, cache.dense, need_dx=need_dx, need_grads=need_grads)  # (J, H)
        grads = {"dense": dense_grads, "out": out_grads} if need_grads else {}
    if dx is None or cache.rows is None:
        return dx, grads
    dhidden = array_module(dx).zeros((cache.tokens, dx.shape[1]), dx.dtype)
    dhidden[cache.rows] = dx
    return dhidden, grads
