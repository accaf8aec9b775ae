"""The two updates that make an encoder forget which language it reads: discriminator and generator.

    discriminator   L_D = mean over source of -log p + mean over target of -log(1 - p)      p = σ(s), p("source" | x)
                    moves the discriminator only; s from the encoder's states, which are constants here
    generator       L_G = the same with the two labels exchanged
                    moves the encoder only; the discriminator judges and stands still

adversary.level "sentence" is Keung et al. 2019, algorithm 1: one judgement a sentence.  "token" is the training of
AdvPicker's teacher (Chen et al. 2021, section 3.1): one a word piece.  The mean is over the judgements of one language, the
sum over the two.  Each update reads fresh batches and has Adam moments of its own.  Adam's step does not depend on the scale
of a loss: with a separate Adam for each loss, its learning rate bounds how far that loss can move a weight.
"""
from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.batching import Batch, Stream, split
from minixl.errors import UserError
from minixl.training.update import Update, lowest_rate, make_schedule, step_rng, update_parameters
from minixl.models.discriminators import (SOURCE, TARGET, DiscriminatorCache, discriminator_backward,
                                          discriminator_forward, judged)
from minixl.models.transformer import Transformer
from minixl.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward
from minixl.optim import AdamW, Group, Optimizer
from minixl.settings import Settings

RNG = {"discriminator": 1, "generator": 2}         # which dropout masks of a step; the task's are 0


class Languages(NamedTuple):
    """Which of the logits of a part of a batch belong to which language."""

    border: int          # the first `border` are the source's, the others the target's
    source: int          # logits of the source in the whole update, which its mean divides by
    target: int

    @classmethod
    def of(cls, starts: np.ndarray, sources: int, first: int, last: int) -> Languages:
        """Those of the part that holds the sentences first ... last-1 of a batch of B.

        starts (B+1,): where the logits of each sentence of the batch begin; the first `sources` sentences are the source's.
        """
        border = int(np.clip(starts[sources], starts[first], starts[last]) - starts[first])
        return cls(border, int(starts[sources]), int(starts[-1] - starts[sources]))


class LanguageLoss(NamedTuple):
    """L_D or L_G of a part of a batch."""

    loss: float          # the part's share of the update's loss
    correct: float       # this part's share of the accuracy; the parts add up to 1 if all are right, 1/2 by chance
    dlogits: Array       # (N,)  gradient of the loss


