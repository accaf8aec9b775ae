"""The two updates that make an encoder forget which language it reads: discriminator and generator.

    discriminator   L_D = mean over source of -log p + mean over target of -log(1 - p)      p = σ(s), p("source" | x)
                    moves the discriminator only; s from the encoder's states, which are constants here
    generator       L_G = the same with the two labels exchanged
                    moves the encoder only; the discriminator is applied but not updated

adversary.level "sentence" is Keung et al. 2019, algorithm 1: one logit for each sentence.  "token" is the training of
AdvPicker's teacher (Chen et al. 2021, section 3.1): one for each word piece.  The mean is over the logits of one language,
the sum over the two languages.  Each update reads fresh batches and has Adam moments of its own.  Adam's step does not depend
on the scale of a loss: with a separate Adam for each loss, its learning rate bounds how far that loss can move a weight.
"""
from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module, to_numpy
from minixl.data.batching import Batch, split
from minixl.distributed import group
from minixl.methods.languages import LanguagesTerm, join
from minixl.models.discriminators import (DISCRIMINATORS, SOURCE, TARGET, Discriminator, DiscriminatorCache,
                                          discriminator_backward, discriminator_forward, judged)
from minixl.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward
from minixl.settings import Section, Setting, Settings
from minixl.training.objective import Loss
from minixl.training.optimizers import adam
from minixl.training.update import Update, own_sentences

CHANCE = 0.5
NO_EFFECT, NEAR_CHANCE = 0.99, (0.45, 0.55)        # mean accuracies of the discriminator
DISCRIMINATOR_FIRST, GENERATOR_FIRST = ORDERS = ("discriminator-first", "generator-first")


def verdict(accuracy: float, when: str) -> str:
    """Explain the discriminator's mean accuracy, and say what to change if it is too high or worse than chance."""
    line = f"discriminator: accuracy {accuracy:.3f} {when}, {CHANCE} is chance"
    if accuracy >= NO_EFFECT:
        return f"{line}: the adversary has no effect; raise adversary.lr"
    if accuracy < NEAR_CHANCE[0]:
        return f"{line}: the two languages swap sides; lower adversary.lr or raise adversary.discriminator_lr"
    if accuracy <= NEAR_CHANCE[1]:
        return (f"{line}: near chance, as intended if it could tell the languages apart before; minixl evaluate --probe shows "
                "whether a new discriminator can")
    return line


class Languages(NamedTuple):
    """Where the logits of source and target are in a part of a batch."""

    border: int          # the first `border` logits are the source's, the others the target's
    source: int          # number of source logits in the whole update, over which the mean is taken
    target: int          # the same of the target

    @classmethod
    def of(cls, starts: np.ndarray, sources: int, first: int, last: int) -> Languages:
        """Locate the languages in the part with the sentences first ... last-1 of a batch of B.

        starts (B+1,): where the logits of each sentence of the batch begin; the first `sources` sentences are the source's.
        """
        border = int(np.clip(starts[sources], starts[first], starts[last]) - starts[first])
        return cls(border, int(starts[sources]), int(starts[-1] - starts[sources]))


class LanguageLoss(NamedTuple):
    """L_D or L_G of a part of a batch."""

    loss: float          # the part's share of the update's loss
    correct: float       # this part's share of the accuracy; the parts add up to 1 if all are right, 1/2 by chance
    dlogits: Array       # (N,)  gradient of the loss


