"""Scores: entity F1 by seqeval, accuracy, figures by class; mean and standard deviation."""
from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Score = dict[str, Any]


def score_entities(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, strict: bool = False) -> Score:
    """Return micro-averaged entity precision, recall and F1 (0..1), the number of gold entities, the same by type, and macro F1.

    The default reads tags leniently, as conlleval does: an I-X that continues nothing opens an entity.  strict=True takes
    IOB2 literally.  seqeval does both.
    """
    from seqeval.metrics import classification_report                    # slow: it imports scikit-learn
    from seqeval.scheme import IOB2

    opens = (lambda tag: tag.startswith("B")) if strict else (lambda tag: tag != "O")
    if not any(opens(tag) for side in (gold, predicted) for tags in side for tag in tags):      # seqeval divides by zero
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0, "support": 0, "macro_f1": 0.0, "by_type": {}}
    mode = {"mode": "strict", "scheme": IOB2} if strict else {}
    report = classification_report(list(gold), list(predicted), output_dict=True, zero_division=0, **mode)
    rows = {name: {"f1": float(row["f1-score"]), "precision": float(row["precision"]), "recall": float(row["recall"]),
                   "support": int(row["support"])} for name, row in report.items()}
    return {**rows["micro avg"], "macro_f1": rows["macro avg"]["f1"],
            "by_type": {name: row for name, row in rows.items() if not name.endswith(" avg")}}


def score_labels(gold: Sequence[str], predicted: Sequence[str]) -> Score:
    """Return accuracy (0..1) and the number of items."""
    right = sum(a == b for a, b in zip(gold, predicted, strict=True))
    return {"accuracy": right / max(len(gold), 1), "support": len(gold)}


def by_class(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, Score]:
    """Return precision, recall, F1 (0..1) and the number of gold items of every class, the most frequent first."""
    counts = [Counter(labels) for labels in (gold, predicted, (a for a, b in zip(gold, predicted, strict=True) if a == b))]
    support, guesses, right = counts
    return {label: {"f1": 2 * right[label] / (support[label] + guesses[label]), "precision": right[label] / max(guesses[label], 1),
                    "recall": right[label] / max(support[label], 1), "support": support[label]}
            for label in sorted({*support, *guesses}, key=lambda label: (-support[label], label))}


def macro_f1(classes: Mapping[str, Score]) -> float:
    """Return the mean F1 of the classes, those that are only predicted included; 0 without any."""
    return sum(row["f1"] for row in classes.values()) / max(len(classes), 1)


def confusion(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return gold label -> predicted label -> how often, without pairs that do not occur."""
    counts: dict[str, dict[str, int]] = {}
    for (label, guess), count in sorted(Counter(zip(gold, predicted, strict=True)).items()):
        counts.setdefault(label, {})[guess] = count
    return counts


def confused(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """Return gold label, predicted label and count of all wrong predictions in a confusion matrix, the most frequent first."""
    pairs = [(gold, predicted, count) for gold, row in counts.items() for predicted, count in row.items() if gold != predicted]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))


def words_of(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the gold and the predicted tags of all words that were read: a truncated sentence has fewer predictions."""
    pairs = [pair for tags, guesses in zip(gold, predicted, strict=True) for pair in zip(tags, guesses, strict=False)]
    return [tag for tag, _ in pairs], [guess for _, guess in pairs]


def score(task: str, gold: Sequence[Any], predicted: Sequence[Any], *, strict: bool = False) -> Score:
    """Return the task's score: of entities for ner, words for pos, documents for classification."""
    if task == "ner":
        # a truncated sentence has fewer predictions than words: as in the papers, the rest is not scored
        return score_entities([g[:len(p)] for g, p in zip(gold, predicted, strict=True)], predicted, strict=strict)
    if task == "pos":
        words = words_of(gold, predicted)
        tags = by_class(*words)
        return {**score_labels(*words), "macro_f1": macro_f1(tags), "by_tag": tags}
    classes = by_class(gold, predicted)
    return {**score_labels(gold, predicted), "macro_f1": macro_f1(classes), "by_class": classes,
            "confusion": confusion(gold, predicted)}


def figures(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Return language -> score without the tables by type, tag or class: what is small enough for every evaluation's record."""
    return {language: {name: value for name, value in score.items() if not isinstance(value, dict)}
            for language, score in scores.items()}


def main_figure(task: str) -> str:
    """Return the figure that selects models: "f1" or "accuracy"."""
    return "f1" if task == "ner" else "accuracy"


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation (n - 1), which is 0 for a single value.  Raises StatisticsError for none."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