class Adversary:
    """One step is an update of the discriminator and one of the encoder against it."""

    STREAMS = {"source/discriminator": "source", "target/discriminator": "target",
               "source/generator": "source", "target/generator": "target"}

    def __init__(self, model: Transformer, streams: dict[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        self.model, self.streams, self.settings, self.seed = model, streams, settings, seed
        if model.discriminator == "none":
            raise UserError("adversary.level: expected sentence or token, got 'none': this method needs a discriminator")
        self._subsets = {"discriminator": model.discriminator_names(), "generator": model.trained_encoder_names()}
        rates = {"discriminator": (settings["adversary.discriminator_lr"], 0.0),
                 "generator": (settings["adversary.lr"], settings["adversary.weight_decay"])}
        every, epoch = settings["adversary.every"], streams["source"].batches_per_epoch
        updates = -(-total_steps // every)
        self._optimizers = {loss: adam(model, names, *rates[loss], settings, updates, Fraction(epoch, every))
                            for loss, names in self._subsets.items()}

    def step(self, step: int) -> list[Update]:
        """The two updates of iteration `step`, in the order of adversary.order; adversary.every: only in every N-th iteration."""
        if step % self.settings["adversary.every"]:
            return []
        order = ["discriminator", "generator"]
        if self.settings["adversary.order"] == "generator-first":
            order.reverse()
        return [self.update(step, loss) for loss in order]

    def discriminator_gradients(self, part: Batch, rng: Any, languages: Languages) -> LanguageLoss:
        """Gradients of L_D: nothing of the encoder's pass is kept, so none can reach it."""
        hidden, _ = self.model.encode(part, rng=rng, keep=False)
        logits, cache = self._logits(hidden, part)
        loss = languages_loss(logits, languages, flipped=False)
        _, grads = discriminator_backward(loss.dlogits, cache, need_dx=False)
        self.model.store.accumulate("discriminator", grads)
        return loss

    def generator_gradients(self, part: Batch, rng: Any, languages: Languages) -> LanguageLoss:
        """Gradients of L_G: they pass through the discriminator, which gets none."""
        hidden, encoder = self.model.encode(part, rng=rng)
        logits, cache = self._logits(hidden, part)
        loss = languages_loss(logits, languages, flipped=True)
        dhidden, _ = discriminator_backward(loss.dlogits, cache, need_grads=False)
        self.model.encode_backward(dhidden, encoder)
        return loss

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return self._subsets

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return self._optimizers

    def update(self, step: int, loss: str) -> Update:
        """A fresh batch of each language, both in one or cut into train.accumulate parts; one step of the loss's optimiser."""
        gradients = self.discriminator_gradients if loss == "discriminator" else self.generator_gradients
        source, target = next(self.streams[f"source/{loss}"]), next(self.streams[f"target/{loss}"])
        whole, rng = join(source, target), step_rng(self.seed, step, RNG[loss], self.model.store.xp)
        starts = logit_starts(whole.starts, self.settings["adversary.specials"], self.model.discriminator)
        losses, first = [], 0
        for part in split(whole, self.settings["train.accumulate"]):
            last = first + len(part.order)
            losses.append(gradients(part, rng, Languages.of(starts, len(source.order), first, last)))
            first = last
        optimizer = self._optimizers[loss]
        norm = update_parameters(self.model, optimizer, self._subsets[loss], self.settings["optim.clip"])
        return Update(step, loss, sum(part.loss for part in losses), loss, norm, optimizer.last_lr, whole.tokens,
                      accuracy=sum(part.correct for part in losses))

    def _logits(self, hidden: Array, part: Batch) -> tuple[Array, DiscriminatorCache]:
        return discriminator_forward(hidden, self.model.store.under("discriminator"), starts=part.starts,
                                     kind=self.model.discriminator, specials=self.settings["adversary.specials"])


def languages_loss(logits: Array, languages: Languages, *, flipped: bool) -> LanguageLoss:
    """logits (N,) of a part -> its share of the sum of two means; flipped: the generator's labels."""
    xp = array_module(logits)
    dlogits = xp.empty_like(logits)
    loss = correct = 0.0
    border, *totals = languages
    for rows, total, label in ((slice(0, border), totals[0], SOURCE), (slice(border, None), totals[1], TARGET)):
        own = logits[rows]
        if len(own):
            share = len(own) / total
            value, cache = binary_cross_entropy_forward(own, xp.full_like(own, 1 - label if flipped else label))
            dlogits[rows], _ = binary_cross_entropy_backward(own.dtype.type(share), cache)
            loss += share * float(value)
            correct += share * float(((own > 0) == (label == SOURCE)).mean()) / 2
    return LanguageLoss(loss, correct, dlogits)


def logit_starts(starts: np.ndarray, specials: bool, kind: str) -> np.ndarray:
    """starts (B+1,) of the sentences -> starts (B+1,) of their logits: one a sentence, or one a judged piece."""
    return np.arange(len(starts)) if kind == "sentence" else judged(starts, specials)[1]


def join(source: Batch, target: Batch) -> Batch:
    """Two packed batches as one, the second behind the first: one forward pass in place of two."""
    xp = array_module(source.input_ids)
    shift = source.tokens
    both = {name: xp.concatenate([getattr(source, name), getattr(target, name)])
            for name in ("input_ids", "position_ids", "labels")}
    bottom = None if source.bottom is None or target.bottom is None else xp.concatenate([source.bottom, target.bottom])
    return Batch(**both, starts=np.concatenate([source.starts, target.starts[1:] + shift]),
                 rows=xp.concatenate([source.rows, target.rows + shift]),
                 order=np.concatenate([source.order, target.order + len(source.order)]), bottom=bottom)


def adam(model: Transformer, names: list[str], lr: float, weight_decay: float, settings: Settings, updates: int,
         epoch_updates: int | Fraction) -> Optimizer:
    """AdamW over all of `names` alike, LayerNorm and biases too, as AdvPicker's code has it; with no decay it is Adam."""
    group = Group(tuple(names), lr, weight_decay, lowest_rate(settings))
    return AdamW(model.store, [group], make_schedule(settings, updates, epoch_updates),
                 betas=(settings["optim.beta1"], settings["optim.beta2"]), eps=settings["optim.eps"])