class Adversary(LanguagesTerm):
    """One step is an update of the discriminator and one of the encoder against it."""

    SECTION = Section("adversary: a term that trains the encoder to hide which language it reads", {
        "adversary.level": Setting("none", "language discriminator: reads the mean of a sentence (Keung et al. 2019) or every "
                                           "token (Chen et al. 2021)", ("none", *DISCRIMINATORS)),
        "adversary.lr": Setting(6e-7, "learning rate of the encoder against the discriminator", at_least=0),
        "adversary.discriminator_lr": Setting(5e-3, "learning rate of the discriminator", at_least=0),
        "adversary.size": Setting(500, "hidden units of the discriminator on tokens", at_least=1),
        "adversary.specials": Setting(True, "the discriminator reads [CLS] and [SEP] as well"),
        "adversary.order": Setting(DISCRIMINATOR_FIRST, "which of the two updates comes first", ORDERS),
        "adversary.weight_decay": Setting(0.0, "decoupled weight decay of the encoder in the generator's update", at_least=0),
        "adversary.every": Setting(1, "update discriminator and generator every N iterations", at_least=1),
    })
    SWITCH, ON, OFF = "adversary.level", "adversary.level=sentence", "adversary.level=none"
    LOSSES = {"discriminator": Loss("adversary.discriminator_lr", masks=1, title="discriminator", chance=CHANCE, verdict=verdict,
                                    accuracy="share classified correctly, 0.5 by chance"),
              "generator": Loss("adversary.lr", masks=2, title="generator")}
    STREAMS = {"source/discriminator": "source", "target/discriminator": "target",
               "source/generator": "source", "target/generator": "target"}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        model, settings = self.model, self.settings
        every, epoch = settings["adversary.every"], self.streams["source"].batches_per_epoch
        updates, epoch_updates = -(-self.total_steps // every), Fraction(epoch, every)
        for loss, names, lr, weight_decay in (
                ("discriminator", model.discriminator_names(), settings["adversary.discriminator_lr"], 0.0),
                ("generator", model.trained_encoder_names(), settings["adversary.lr"], settings["adversary.weight_decay"])):
            self.add_loss(loss, names, adam(model, names, lr, weight_decay, settings, updates, epoch_updates))

    @classmethod
    def discriminator(cls, settings: Settings) -> Discriminator:
        return Discriminator(settings["adversary.level"], settings["adversary.size"])

    def step(self, step: int) -> list[Update]:
        """Make the two updates of an iteration, in the order of adversary.order; none if adversary.every skips it."""
        if step % self.settings["adversary.every"]:
            return []
        order = ["discriminator", "generator"]
        if self.settings["adversary.order"] == GENERATOR_FIRST:
            order.reverse()
        return [self.update_against(step, loss) for loss in order]

    def discriminator_gradients(self, part: Batch, rng: Any, languages: Languages) -> LanguageLoss:
        """Add the gradients of L_D; the encoder gets none, since its forward pass keeps no cache."""
        hidden, _ = self.model.encode(part, rng=rng, keep=False)
        logits, cache = self._logits(hidden, part)
        loss = languages_loss(logits, languages, flipped=False)
        _, grads = discriminator_backward(loss.dlogits, cache, need_dx=False)
        self.model.store.accumulate("discriminator", grads)
        return loss

    def generator_gradients(self, part: Batch, rng: Any, languages: Languages) -> LanguageLoss:
        """Add the gradients of L_G; they pass through the discriminator, which gets none."""
        hidden, encoder = self.model.encode(part, rng=rng)
        logits, cache = self._logits(hidden, part)
        loss = languages_loss(logits, languages, flipped=True)
        dhidden, _ = discriminator_backward(loss.dlogits, cache, need_grads=False)
        self.model.encode_backward(dhidden, encoder)
        return loss

    def update_against(self, step: int, loss: str) -> Update:
        """Update on a new batch of each language, joined and split, first over processes, then into train.accumulate parts."""
        gradients = self.discriminator_gradients if loss == "discriminator" else self.generator_gradients
        source, target = next(self.streams[f"source/{loss}"]), next(self.streams[f"target/{loss}"])
        both, rng = join(source, target), self.rng(step, loss)
        starts = logit_starts(both.starts, self.settings["adversary.specials"], self.model.discriminator)
        losses, (first, own) = [], own_sentences(both)
        for part in split(own, self.settings["train.accumulate"]):
            last = first + len(part.order)
            losses.append(gradients(part, rng, Languages.of(starts, len(source.order), first, last)))
            first = last
        value, correct = group().add(sum(part.loss for part in losses), sum(part.correct for part in losses))
        return self.update(step, loss, value, both.tokens, correct)

    def _logits(self, hidden: Array, part: Batch) -> tuple[Array, DiscriminatorCache]:
        return discriminator_forward(hidden, self.model.store.under("discriminator"), starts=part.starts,
                                     kind=self.model.discriminator, specials=self.settings["adversary.specials"])


def languages_loss(logits: Array, languages: Languages, *, flipped: bool) -> LanguageLoss:
    """logits (N,) of a part -> its share of the sum of two means; flipped: the generator's labels."""
    xp = array_module(logits)
    dlogits = xp.empty_like(logits)
    figures = xp.zeros(2)                                              # loss and accuracy: fetched together
    border, *totals = languages
    for rows, total, label in ((slice(0, border), totals[0], SOURCE), (slice(border, None), totals[1], TARGET)):
        own = logits[rows]
        if len(own):
            share = len(own) / total
            value, cache = binary_cross_entropy_forward(own, xp.full_like(own, 1 - label if flipped else label))
            dlogits[rows], _ = binary_cross_entropy_backward(own.dtype.type(share), cache)
            figures[0] += share * value.astype(xp.float64)
            figures[1] += share * ((own > 0) == (label == SOURCE)).mean() / 2
    loss, correct = to_numpy(figures).tolist()
    return LanguageLoss(loss, correct, dlogits)


def logit_starts(starts: np.ndarray, specials: bool, kind: str) -> np.ndarray:
    """starts (B+1,) of the sentences -> starts (B+1,) of their logits: one a sentence, or one a judged piece."""
    return np.arange(len(starts)) if kind == "sentence" else judged(starts, specials)[1]
