"""The two updates that make an encoder forget which language it reads: discriminator and generator.

    discriminator   L_D = mean over source of -log p + mean over target of -log(1 - p)      p = σ(s), p("source" | x)
                    moves the discriminator only; s from the encoder's states, which are constants here
    generator       L_G = the same with the two labels exchanged
                    moves the encoder only; the discriminator judges and stands still

adversary.level "sentence" is Keung et al. 2019, algorithm 1: one judgement a sentence.  "token" is the training of
AdvPicker's teacher (Chen et al. 2021, section 3.1): one a word piece.  The mean is over the judgements of one language, the
sum over the two.  Each update reads fresh batches and has Adam moments of its own: Adam's way does not depend on the scale
of a loss, so a learning rate says how far a loss may move what it moves.  Weighting the losses under one Adam does not.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module
from minixl.data.batching import Batch, Stream
from minixl.errors import UserError
from minixl.methods.update import Update, make_schedule, split, step_rng, update_parameters
from minixl.models.discriminators import SOURCE, TARGET, discriminator_backward, discriminator_forward, judged
from minixl.models.transformer import Transformer
from minixl.ops.binary_cross_entropy import binary_cross_entropy_backward, binary_cross_entropy_forward
from minixl.optim import AdamW, Group, Optimizer
from minixl.settings import Settings

RNG = {"discriminator": 1, "generator": 2}         # which dropout masks of a step; the task's are 0


class Verdict(NamedTuple):
    """What a discriminator's logits of one part of a batch say."""

    loss: float
    correct: float       # share of the right answers in the mean over both languages
    dlogits: Array


