"""How much the difference of two systems depends on the test sentences: the paired bootstrap of Koehn 2004 (EMNLP).

    counts          right, predicted, gold       (N, 3): entities, words or documents of every sentence or document
    score           2 · right / (predicted + gold), all summed over the N: F1 of entities; accuracy, where predicted = gold
    resample        draw N of the N sentences with replacement; both systems are scored on the same draw
    difference      score of the second minus score of the first; of several seeds, their mean scores on that draw
    95 % interval   between the 2.5th and the 97.5th percentile of the differences of 1000 resamples

A sentence is drawn together with the predictions of all seeds, so the interval says nothing about other seeds.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minixl.data.schemes import spans

RESAMPLES = 1000
DRAWS = 2_000_000                      # sentences drawn at a time, to bound the memory


def sentence_counts(task: str, gold: Sequence[Any], predicted: Sequence[Any]) -> np.ndarray:
    """Return right, predicted and gold (N, 3) of every sentence or document, as evaluation.scores.score counts them."""
    count = {"ner": _entities, "pos": _words}.get(task, _document)
    return np.array([count(g, p) for g, p in zip(gold, predicted, strict=True)], float).reshape(-1, 3)


def _entities(gold: Sequence[str], predicted: Sequence[str]) -> tuple[int, int, int]:
    sides = set(spans(gold[:len(predicted)])), set(spans(predicted))           # the end of a truncated sentence is not scored
    return len(sides[0] & sides[1]), len(sides[1]), len(sides[0])


def _words(gold: Sequence[str], predicted: Sequence[str]) -> tuple[int, int, int]:
    return sum(g == p for g, p in zip(gold, predicted, strict=False)), len(predicted), len(predicted)


def _document(gold: str, predicted: str) -> tuple[int, int, int]:
    return int(gold == predicted), 1, 1


def score_of(totals: np.ndarray) -> np.ndarray:
    """Return the score (...) of summed counts (..., 3); 0 where nothing was predicted and nothing is gold."""
    return 2 * totals[..., 0] / np.maximum(totals[..., 1] + totals[..., 2], 1)


def resampled_differences(first: np.ndarray, second: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the differences (resamples,) of two systems.  first, second: counts (S, N, 3) of S seeds each."""
    counts = np.concatenate([first, second])                                       # (S1 + S2, N, 3)
    systems, sentences, _ = counts.shape
    flat = counts.transpose(1, 0, 2).reshape(sentences, 3 * systems)               # (N, 3 (S1 + S2))
    rng = np.random.default_rng(seed)
    differences = []
    for rows in _parts(resamples, max(1, DRAWS // max(sentences, 1))):
        draws = rng.integers(sentences, size=(rows, sentences)) + sentences * np.arange(rows)[:, None]
        times = np.bincount(draws.ravel(), minlength=rows * sentences).reshape(rows, sentences)    # how often each was drawn
        scores = score_of((times @ flat).reshape(rows, systems, 3))                # (rows, S1 + S2)
        differences.append(scores[:, len(first):].mean(axis=1) - scores[:, :len(first)].mean(axis=1))
    return np.concatenate(differences)


def _parts(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval."""
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)
