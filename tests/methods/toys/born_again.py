"""A student learns the labels of the text and, beside them, what a teacher of its own kind says of it (Furlanello et al. 2018).

    1   teacher ← fine-tuning
    2   q ← softmax(teacher(x)) for every labelled word
    3   student, for each batch:
            task        cross-entropy                              moves encoder and head
            imitation   mean over words and labels of (p - q)²     moves them too, at a rate of its own
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minixl.building import load_model
from minixl.data.batching import Batch, pack
from minixl.data.examples import TAGGING
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.files import folder_digest
from minixl.methods.finetune import Finetune, Supervised
from minixl.ops.soft_squared_error import soft_squared_error_backward, soft_squared_error_forward
from minixl.prediction import source_scores
from minixl.report.page import table
from minixl.run.method import Job, Method, Scores, Term
from minixl.run.once import Content, settings_of
from minixl.run.prepared import examples_of
from minixl.settings import Section, Setting, Settings
from minixl.training.objective import Loss
from minixl.training.optimizers import adam
from minixl.training.update import Update

IMITATION = "imitation"


class Imitating(Supervised):
    """One step is an update for the labels and one towards the teacher, on the same batch."""

    LOSSES = {**Supervised.LOSSES, IMITATION: Loss("born_again.lr", masks=9, title="imitation of the teacher")}

    def __init__(self, *arguments: Any, soft_labels: np.ndarray) -> None:
        super().__init__(*arguments)
        self.soft_labels = soft_labels                                 # (sentences, most words, K), in the order of the text
        names, epoch = self.model.task_names(), self.streams["source"].batches_per_epoch
        rate = self.settings["born_again.lr"]
        self.add_loss(IMITATION, names, adam(self.model, names, rate, 0.0, self.settings, self.total_steps, epoch))

    def step(self, step: int) -> list[Update]:
        stream = self.streams["source"]
        position, order = stream.position, stream.order
        updates = super().step(step)
        if stream.position < position or stream.position == stream.batch_size:         # a new pass began
            position, order = 0, stream.order
        sentences = order[position:stream.position]
        batch = self._again(sentences)
        logits, cache = self.model.forward(batch, rng=self.rng(step, IMITATION))       # (W, K)
        targets = np.concatenate([self.soft_labels[sentences[i], :len(stream.examples[sentences[i]].rows)] for i in batch.order])
        loss, loss_cache = soft_squared_error_forward(logits, targets.astype(logits.dtype))
        dlogits, _ = soft_squared_error_backward(self.model.store.dtype.type(1), loss_cache)
        self.model.backward(dlogits, cache)
        return [*updates, self.update(step, IMITATION, float(loss), batch.tokens)]

    def _again(self, sentences: np.ndarray) -> Batch:
        """The batch of these sentences once more."""
        return pack([self.streams["source"].examples[i] for i in sentences], self.model.store.xp)


class BornAgain(Method):
    """A teacher, its labels, a student."""

    name = "born-again"
    objective = Imitating
    family = "transformer"
    sections = (Section("born again", {"born_again.lr": Setting(1e-4, "learning rate towards the teacher", at_least=0)},
                        used=lambda settings: settings["method"] == "born-again"),)

    def check(self, settings: Settings, inputs: Inputs) -> None:
        super().check(settings, inputs)
        if settings["task"] not in TAGGING:
            raise UserError(f"method: born-again is for taggers, got task {settings['task']}; use finetune")

    def run(self, job: Job) -> Scores:
        teacher = job.train(Finetune(self.terms), "teacher")
        made_from = {"teacher": folder_digest(teacher.model), **settings_of(job.settings, ("data.max_length", "data.limit"))}
        labels = job.once(job.folder / "soft-labels.safetensors", "soft labels", made_from, lambda: self._label(job, teacher.model))
        return job.train(Student(self.terms, labels.arrays["probabilities"])).scores

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        return ["<h2>Born again</h2>", table("The teacher's run.", ["folder"], [[str(folder / "teacher")]])]

    def _label(self, job: Job, folder: Path) -> Content:
        encoded = job.prepared.sources[0].encoded
        scores = source_scores(load_model(folder)[0], encoded)
        probabilities = np.zeros((len(scores), max(map(len, scores)), len(job.prepared.labels)), np.float32)
        for i, of_sentence in enumerate(scores):
            probabilities[i, :len(of_sentence)] = np.exp(of_sentence)
        assert len(examples_of(job.prepared.sources)) == len(scores), "no sentence is cut into windows"
        return Content({"probabilities": probabilities}, {})


class Student(BornAgain):
    """The last stage."""

    def __init__(self, terms: tuple[type[Term], ...], soft_labels: np.ndarray) -> None:
        super().__init__(terms)
        self.soft_labels = soft_labels

    def own_objective(self, *arguments: Any) -> Imitating:
        return Imitating(*arguments, soft_labels=self.soft_labels)
