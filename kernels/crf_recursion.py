"""Launch kernels/crf_recursion.cu.  Same contract as minixl.ops.crf_recursion, with its own state."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minixl import kernels
from minixl.backend import Array, array_module
from minixl.kernels import blocks, check, check_matrix, size
from minixl.ops import crf_recursion as op
from minixl.ops.steps import Steps

MAX_TAGS = 64


class KernelState(NamedTuple):
    alpha: Array      # (T, K)  log A minus its largest entry, step order
    shift: Array      # (T,)    that entry, relative to the entries of earlier tokens


def forward_sums(scores: op.Scores, steps: Steps,
                 sentences: int) -> tuple[Array, op.Scaled | op.Logarithmic | KernelState]:
    """Return log Z (B,) in float64, 0 for a sentence without tokens, and the state that `marginals` needs."""
    tokens, tags = scores.emissions.shape
    if scores.emissions.dtype == np.float64 or tags > MAX_TAGS:
        return kernels.formula(op.forward_sums)(scores, steps, sentences)
    xp = array_module(scores.emissions)
    _check(scores)
    running = len(steps.order)
    log_partition = xp.zeros(sentences, np.float64)
    state = KernelState(kernels.empty(scores.emissions, (tokens, tags)), kernels.empty(scores.emissions, (tokens,)))
    if running:
        values = kernels.empty(scores.emissions, (running,), np.float64)
        kernels.load("crf_recursion.cu", "crf_forward")(
            (running,), (32 * blocks(tags, 32),),
            (*scores, *_places(steps, xp), *state, values, size("L", len(steps.bounds) - 1), size("K", tags)))
        log_partition[steps.order] = values
    return log_partition, state


def marginals(scores: op.Scores, steps: Steps, state: op.Scaled | op.Logarithmic | KernelState,
              weight: Array) -> tuple[Array, Array]:
    """Return node (T, K) in packed order, and the edges (K, K), summed over all tokens with weights (T,)."""
    if not isinstance(state, KernelState):
        return kernels.formula(op.marginals)(scores, steps, state, weight)
    xp, (tokens, tags), running = array_module(scores.emissions), scores.emissions.shape, len(steps.order)
    _check(scores)
    check("weight", weight, (tokens,))
    node, sums = kernels.empty(weight, (tokens, tags)), kernels.empty(weight, (tags, tags))
    edges = kernels.empty(weight, (running, tags, tags))
    if running:
        kernels.load("crf_recursion.cu", "crf_marginals")(
            (running,), (32 * blocks(tags, 32),),
            (scores.emissions, scores.transitions, scores.end, *_places(steps, xp), *state, weight, node, edges,
             size("L", len(steps.bounds) - 1), size("K", tags)))
    kernels.load("crf_recursion.cu", "crf_edges")(
        (blocks(tags * tags, 128),), (128,), (edges, sums, size("R", running), size("K", tags)))
    return node, sums


def _check(scores: op.Scores) -> None:
    tags = check_matrix("emissions", scores.emissions)[1]
    for name, shape in (("transitions", (tags, tags)), ("start", (tags,)), ("end", (tags,))):
        check(name, getattr(scores, name), shape)


def _places(steps: Steps, xp) -> tuple[Array, Array]:
    return xp.asarray(steps.rows, np.int64), xp.asarray(np.asarray(steps.bounds, np.int64))
