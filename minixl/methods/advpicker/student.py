"""A student learns the soft labels of others: AdvPicker's last stage.  Chen et al. 2021, section 3.3.

    for each batch of unlabelled text whose words have soft labels ŷ:
        logits ← classifier(encoder(x))
        p      ← softmax(logits / τ),    q ← ŷ^(1/τ) / Σ_k ŷ_k^(1/τ)          τ = 1 in the paper: q = ŷ
        loss   ← mean over the words and labels of (p - q)²                  eq. 8
        all trainable parameters ← optimiser

softmax(teacher's logits / τ) is q, so the teachers' probabilities suffice.  Checked against PyTorch in
tests/methods/advpicker/test_student.py.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.batching import Batch, Stream, split
from minixl.data.encoding import Encoded, Example
from minixl.training.update import Update, make_optimizer, step_rng, update_parameters
from minixl.models.transformer import Transformer
from minixl.ops.soft_squared_error import soft_squared_error_backward, soft_squared_error_forward
from minixl.packing import starts_of
from minixl.settings import Settings


class Distill:
    """One step is one update of encoder and head on one batch of text with soft labels.

    targets (W, K): the soft labels of all words; the labels in the stream's batches are rows of it (pseudo_examples).
    """

    STREAMS = {"source": "pseudo"}

    def __init__(self, model: Transformer, streams: dict[str, Stream], settings: Settings, seed: int, total_steps: int, *,
                 targets: np.ndarray) -> None:
        if targets.shape[1:] != (len(model.labels),):
            raise ValueError(f"targets: expected (words, {len(model.labels)}), one column a label, got {targets.shape}")
        self.model, self.source, self.settings, self.seed = model, streams["source"], settings, seed
        self.temperature = settings["distill.temperature"]
        self.targets = softened(model.store.xp.asarray(targets, model.store.dtype), self.temperature)
        self.subset = model.task_names()
        self.optimizer = make_optimizer(model, self.subset, settings, total_steps, self.source.batches_per_epoch)
        self.steps = 0

    def step(self) -> list[Update]:
        """One iteration of the algorithm; returns a record of each update it made."""
        batch, model = next(self.source), self.model
        rng = step_rng(self.seed, self.steps, 0, model.store.xp)
        total = 0.0
        for part in split(batch, self.settings["train.accumulate"]):
            if len(part.labels):                                       # a part without scored words has no mean of its own
                share = len(part.labels) / len(batch.labels)           # the loss is a mean over the whole batch
                total += share * self._gradients(part, share, rng)
        norm = update_parameters(model, self.optimizer, self.subset, self.settings["optim.clip"])
        update = Update(self.steps, "task", total, "task", norm, self.optimizer.last_lr, batch.tokens)
        self.steps += 1
        return [update]

    def _gradients(self, part: Batch, share: float, rng: Any) -> float:
        """Add the gradient of share * loss of a part of the batch; returns its loss."""
        logits, cache = self.model.forward(part, rng=rng)                                       # (W, K)
        loss, loss_cache = soft_squared_error_forward(logits / self.temperature, self.targets[part.labels])
        dlogits, _ = soft_squared_error_backward(self.model.store.dtype.type(share), loss_cache)
        self.model.backward(dlogits / self.temperature, cache)
        return float(loss)

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return {"task": self.subset}

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return {"task": self.optimizer}


def softened(probabilities: Array, temperature: float) -> Array:
    """(W, K) distributions -> softmax(log p / τ); those of temperature 1 are returned as they are."""
    if temperature == 1:
        return probabilities
    xp = array_module(probabilities)
    log_ratio = xp.log(xp.maximum(probabilities / probabilities.max(axis=1, keepdims=True), xp.finfo(probabilities.dtype).tiny))
    powers = xp.exp(log_ratio / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def pseudo_examples(encoded: Encoded, starts: np.ndarray, selected: np.ndarray) -> list[Example]:
    """The selected sentences as examples whose labels are rows of the soft labels.

    encoded: the unlabelled text; starts (N+1,): where each sentence's words begin in the soft labels; selected (N,) bool.
    A long sentence has an example a window; each of its words is scored in one of them.
    """
    expected = scored_starts(encoded)
    if not np.array_equal(expected, starts) or len(selected) != encoded.sources:
        raise ValueError(f"pseudo_examples: expected soft labels of {encoded.sources} sentences and {expected[-1]} words, got "
                         f"them of {len(starts) - 1} and {starts[-1]}, or in other lengths, and a selection of {len(selected)}")
    return [replace(example, labels=starts[example.source] + example.first_word + np.arange(len(example.rows)))
            for example in encoded.examples if selected[example.source]]


def scored_starts(encoded: Encoded) -> np.ndarray:
    """(N+1,): where each sentence's words begin when those that are scored, in all its windows, stand one after another."""
    words = np.zeros(encoded.sources, np.int64)
    for example in encoded.examples:
        words[example.source] += len(example.rows)
    return starts_of(words)
