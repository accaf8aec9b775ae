"""What a model predicts for unlabelled text, and the balanced selection of the surest predictions.  Dong et al. 2020, section 2.

An item is a document or a sentence.  It can be selected for a class:

    classification    the class that is predicted; confidence: its probability
    ner               every entity type that is predicted in the sentence, or "no entity"; confidence: the least of its entities,
                      or of its words if it has none
    pos               every tag that is predicted in the sentence; confidence: the least of its words

For each class, the K items with the highest confidence that are still in the pool are selected, or all there are; a class that
is predicted for none is skipped.  The rarest class chooses first, so that a sentence with several types counts for the one with
the fewest.  Two controls draw instead: K items of each class, or as many of the whole pool, whatever their classes.
Tests: tests/methods/self_learning/test_selection.py.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minixl.backend import to_numpy
from minixl.data.encoding import Encoded, scored_starts
from minixl.data.schemes import legal_transitions, parse_tag, paths_to_tags, spans
from minixl.models.family import Model
from minixl.prediction import best_paths, source_scores, word_scores

SUREST, RANDOM, UNBALANCED = RULES = ("surest", "random", "unbalanced")      # which items are selected
CONSTANT, LINEAR, ALL = SCHEDULES = ("constant", "linear", "all")            # how many
NO_ENTITY = "no entity"
NOT_SELECTED = -1


class Predicted(NamedTuple):
    """A model's predictions for N items with L labels: one for each document, or one for each word."""

    labels: np.ndarray       # (L,)    class numbers of the model
    starts: np.ndarray       # (N+1,)  where each item's labels begin
    confidence: np.ndarray   # (N,)
    classes: np.ndarray      # (N, C)  bool: the classes for which an item can be selected


class Selection(NamedTuple):
    """The items of one language that have been selected so far, with their labels."""

    labels: np.ndarray       # (L,)    class numbers; without meaning for items that are not selected
    starts: np.ndarray       # (N+1,)
    confidence: np.ndarray   # (N,)
    chosen_for: np.ndarray   # (N,)    the class for which an item was selected; NOT_SELECTED
    round: np.ndarray        # (N,)    the round in which it was selected, from 1; 0: not selected

    @property
    def selected(self) -> np.ndarray:
        """(N,) bool."""
        return self.round > 0

    @classmethod
    def none_of(cls, starts: np.ndarray) -> Selection:
        """Return a selection without items."""
        count = len(starts) - 1
        return cls(np.zeros(starts[-1], int), starts, np.zeros(count), np.full(count, NOT_SELECTED), np.zeros(count, int))


def class_names(task: str, labels: Sequence[str]) -> list[str]:
    """Return the names of the classes that are balanced: labels, or entity types and NO_ENTITY."""
    if task != "ner":
        return list(labels)
    types = {parsed[1] for parsed in map(parse_tag, labels) if parsed and parsed[1]}
    return [*sorted(types), NO_ENTITY]


def label_starts(encoded: Encoded, tagger: bool) -> np.ndarray:
    """Return where the labels of each item begin, (N+1,): one label a document, or one a word that is read."""
    return scored_starts(encoded) if tagger else np.arange(encoded.sources + 1)


