"""Scores: entity F1 by seqeval, accuracy; mean and standard deviation."""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Score = dict[str, Any]


def score_entities(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, strict: bool = False) -> Score:
    """Return micro-averaged entity precision, recall and F1 (0..1), the number of gold entities, and the same by type.

    The default reads tags leniently, as conlleval does: an I-X that continues nothing opens an entity.  strict=True takes
    IOB2 literally.  seqeval does both.
    """
    from seqeval.metrics import classification_report                    # slow: it imports scikit-learn
    from seqeval.scheme import IOB2

    opens = (lambda tag: tag.startswith("B")) if strict else (lambda tag: tag != "O")
    if not any(opens(tag) for side in (gold, predicted) for tags in side for tag in tags):      # seqeval divides by zero
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0, "support": 0, "by_type": {}}
    mode = {"mode": "strict", "scheme": IOB2} if strict else {}
    report = classification_report(list(gold), list(predicted), output_dict=True, zero_division=0, **mode)
    figures = {name: {"f1": float(row["f1-score"]), "precision": float(row["precision"]), "recall": float(row["recall"]),
                      "support": int(row["support"])} for name, row in report.items()}
    return {**figures["micro avg"],
            "by_type": {name: row for name, row in figures.items() if not name.endswith(" avg")}}


def score_labels(gold: Sequence[str], predicted: Sequence[str]) -> Score:
    """Return accuracy (0..1) and the number of items."""
    right = sum(a == b for a, b in zip(gold, predicted, strict=True))
    return {"accuracy": right / max(len(gold), 1), "support": len(gold)}


def score(task: str, gold: Sequence[Any], predicted: Sequence[Any], *, strict: bool = False) -> Score:
    """Return the task's score: of entities for ner, words for pos, documents for classification."""
    if task == "ner":
        # a truncated sentence has fewer predictions than words: as in the papers, the rest is not scored
        return score_entities([g[:len(p)] for g, p in zip(gold, predicted, strict=True)], predicted, strict=strict)
    if task == "pos":
        pairs = [(g, p) for gs, ps in zip(gold, predicted, strict=True) for g, p in zip(gs, ps, strict=False)]
        return score_labels([g for g, _ in pairs], [p for _, p in pairs])
    return score_labels(gold, predicted)


def main_figure(task: str) -> str:
    """Return the figure that selects models: "f1" or "accuracy"."""
    return "f1" if task == "ner" else "accuracy"


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation (n - 1), which is 0 for a single value.  Raises StatisticsError for none."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
