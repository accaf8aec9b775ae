"""The rounds of augmented fine-tuning: how long sentences may be, how long a round lasts, which sentences are in a batch.

    l ~ U(shortest, longest), drawn for every round;  D = the target sentences of at most l words
    a round has zero_resource.round_steps steps, or one pass over D

Everything here is a function of the seed and the lengths of the sentences, so that a run can continue in the middle of a
round.  Test: tests/methods/zero_resource/test_rounds.py.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minixl.settings import Settings

THRESHOLDS, ORDER = 2, 3               # seeds of the draws, after [seed, 0]; languages.py has 1
FEWEST_WORDS, PERCENTILE = 5, 5        # the least threshold is the greater of 5 words and the 5th percentile of all lengths


class Round(NamedTuple):
    """One round: it learns from target sentences of at most `threshold` words, from step `first` on."""

    number: int                        # from 1
    threshold: int
    first: int
    steps: int


def bounds(lengths: np.ndarray, settings: Settings) -> tuple[int, int]:
    """lengths (N,) of the target sentences in words -> the least and the greatest threshold."""
    greatest = settings["zero_resource.longest"] or int(lengths.max())
    least = settings["zero_resource.shortest"] or max(FEWEST_WORDS, int(np.ceil(np.percentile(lengths, PERCENTILE))))
    return min(least, greatest), greatest


def plan(lengths: np.ndarray, examples: np.ndarray, settings: Settings, seed: int, total: int) -> list[Round]:
    """Return the rounds of a run of `total` steps; the last may be cut short.

    lengths, examples (N,): the words of each target sentence, and its windows.
    """
    least, greatest = bounds(lengths, settings)
    rng, rounds, first = np.random.default_rng([seed, 0, THRESHOLDS]), list[Round](), 0
    while first < total:
        threshold = int(rng.integers(least, greatest, endpoint=True))
        one_pass = -(-int(examples[lengths <= threshold].sum()) // settings["train.batch_size"])
        steps = max(1, settings["zero_resource.round_steps"] or one_pass)
        rounds.append(Round(len(rounds) + 1, threshold, first, steps))
        first += steps
    return rounds


def batches(count: int, size: int, seed: int, number: int) -> Iterator[np.ndarray]:
    """Yield the indices of the examples of each batch of a round: shuffled passes over `count` examples."""
    rng = np.random.default_rng([seed, 0, ORDER, number])
    while True:
        order = rng.permutation(count)
        yield from (order[i:i + size] for i in range(0, count, size))
