"""The pseudo-labels of a round: what the source model predicts for the target sentences up to a length; files on disk.

    OUT/pseudo-labels/round-R.safetensors    sentences (n,), their indices; labels (L,), class numbers; starts (n+1,);
                                             notes: threshold, language

Test: tests/methods/zero_resource/test_rounds.py.
"""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from minixl.backend import to_numpy
from minixl.data.encoding import Encoded, Example, scored_starts
from minixl.errors import UserError
from minixl.files import digest, folder_digest
from minixl.methods.zero_resource.rounds import Round
from minixl.models.family import Model
from minixl.prediction import best_paths, word_scores
from minixl.run.method import Job
from minixl.run.once import Content, read, settings_of, text_digest

KIND, FOLDER = "pseudo-labels of a length", "pseudo-labels"
LOST = "cannot be made again in the middle of a round: start again with a new --out folder"
RECORDED = ("data.max_length", "data.on_long", "data.encoding", "data.unlabelled_limit", "data.sample", "data.sample_seed",
            "decode.constrained", "train.batch_size", "zero_resource.shortest", "zero_resource.longest",
            "zero_resource.round_steps")


def lengths_of(encoded: Encoded) -> np.ndarray:
    """Return the words of each sentence, (N,)."""
    return np.diff(scored_starts(encoded))


def chosen(encoded: Encoded, sentences: np.ndarray) -> Encoded:
    """Return the examples of some sentences; source is then the position in `sentences`, (n,) ascending."""
    position = {number: i for i, number in enumerate(sentences.tolist())}
    examples = [replace(example, source=position[example.source]) for example in encoded.examples if example.source in position]
    return Encoded(examples, len(sentences), on_long=encoded.on_long)


def predict(model: Model, encoded: Encoded, scheme: str, *, constrained: bool) -> np.ndarray:
    """Return the class numbers of all words, (L,), by Viterbi."""
    scores = word_scores(model, encoded)
    return to_numpy(best_paths(scores, model.labels, scheme, constrained, model.decoder()))


def with_labels(encoded: Encoded, labels: np.ndarray) -> list[Example]:
    """labels (L,) of all words -> the examples with their labels."""
    starts = scored_starts(encoded)
    firsts = [int(starts[example.source]) + example.first_word for example in encoded.examples]
    return [replace(example, labels=labels[first:first + len(example.rows)].astype(np.int64))
            for example, first in zip(encoded.examples, firsts, strict=True)]


class Labeller:
    """Labels the target text of a run at the beginning of every round."""

    def __init__(self, job: Job, source_model: Path) -> None:
        """source_model: the folder of the model that the first round begins with."""
        self.job = job
        [(self.language, (self.corpus, self.encoded))] = job.prepared.unlabelled_targets.items()
        self.lengths = lengths_of(self.encoded)
        text = text_digest(job.inputs.unlabelled, self.language, job.prepared.fingerprints)
        self.made_from = {"unlabelled": text, "source model": folder_digest(source_model), **settings_of(job.settings, RECORDED)}

    def label(self, this: Round, model: Model, *, begins: bool) -> list[Example]:
        """Return the sentences of a round as labelled examples.

        begins: the model is that of the round's first step.  Raises UserError if the labels are missing or damaged later.
        """
        path = self.path(this.number)
        before = {"the round before": digest(self.path(this.number - 1))} if this.number > 1 else {}
        made_from = {**self.made_from, **before}
        if begins:
            content = self.job.once(path, KIND, made_from, lambda: self.predicted(this, model))
        elif path.is_file():
            content = read(path, KIND, made_from, cure=f"its labels {LOST}")
        else:
            raise UserError(f"{path}: expected the pseudo-labels with which the round began, found no file; they {LOST}")
        return with_labels(chosen(self.encoded, content.arrays["sentences"]), content.arrays["labels"])

    def predicted(self, this: Round, model: Model) -> Content:
        """Return what the model predicts for the sentences of a round."""
        sentences = np.flatnonzero(self.lengths <= this.threshold)
        encoded = chosen(self.encoded, sentences)
        labels = predict(model, encoded, self.job.prepared.evaluation.scheme, constrained=self.job.settings["decode.constrained"])
        self.job.reporter.message(f"round {this.number}: {len(sentences)} sentences in {self.language} of at most "
                                  f"{this.threshold} words")
        return Content({"sentences": sentences, "labels": labels.astype(np.int32), "starts": scored_starts(encoded)},
                       {"threshold": this.threshold, "language": self.language})

    def path(self, number: int) -> Path:
        """Return the file of a round."""
        return self.job.folder / FOLDER / f"round-{number}.safetensors"