class Adversary:
    """One step is an update of the discriminator and one of the encoder against it."""

    STREAMS = {"source/discriminator": "source", "target/discriminator": "target",
               "source/generator": "source", "target/generator": "target"}

    def __init__(self, model: Transformer, streams: dict[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        self.model, self.streams, self.settings, self.seed = model, streams, settings, seed
        if model.discriminator == "none":
            raise UserError("adversary.level: expected sentence or token, got 'none': this method needs a discriminator")
        trainable = set(model.store.names(trainable=True))
        self._subsets = {"discriminator": model.discriminator_names(),
                         "generator": [name for name in model.encoder_names() if name in trainable]}
        if not self._subsets["generator"]:
            raise UserError("model.freeze: all parameters of the encoder are frozen, so that nothing can be made alike across "
                            "languages; freeze fewer")
        rates = {"discriminator": (settings["adversary.discriminator_lr"], 0.0),
                 "generator": (settings["adversary.lr"], settings["adversary.weight_decay"])}
        updates = -(-total_steps // settings["adversary.every"])
        self._optimizers = {loss: adam(model, names, *rates[loss], settings, updates) for loss, names in self._subsets.items()}

    def step(self, step: int) -> list[Update]:
        """The two updates of iteration `step`, in the order that adversary.order says; none between every N-th step."""
        if step % self.settings["adversary.every"]:
            return []
        updates = [self.update_discriminator, self.update_generator]
        if self.settings["adversary.order"] == "generator-first":
            updates.reverse()
        return [update(step) for update in updates]

    def update_discriminator(self, step: int) -> Update:
        """Algorithm 1, line "D-step": no cache is kept and no gradient reaches the encoder."""
        model, rng = self.model, self._rng("discriminator", step)
        whole, sources = self._batch("discriminator")
        loss = correct = 0.0
        for part, first in parts(whole, self.settings["train.accumulate"]):
            hidden, _ = model.encode(part, rng=rng, keep=False)
            verdict, cache = self._judge(hidden, part, first, whole, sources, flipped=False)
            _, grads = discriminator_backward(verdict.dlogits, cache, need_dx=False)
            model.store.accumulate("discriminator", grads)
            loss, correct = loss + verdict.loss, correct + verdict.correct
        return self._finish("discriminator", step, whole, loss, correct)

    def update_generator(self, step: int) -> Update:
        """Algorithm 1, line "G-step": the gradient passes through the discriminator, which gets none."""
        model, rng = self.model, self._rng("generator", step)
        whole, sources = self._batch("generator")
        loss = correct = 0.0
        for part, first in parts(whole, self.settings["train.accumulate"]):
            hidden, encoder = model.encode(part, rng=rng)
            verdict, cache = self._judge(hidden, part, first, whole, sources, flipped=True)
            dhidden, _ = discriminator_backward(verdict.dlogits, cache, need_grads=False)
            model.encode_backward(dhidden, encoder)
            loss, correct = loss + verdict.loss, correct + verdict.correct
        return self._finish("generator", step, whole, loss, correct)

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return self._subsets

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return self._optimizers

    def _rng(self, loss: str, step: int) -> Any:
        return step_rng(self.seed, step, RNG[loss], self.model.store.xp)

    def _batch(self, loss: str) -> tuple[Batch, int]:
        """A fresh batch of each language as one, the source's sentences first, and how many these are."""
        source, target = next(self.streams[f"source/{loss}"]), next(self.streams[f"target/{loss}"])
        return join(source, target), len(source.order)

    def _judge(self, hidden: Array, part: Batch, first: int, whole: Batch, sources: int, *,
               flipped: bool) -> tuple[Verdict, Any]:
        """The discriminator's verdict on a part of a batch, whose sentences are first, first + 1, ... of the whole."""
        model, specials = self.model, self.settings["adversary.specials"]
        logits, cache = discriminator_forward(hidden, model.store.under("discriminator"), starts=part.starts,
                                              kind=model.discriminator, specials=specials)
        counts = [judgements(batch, specials, model.discriminator) for batch in (part, whole)]
        border = min(max(sources - first, 0), len(part.order))         # sentences of the part that are the source's
        return languages_loss(logits, int(counts[0][border]), (int(counts[1][sources]), int(counts[1][-1] - counts[1][sources])),
                              flipped=flipped), cache

    def _finish(self, loss: str, step: int, whole: Batch, value: float, correct: float) -> Update:
        optimizer: Optimizer = self._optimizers[loss]
        norm = update_parameters(self.model, optimizer, self._subsets[loss], self.settings["optim.clip"])
        return Update(step, loss, value, loss, norm, optimizer.last_lr, whole.tokens, accuracy=correct)


def languages_loss(logits: Array, sources: int, totals: tuple[int, int], *, flipped: bool) -> Verdict:
    """logits (N,), the first `sources` of them the source language's; `totals` are the counts that the means divide by."""
    xp = array_module(logits)
    dlogits = xp.empty_like(logits)
    loss = correct = 0.0
    for rows, total, label in ((slice(0, sources), totals[0], SOURCE), (slice(sources, None), totals[1], TARGET)):
        said = logits[rows]
        if len(said):
            share = len(said) / total
            value, cache = binary_cross_entropy_forward(said, xp.full_like(said, 1 - label if flipped else label))
            dlogits[rows], _ = binary_cross_entropy_backward(said.dtype.type(share), cache)
            loss += share * float(value)
            correct += share * float(((said > 0) == (label == SOURCE)).mean()) / 2
    return Verdict(loss, correct, dlogits)


def join(source: Batch, target: Batch) -> Batch:
    """Two packed batches as one, the second behind the first: one forward pass in place of two."""
    xp = array_module(source.input_ids)
    shift = source.tokens
    both = {name: xp.concatenate([getattr(source, name), getattr(target, name)])
            for name in ("input_ids", "position_ids", "labels")}
    return Batch(**both, starts=np.concatenate([source.starts, target.starts[1:] + shift]),
                 rows=xp.concatenate([source.rows, target.rows + shift]),
                 order=np.concatenate([source.order, target.order + len(source.order)]))


def parts(batch: Batch, count: int) -> list[tuple[Batch, int]]:
    """`split` of a batch, each part with the number of its first sentence."""
    pieces = split(batch, count)
    return list(zip(pieces, np.cumsum([0, *(len(piece.order) for piece in pieces[:-1])]).tolist(), strict=True))


def judgements(batch: Batch, specials: bool, kind: str) -> np.ndarray:
    """(B+1,)  How many logits the sentences before each have: one a sentence, or one a judged piece."""
    return np.arange(len(batch.starts)) if kind == "sentence" else judged(batch.starts, specials)[1]


def adam(model: Transformer, names: list[str], lr: float, weight_decay: float, settings: Settings, updates: int) -> Optimizer:
    """AdamW over all of `names` alike, LayerNorm and biases too, as AdvPicker's code has it; with no decay it is Adam."""
    return AdamW(model.store, [Group(tuple(names), lr, weight_decay)], make_schedule(settings, updates),
                 betas=(settings["optim.beta1"], settings["optim.beta2"]), eps=settings["optim.eps"])
