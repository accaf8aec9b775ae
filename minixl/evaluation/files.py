"""The dev and test files of a run, encoded once and scored as often as needed."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minixl.data.corpus import Corpus
from minixl.data.encoding import Encoded
from minixl.evaluation.scores import Score, main_figure, score
from minixl.models.family import Model
from minixl.prediction import predict_labels, source_scores
from minixl.settings import Section, Setting, Settings

SECTION = Section("decoding", {
    "decode.constrained": Setting(True, "only tag sequences that the scheme allows (Viterbi)"),
    "decode.calibrate": Setting(True, "divide a classifier's logits by a temperature fitted to the source dev files, so that its "
                                "confidences are nearer to its accuracy; changes no prediction"),
})

Progress = Callable[[int], None] | None


class Evaluation:
    """The dev and test files of a run.  scheme: the tag scheme that the model works in; sources: the source languages."""

    def __init__(self, task: str, scheme: str, settings: Settings, sources: list[str]) -> None:
        self.task, self.scheme, self.settings, self.sources = task, scheme, settings, sources
        self.files: dict[str, dict[str, tuple[Corpus, Encoded]]] = {"dev": {}, "test": {}}
        self.without_entities: dict[str, list[str]] = {"dev": [], "test": []}      # whose every F1 is 0
        self.predicted: dict[str, list[Any]] = {}      # language -> its predictions on the test file, of the last `run`
        self.class_scores: dict[str, np.ndarray] = {}  # of a classifier: the log-probabilities (N, K) behind them

    @property
    def figure(self) -> str:
        """Return the score that models are selected by: "f1" or "accuracy"."""
        return main_figure(self.task)

    def add(self, part: str, corpus: Corpus, encoded: Encoded) -> None:
        """Add a dev or test file."""
        self.files[part][corpus.language] = (corpus, encoded)
        if self.task == "ner" and all(tag == "O" for tags in corpus.gold() for tag in tags):
            self.without_entities[part].append(corpus.language)

    def run(self, model: Model, part: str, *, progress: Progress = None) -> dict[str, Score]:
        """Return language -> score on its dev or test file, and keep the predictions on test files.

        progress: called with the number of pieces of every batch.
        """
        return {language: self.one(model, part, language, progress=progress, keep=part == "test") for language in self.files[part]}

    def one(self, model: Model, part: str, language: str, *, progress: Progress = None, keep: bool = False) -> Score:
        """Return the score on one language's file.  keep: keep the predictions."""
        corpus, encoded = self.files[part][language]
        model = model.for_language(language)
        if keep and self.task == "classification":
            self.class_scores[language] = np.stack(source_scores(model, encoded, progress=progress))
            predicted: list[Any] = [model.labels[i] for i in self.class_scores[language].argmax(axis=1)]
        else:
            predicted = predict_labels(model, encoded, self.scheme, constrained=self.settings["decode.constrained"],
                                       progress=progress)
        if keep:
            self.predicted[language] = predicted
        return score(self.task, corpus.gold(), predicted)

    def score_test(self, language: str, predicted: list[Any]) -> Score:
        """Return the score of predictions on a test file that were made elsewhere, and keep them."""
        self.predicted[language] = predicted
        return score(self.task, self.files["test"][language][0].gold(), predicted)
