"""Train a student on soft labels: stage E of AdvPicker.  Chen et al. 2021, section 3.3.

    for each batch of unlabelled text whose words have soft labels ŷ:
        logits ← classifier(encoder(x))
        p      ← softmax(logits / τ),    q ← ŷ^(1/τ) / Σ_k ŷ_k^(1/τ)          τ = 1 in the paper: q = ŷ
        loss   ← mean over the words and labels of (p - q)²                  eq. 8
        all trainable parameters ← optimiser

q equals softmax(teacher's logits / τ), so the teachers' probabilities suffice.  Checked against PyTorch in
tests/methods/advpicker/test_student.py.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.batching import Batch
from minixl.data.encoding import Encoded, Example, scored_starts
from minixl.methods.advpicker.files import PseudoLabels
from minixl.models.family import Keep
from minixl.models.transformer import Transformer, TransformerCache
from minixl.ops.soft_squared_error import (SoftSquaredErrorCache, soft_squared_error_backward,
                                           soft_squared_error_forward)
from minixl.run.method import Method, Term
from minixl.run.prepared import Prepared, Text, Texts
from minixl.settings import Settings
from minixl.training.objective import TASK, Loss, Objective
from minixl.training.optimizers import make_optimizer
from minixl.training.summing import summed_early
from minixl.training.update import Update

PSEUDO = "pseudo"                      # the text that the student learns from


class SoftLabelLossCache(NamedTuple):
    model: TransformerCache
    loss: SoftSquaredErrorCache


class SoftLabelLoss:
    """The squared error of a transformer's probabilities from soft labels (eq. 8), with the interface of a model's loss.

    targets (W, K): the soft labels of all words, at temperature 1; the labels of a batch are row numbers in it.
    """

    def __init__(self, model: Transformer, targets: np.ndarray, temperature: float) -> None:
        self.model, self.temperature = model, temperature
        self.targets = softened(model.store.xp.asarray(targets, model.store.dtype), temperature)

    def loss_forward(self, batch: Batch, *, rng: Any = None, keep: Keep = True,
                     shift: Array | None = None) -> tuple[float, SoftLabelLossCache]:
        """Return the mean over the scored words and the labels.  keep, shift: see Bert.forward."""
        logits, cache = self.model.forward(batch, rng=rng, keep=keep, shift=shift)              # (W, K)
        loss, loss_cache = soft_squared_error_forward(logits / self.temperature, self.targets[batch.labels])
        return float(loss), SoftLabelLossCache(cache, loss_cache)

    def loss_backward(self, dloss: float, cache: SoftLabelLossCache, *, need_dembeddings: bool = False) -> Array | None:
        """Add the gradient of dloss * loss to the store; need_dembeddings: see Bert.backward."""
        dlogits, _ = soft_squared_error_backward(self.model.store.dtype.type(dloss), cache.loss)
        return self.model.backward(dlogits / self.temperature, cache.model, need_dembeddings=need_dembeddings)

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Return the weight of a part's loss in that of the whole batch: its share of the scored words."""
        return len(part.labels) / max(len(whole.labels), 1)


class Distillation(Objective):
    """One step is one update of encoder and head on one batch of text with soft labels.

    targets (W, K): the soft labels of all words; the labels in the stream's batches are row numbers in it (pseudo_examples).
    """

    LOSSES = {TASK: Loss("optim.lr, optim.head_lr", masks=0, title="task")}
    STREAMS = {"source": PSEUDO}

    def __init__(self, *arguments: Any, targets: np.ndarray) -> None:
        super().__init__(*arguments)
        model = self.model
        if targets.shape[1:] != (len(model.labels),):
            raise ValueError(f"targets: expected (words, {len(model.labels)}), one column a label, got {targets.shape}")
        self.loss = SoftLabelLoss(model, targets, self.settings["distill.temperature"])
        names, source = model.task_names(), self.streams["source"]
        self.add_loss(TASK, names, make_optimizer(model, names, self.settings, self.total_steps, source.batches_per_epoch))

    def step(self, step: int) -> list[Update]:
        batch = next(self.streams["source"])
        with summed_early(self.model.store, self.subsets[TASK]):
            loss = self.gradients(self.loss, batch, step)
            return [self.update(step, TASK, loss, batch.tokens)]


class Student(Method):
    """The stage that learns from the selected sentences of all languages."""

    name = "advpicker"
    objective = Distillation
    if_nothing_learned = f"if its teachers have learned something, {Method.if_nothing_learned}; otherwise train them longer " \
        "(advpicker.epochs)"

    def __init__(self, terms: Sequence[type[Term]], texts: Mapping[str, Text], labels: Mapping[str, PseudoLabels]) -> None:
        super().__init__(terms)
        self.examples, self.targets = student_examples(texts, labels)

    def own_objective(self, *arguments: Any) -> Distillation:
        return Distillation(*arguments, targets=self.targets)

    def texts(self, settings: Settings, prepared: Prepared, seed: int) -> Texts:
        return super().texts(settings, prepared, seed) | {PSEUDO: self.examples}


def student_examples(texts: Mapping[str, Text], labels: Mapping[str, PseudoLabels]) -> tuple[list[Example], np.ndarray]:
    """Return the selected sentences of all languages, and the soft labels (W, K) in which their labels are row numbers."""
    examples: list[Example] = []
    targets: list[np.ndarray] = []
    for language, text in texts.items():
        merged = labels[language].merged
        before = sum(map(len, targets))
        examples += [replace(example, labels=example.labels + before)
                     for example in pseudo_examples(text.encoded, merged.starts, labels[language].selected)]
        targets.append(merged.probabilities)
    return examples, np.concatenate(targets)


def softened(probabilities: Array, temperature: float) -> Array:
    """(W, K) distributions -> softmax(log p / τ); temperature 1 returns them unchanged."""
    if temperature == 1:
        return probabilities
    xp = array_module(probabilities)
    log_ratio = xp.log(xp.maximum(probabilities / probabilities.max(axis=1, keepdims=True), xp.finfo(probabilities.dtype).tiny))
    powers = xp.exp(log_ratio / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def pseudo_examples(encoded: Encoded, starts: np.ndarray, selected: np.ndarray) -> list[Example]:
    """Return the selected sentences as examples whose labels are row numbers in the soft labels.

    encoded: the unlabelled text; starts (N+1,): where each sentence's words begin in the soft labels; selected (N,) bool.
    A long sentence has one example per window; each of its words is scored in exactly one of them.
    """
    expected = scored_starts(encoded)
    if not np.array_equal(expected, starts) or len(selected) != encoded.sources:
        raise ValueError(f"pseudo_examples: expected soft labels of {encoded.sources} sentences and {expected[-1]} words, got "
                         f"{len(starts) - 1} and {starts[-1]}, or other lengths, and a selection of {len(selected)}")
    return [replace(example, labels=starts[example.source] + example.first_word + np.arange(len(example.rows)))
            for example in encoded.examples if selected[example.source]]