def predict_items(model: Model, encoded: Encoded, task: str, scheme: str, *, constrained: bool,
                  progress: Callable[[int], None] | None = None) -> Predicted:
    """Predict every item.  scheme: that of the model's labels; constrained: only tag sequences that it allows."""
    if task == "classification":
        log_probs = np.stack(source_scores(model, encoded, progress=progress)).astype(float)       # (N, K)
        probs = np.exp(log_probs - log_probs.max(axis=1, keepdims=True))       # a mean over windows is not normalised
        labels = log_probs.argmax(axis=1)
        return Predicted(labels, label_starts(encoded, False), 1 / probs.sum(axis=1), np.eye(len(model.labels), dtype=bool)[labels])
    scores = word_scores(model, encoded, progress=progress)
    starts, legal = scores.starts, legal_transitions(model.labels, scheme) if constrained else None
    paths = best_paths(scores, model.labels, scheme, constrained, model.decoder())
    words = to_numpy(model.confidences(scores.values, starts, paths, legal=legal))                 # (W,)
    labels, names = to_numpy(paths), class_names(task, model.labels)
    confidence, classes = _least(words, starts), np.zeros((len(starts) - 1, len(names)), bool)
    if task == "pos":
        classes[np.repeat(np.arange(len(classes)), np.diff(starts)), labels] = True
        return Predicted(labels, starts, confidence, classes)
    entities = [(item, kind, start + first, start + end) for item, (start, tags) in
                enumerate(zip(starts[:-1], paths_to_tags(labels, starts, model.labels, scheme), strict=True))
                for kind, first, end in spans(tags)]
    rows = np.array([(first, end) for _, _, first, end in entities], np.int64).reshape(-1, 2)
    of_spans = to_numpy(model.span_confidences(scores.values, starts, rows, paths, legal=legal))
    classes[:, names.index(NO_ENTITY)] = np.diff(starts) > 0           # a sentence without words is never selected
    for (item, kind, _, _), value in zip(entities, of_spans, strict=True):
        if classes[item, names.index(NO_ENTITY)]:
            classes[item, names.index(NO_ENTITY)], confidence[item] = False, value
        classes[item, names.index(kind)], confidence[item] = True, min(confidence[item], value)
    return Predicted(labels, starts, confidence, classes)


def _least(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """values (W,), starts (N+1,) -> the least of each item, (N,); 0 of one without words."""
    ranges = zip(starts[:-1], starts[1:], strict=True)
    return np.array([values[first:last].min() if last > first else 0.0 for first, last in ranges])


def balanced(classes: np.ndarray, confidence: np.ndarray, pool: np.ndarray, count: int) -> np.ndarray:
    """Choose up to `count` items of every class, the surest first: the class that each is chosen for (N,), or NOT_SELECTED.

    classes (N, C) bool, confidence (N,), pool (N,) bool: the items that can be chosen; an item is chosen once.
    """
    chosen, free = np.full(len(pool), NOT_SELECTED), pool.copy()
    for number in np.argsort((classes & pool[:, None]).sum(axis=0), kind="stable"):
        candidates = np.flatnonzero(classes[:, number] & free)
        best = candidates[np.argsort(-confidence[candidates], kind="stable")[:count]]
        chosen[best], free[best] = number, False
    return chosen


def drawn(classes: np.ndarray, pool: np.ndarray, count: int, rng: np.random.Generator, *, by_class: bool) -> np.ndarray:
    """Draw up to `count` items of every class, or as many of the whole pool: what balanced returns."""
    lot = rng.random(len(pool))
    chosen = balanced(classes, lot, pool, count)
    if by_class:
        return chosen
    every = balanced(classes, lot, pool, len(pool))                    # the class of every item that has one
    candidates = np.flatnonzero(every != NOT_SELECTED)
    taken = candidates[np.argsort(-lot[candidates])[:(chosen != NOT_SELECTED).sum()]]
    chosen = np.full(len(pool), NOT_SELECTED)
    chosen[taken] = every[taken]
    return chosen


def extended(before: Selection, predicted: Predicted, count: int, round_number: int, *, revise: bool, rule: str = SUREST,
             rng: np.random.Generator | None = None) -> Selection:
    """Return the selection after a round: K items a class more, or with `revise` all items, with new labels.

    rule: one of RULES; those that draw need rng.
    """
    pool = np.ones(len(before.round), bool) if revise else ~before.selected
    if revise or rule == SUREST:
        chosen = balanced(predicted.classes, predicted.confidence, pool, len(pool) if revise else count)
    else:
        assert rng is not None
        chosen = drawn(predicted.classes, pool, count, rng, by_class=rule == RANDOM)
    new = chosen != NOT_SELECTED
    words = np.repeat(new, np.diff(before.starts))
    return Selection(np.where(words, predicted.labels, before.labels), before.starts,
                     np.where(new, predicted.confidence, before.confidence), np.where(new, chosen, before.chosen_for),
                     np.where(new, round_number, before.round))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of equal labels; 1 if there are none."""
    return float((one == other).mean()) if len(one) else 1.0
