"""The matrix products of one training step: how many operations, and how fast this machine computes them.

    forward    a layer's six linear maps   2 · T · (4H² + 2HI)        attention   2 products of 2 · H · Σ l²
    backward   twice that for a trained layer, except that the lowest one needs no input gradient from query, key and
               value if everything below is frozen

At the measured rate these products are a lower bound on the time of a step.  The rest of its time goes to everything else:
softmax, gelu, layer normalisation, dropout, the optimiser, and waiting for memory.
"""
from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from minixl.models.bert_config import BertConfig


def linear_shapes(config: BertConfig) -> list[tuple[int, int]]:
    """(out, in) of the linear maps of one layer."""
    hidden, inner = config.hidden_size, config.intermediate_size
    return [(hidden, hidden)] * 4 + [(inner, hidden), (hidden, inner)]


def step_operations(config: BertConfig, lengths: Sequence[int], lowest: int) -> int:
    """Count the multiplications and additions of all products of a step over sentences of these lengths.

    `lowest` is the lowest trained layer, -1 for the embeddings.  The head has too few to count.
    """
    tokens, scores = sum(lengths), sum(length * length for length in lengths)
    linear = 2 * tokens * sum(out * into for out, into in linear_shapes(config))
    attention = 4 * scores * config.hidden_size
    trained = config.num_hidden_layers - max(lowest, 0)
    saved = 3 * 2 * tokens * config.hidden_size ** 2 if lowest >= 0 and trained else 0
    return config.num_hidden_layers * (linear + attention) + 2 * trained * (linear + attention) - saved


class ProductRate:
    """Times the products of one layer for T tokens, forward and backward, into memory allocated beforehand."""

    def __init__(self, config: BertConfig, tokens: int) -> None:
        rng = np.random.Generator(np.random.SFC64(0))
        self.triples = []
        for out, into in dict.fromkeys(linear_shapes(config)):
            shapes = (tokens, into), (tokens, out), (out, into)
            x, dy, weight = (rng.standard_normal(shape, np.float32) for shape in shapes)
            results = np.empty_like(dy), np.empty_like(x), np.empty_like(weight)
            self.triples.append((linear_shapes(config).count((out, into)), x, dy, weight, results))
        self.operations = 3 * 2 * tokens * sum(out * into for out, into in linear_shapes(config))
        self.measure()                                                 # so that page faults on first use are not timed

    def measure(self) -> float:
        """Run one pass; return its operations per second."""
        begin = time.perf_counter()
        for count, x, dy, weight, (y, dx, dweight) in self.triples:
            for _ in range(count):
                np.matmul(x, weight.T, out=y)
                np.matmul(dy, weight, out=dx)
                np.matmul(dy.T, x, out=dweight)
        return self.operations / (time.perf_counter() - begin)
