"""Learn a map between two languages without a dictionary, against a discriminator.  Conneau et al. 2018 (MUSE), section 2.1.

    repeat for every step of an epoch:
        n times:   D   a batch of mapped source words, labels 1 - smoothing, and one of target words, labels smoothing:
                       update the discriminator on its cross-entropy; input dropout; W is not updated
        once:      W   the same without dropout, the labels exchanged:  update W through the discriminator, which is not updated
                       then towards the orthogonal maps:  W ← (1 + β) W - β (W Wᵀ) W
    after an epoch:    the criterion (mean_cosine in retrieval.py); the learning rate of W decreases, and also halves when the
                       criterion is worse than the best so far, but not the first time

Two optimisers over two sets of parameters, plain gradients, no gradient reversal.  A map works on columns: mapped = W x.
An epoch draws words uniformly from the most frequent ones, so a vocabulary may have any size.
Checked against a twin in PyTorch in tests/alignment/test_adversarial.py.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minixl.alignment.discriminator import (PREFIX, discriminator_backward, discriminator_forward, discriminator_shapes,
                                            initialise_discriminator)
from minixl.backend import Array, array_module
from minixl.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward
from minixl.ops.dropout import dropout_mask
from minixl.ops.linear import linear_backward, linear_forward
from minixl.optim import SGD, Group
from minixl.parameters import ParameterStore
from minixl.settings import Section, Setting

MAPPING = "mapping.weight"
HALVING = 0.5                                      # of the learning rate when the criterion got worse

SETTINGS = Section("adversarial mapping", {
    "adversarial.hidden": Setting(2048, "units of both hidden layers of the discriminator", at_least=1),
    "adversarial.dropout": Setting(0.1, "dropout of the discriminator's input", at_least=0, below=1),
    "adversarial.smoothing": Setting(0.1, "label smoothing", at_least=0, below=0.5),
    "adversarial.steps": Setting(5, "updates of the discriminator for each of the map", at_least=1),
    "adversarial.frequent": Setting(75_000, "most frequent words that are drawn; all of a smaller vocabulary", at_least=1),
    "adversarial.batch_size": Setting(32, "words per language in a batch", at_least=1),
    "adversarial.epochs": Setting(5, "epochs", at_least=1),
    "adversarial.epoch_size": Setting(1_000_000, "source words per epoch; fewer in proportion to a vocabulary smaller than "
                                      "adversarial.frequent", at_least=1),
    "adversarial.lr": Setting(0.1, "learning rate of the map", above=0),
    "adversarial.discriminator_lr": Setting(0.1, "learning rate of the discriminator", above=0),
    "adversarial.decay": Setting(0.98, "factor of the map's learning rate after each epoch", above=0, at_most=1),
    "adversarial.min_lr": Setting(1e-6, "the map's learning rate at which training ends", at_least=0),
    "adversarial.orthogonal": Setting(0.001, "beta of the step towards the orthogonal maps", at_least=0),
})


class Draw(NamedTuple):
    """What one update reads: rows of both languages (B,), and which inputs the discriminator keeps, (2B, H) or None."""

    source: Array
    target: Array
    mask: Array | None


class AdversarialMapping:
    """W and the discriminator in training.

    store    mapping.weight (H, H) and discriminator.*
    lr       learning rate of W, changed by end_epoch
    """

    def __init__(self, source: Array, target: Array, settings: Any, seed: int, dtype: Any = np.float32, *,
                 reflected: bool = False) -> None:
        """source (n, H), target (m, H), both already cut to the most frequent words.

        reflected: begin from a reflection instead of the identity; small steps never lead from one half of the orthogonal maps,
        those with determinant 1, to the other.
        """
        xp = array_module(source, target)
        self.settings, self.source, self.target = settings, source, target
        self.rng = np.random.default_rng(seed)
        dim = source.shape[1]
        shapes = {MAPPING: (dim, dim), **discriminator_shapes(dim, settings["adversarial.hidden"])}
        self.store = ParameterStore(shapes, dtype=dtype, xp=xp)
        self.store[MAPPING].value[...] = xp.eye(dim, dtype=dtype)
        if reflected:
            self.store[MAPPING].value[0, 0] = -1
        initialise_discriminator(self.store, self.rng)
        judge = [name for name in self.store.names() if name.startswith(PREFIX)]
        self.discriminator_sgd = SGD(self.store, [Group(tuple(judge), settings["adversarial.discriminator_lr"])])
        self.lr, self.best, self.was_worse = settings["adversarial.lr"], -np.inf, False

    @property
    def mapping(self) -> Array:
        """W (H, H)."""
        return self.store[MAPPING].value

    def steps_per_epoch(self) -> int:
        """Updates of W in an epoch, in proportion to the vocabulary."""
        share = min(1.0, max(len(self.source), len(self.target)) / self.settings["adversarial.frequent"])
        return max(1, round(share * self.settings["adversarial.epoch_size"] / self.settings["adversarial.batch_size"]))

    def step(self) -> tuple[float, float]:
        """Run the updates of D and of W; return the mean loss of D and its accuracy."""
        losses = [self.update_discriminator(self.draw(dropout=True)) for _ in range(self.settings["adversarial.steps"])]
        self.update_mapping(self.draw(dropout=False))
        loss, accuracy = np.mean(losses, axis=0)
        return float(loss), float(accuracy)

    def draw(self, *, dropout: bool) -> Draw:
        """Draw the words of a batch uniformly, and the discriminator's dropout."""
        xp, size = self.store.xp, self.settings["adversarial.batch_size"]
        source, target = (xp.asarray(self.rng.integers(0, len(words), size)) for words in (self.source, self.target))
        shape = (2 * size, self.source.shape[1])
        mask = xp.asarray(dropout_mask(shape, self.settings["adversarial.dropout"], self.rng, np)) if dropout else None
        return Draw(source, target, mask)

    def update_discriminator(self, draw: Draw) -> tuple[float, float]:
        """Update D on its cross-entropy; return the loss and the share of words that it classifies correctly."""
        xp = self.store.xp
        x = xp.concatenate([self.source[draw.source] @ self.mapping.T, self.target[draw.target]])
        labels = self._labels(len(draw.source), len(draw.target))
        logits, cache = discriminator_forward(x, self.store, dropout=self.settings["adversarial.dropout"], mask=draw.mask)
        loss, loss_cache = binary_cross_entropy_forward(logits, labels)
        dlogits, _ = binary_cross_entropy_backward(1.0, loss_cache)
        _, grads = discriminator_backward(dlogits.astype(x.dtype), cache, need_grads=True)
        self.store.accumulate(PREFIX, grads)
        self.discriminator_sgd.step()
        self.store.zero_grad()
        return float(loss), float(((logits > 0) == (labels > 0.5)).mean())

    def update_mapping(self, draw: Draw) -> float:
        """Update W so that D takes each language for the other, then make it more orthogonal; return the loss."""
        xp = self.store.xp
        no_bias = xp.zeros(len(self.mapping), self.store.dtype)
        mapped, mapping_cache = linear_forward(self.source[draw.source], self.mapping, no_bias)
        x = xp.concatenate([mapped, self.target[draw.target]])
        logits, cache = discriminator_forward(x, self.store)
        loss, loss_cache = binary_cross_entropy_forward(logits, 1 - self._labels(len(draw.source), len(draw.target)))
        dlogits, _ = binary_cross_entropy_backward(1.0, loss_cache)
        dx, _ = discriminator_backward(dlogits.astype(x.dtype), cache, need_dx=True)
        assert dx is not None
        _, grads = linear_backward(dx[:len(mapped)], mapping_cache, need_dx=False)
        weight = self.mapping
        weight -= self.store.dtype.type(self.lr) * grads["weight"]
        orthogonalise(weight, self.settings["adversarial.orthogonal"])
        return float(loss)

    def end_epoch(self, criterion: float) -> bool:
        """Change the learning rate of W by the criterion of an epoch; return whether training goes on."""
        self.lr *= self.settings["adversarial.decay"]
        if criterion < self.best:
            if self.was_worse:                     # as MUSE: not the first time
                self.lr *= HALVING
            self.was_worse = True
        self.best = max(self.best, criterion)
        return self.lr >= self.settings["adversarial.min_lr"]

    def _labels(self, sources: int, targets: int) -> Array:
        smoothing = self.settings["adversarial.smoothing"]
        return self.store.xp.asarray([1 - smoothing] * sources + [smoothing] * targets, self.store.dtype)


def orthogonalise(mapping: Array, beta: float) -> None:
    """Move W (H, H) in place towards the nearest orthogonal map: W ← (1 + β) W - β (W Wᵀ) W."""
    mapping[...] = (1 + beta) * mapping - beta * (mapping @ mapping.T @ mapping)
