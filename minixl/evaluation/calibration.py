"""Make the probabilities of a classifier mean what they say.  Guo et al. 2017 (arXiv:1706.04599), sections 2 and 4.2.

    temperature         T > 0 that minimises the mean of -log softmax(z / T)[label] over the source dev texts
    calibration error   Σ_b n_b/N · |accuracy_b - mean confidence_b|    over 15 bins of equal width of the confidence (eq. 3)

One temperature for all classes changes no prediction.  It is built into the saved model: its logits are divided by T.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from minixl.data.corpus import Corpus
from minixl.evaluation.files import Evaluation
from minixl.prediction import source_scores

BINS = 15
LEAST = 20                             # texts to fit a temperature to; with fewer it is 1
RANGE = (0.2, 10.0)                    # without a limit, T falls to 0 if every text is classified rightly


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """logits or log-probabilities (N, K) -> normalised log-probabilities (N, K) of logits / temperature."""
    scaled = logits.astype(float) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def fit_temperature(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """log_probs (N, K), labels (N,) class numbers -> the temperature; 1 with fewer than LEAST texts."""
    if len(labels) < LEAST:
        return 1.0
    from scipy.optimize import minimize_scalar                         # a third of the time of all imports
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(log_probs, np.exp(log_temperature))[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(RANGE)), method="bounded").x))


def calibration_error(confidences: Sequence[float] | np.ndarray, correct: Sequence[bool] | np.ndarray) -> float:
    """confidences (N,) 0..1, correct (N,) bool -> the expected calibration error, 0..1; 0 without texts."""
    confidences, correct = np.asarray(confidences, float), np.asarray(correct, float)
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, correct - confidences, BINS)                           # n_b · (accuracy_b - confidence_b)
    return float(np.abs(gaps).sum() / max(len(confidences), 1))


class Calibration(TypedDict):
    """What was fitted, as metrics.json has it; the errors by test language, before and with the temperature."""

    temperature: float
    error: dict[str, float]
    error_before: dict[str, float]


def calibrate(model: Any, evaluation: Evaluation) -> Calibration:
    """Fit a classifier's temperature to the source dev files of a run, and build it into its last layer."""
    dev = [evaluation.files["dev"][language] for language in evaluation.sources if language in evaluation.files["dev"]]
    scores = [np.stack(source_scores(model, encoded)) for _, encoded in dev]
    gold = [class_numbers(model.labels, corpus) for corpus, _ in dev]
    temperature = fit_temperature(np.concatenate(scores), np.concatenate(gold)) if dev else 1.0
    model.divide_logits(temperature)
    return {"temperature": temperature, "error": _errors(model, evaluation, temperature),
            "error_before": _errors(model, evaluation, 1.0)}


def _errors(model: Any, evaluation: Evaluation, temperature: float) -> dict[str, float]:
    errors = {}
    for language, scores in evaluation.class_scores.items():
        log_probs = log_softmax(scores, temperature)
        correct = log_probs.argmax(axis=1) == class_numbers(model.labels, evaluation.files["test"][language][0])
        errors[language] = calibration_error(np.exp(log_probs.max(axis=1)), correct)
    return errors


def class_numbers(labels: Sequence[str], corpus: Corpus) -> np.ndarray:
    """Return the class numbers (N,) of a corpus of documents."""
    number = {label: i for i, label in enumerate(labels)}
    return np.array([number[document.label or ""] for document in corpus.documents()], int)
