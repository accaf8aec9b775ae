"""What every contender is given: the same weights, sentences, batches and settings.

Only NumPy is imported here: a process that measures another engine must not hold minixl's, nor its allocator setting.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minixl.data.encoding import Example

Examples = list[Example]
SETTINGS = {"random": "random, padded to the longest", "grouped": "grouped by length"}
MEGA_BATCH = 50                        # batches that are sorted together, as transformers does


@dataclass(frozen=True, slots=True)
class Work:
    """One comparison."""

    encoder: Path
    head: dict[str, np.ndarray]        # classifier.weight (K, H), classifier.bias (K,): the same start for all
    frozen: list[str]                  # parameters that are not trained, by their Hugging Face names
    settings: dict[str, Any]           # minixl's settings, of which optim.* and model.dropout matter
    batches: dict[str, list[Examples]]  # by the keys of SETTINGS
    seed: int


def choose_batches(examples: Sequence[Example], how: str, *, batch_size: int, count: int, seed: int) -> list[Examples]:
    """At most `count` full batches of an epoch: the first random ones, or length-grouped ones spread over all lengths.

    A random batch stands for any other; a grouped one does not, so every length has its share among those chosen.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    order = rng.permutation(len(examples))
    if how == "grouped":
        order = group_by_length(order, [len(e.input_ids) for e in examples], batch_size)
    full = len(examples) // batch_size
    epoch = [[examples[i] for i in order[k * batch_size:(k + 1) * batch_size]] for k in range(full)]
    if how == "grouped" and count < full:
        epoch.sort(key=pieces)
        return [epoch[int((i + 0.5) / count * full)] for i in range(count)]
    return epoch[:count]


def group_by_length(order: np.ndarray, lengths: Sequence[int], batch_size: int) -> np.ndarray:
    """A shuffled order, sorted by length within stretches of 50 batches, or a quarter of the data if that is less.

    It is transformers' train_sampling_strategy="group_by_length", which also moves the longest sentence to the front.
    """
    stretch = batch_size * max(1, min(len(order) // (batch_size * 4), MEGA_BATCH))
    parts = [order[i:i + stretch] for i in range(0, len(order), stretch)]
    return np.concatenate([part[np.argsort([-lengths[i] for i in part], kind="stable")] for part in parts])


def pieces(batch: Sequence[Example]) -> int:
    """Word pieces of a batch, [CLS] and [SEP] included."""
    return sum(len(example.input_ids) for example in batch)


def padded(batch: Sequence[Example]) -> int:
    """The same with every sentence padded to the longest."""
    return len(batch) * max(len(example.input_ids) for example in batch)


def rates(settings: Mapping[str, Any]) -> tuple[float, float]:
    """Learning rates of encoder and head."""
    return settings["optim.lr"], settings["optim.head_lr"] or settings["optim.lr"]
