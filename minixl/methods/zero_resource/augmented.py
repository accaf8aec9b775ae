"""One step of augmented fine-tuning: two updates, of the source model and of the target model.  Bari et al. 2020, eq. 7.

    b_s ← labelled source text,  b_t ← pseudo-labelled target sentences of the round
    θ_s ← optimiser on  L_s(b_s) + L_s(b_t)          through the source path
    θ_t ← optimiser on  L_t(b_t)                     through the augmented path, with the updated θ_s

θ_s: source encoder, head, CRF.  θ_t: target encoder, target_dense, character table, and the same head and CRF.
Checked against PyTorch in tests/methods/zero_resource/test_updates.py.
"""
from __future__ import annotations

from itertools import islice
from typing import Any, Protocol

from minixl.data.batching import Batch, pack
from minixl.data.encoding import Example
from minixl.errors import UserError
from minixl.methods.zero_resource.rounds import Round, batches
from minixl.models.augmented_tagger import AugmentedTagger
from minixl.models.family import Model
from minixl.run.method import LABELLED
from minixl.settings import Settings
from minixl.training.objective import TASK, Loss, Objective
from minixl.training.optimizers import make_optimizer
from minixl.training.update import Update, task_gradients

PSEUDO, TARGET = "pseudo-labels", "target"
RATES = "optim.lr, optim.head_lr"


class Source(Protocol):
    """The origin of pseudo-labels: labels.py, or in a test fixed ones."""

    def label(self, this: Round, model: Model, *, begins: bool) -> list[Example]:
        """Return the labelled examples of a round."""


class Augmented(Objective):
    """The steps of all rounds; a round's first step begins with new pseudo-labels."""

    LOSSES = {TASK: Loss(RATES, masks=0, title="task"),
              PSEUDO: Loss(RATES, masks=6, title="source model on pseudo-labels"),
              TARGET: Loss(RATES, masks=7, title="target model on pseudo-labels")}
    STREAMS = {"source": LABELLED}
    model: AugmentedTagger

    def __init__(self, *arguments: Any, rounds: list[Round], labels: Source) -> None:
        super().__init__(*arguments)
        self.rounds, self.labels = rounds, labels
        self.current: Round | None = None              # the round of `examples`
        self.examples: list[Example] = []
        epoch = self.streams["source"].batches_per_epoch
        for loss, names in ((TASK, self.model.source.task_names()), (TARGET, self.model.target_names())):
            self.add_loss(loss, names, make_optimizer(self.model, names, self.settings, self.total_steps, epoch))

    @classmethod
    def check_model(cls, model: Model, settings: Settings) -> None:
        if not isinstance(model, AugmentedTagger):
            raise UserError(f"model.type: expected augmented-tagger, which {settings['method']} trains, found {model.family}")
        for path, names in (("source", model.source.task_names()), ("target", model.target_names())):
            if not names:
                raise UserError(f"model.freeze: leaves no parameter of the {path} model to train; freeze fewer")

    def step(self, step: int) -> list[Update]:
        batch, pseudo = next(self.streams["source"]), self.target_batch(step)
        source, parts = self.model.source, self.settings["train.accumulate"]
        loss = self.gradients(source, batch, step)
        of_pseudo = task_gradients(source, pseudo, parts, self.rng(step, PSEUDO))
        task = self.update(step, TASK, loss, batch.tokens)
        of_target = task_gradients(self.model, pseudo, parts, self.rng(step, TARGET))
        return [task, task._replace(loss=PSEUDO, value=of_pseudo, tokens=pseudo.tokens),
                self.update(step, TARGET, of_target, pseudo.tokens)]

    def target_batch(self, step: int) -> Batch:
        """Return b_t of a step; label the target text if a round begins."""
        this = next(item for item in reversed(self.rounds) if item.first <= step)
        if this != self.current:
            self.examples, self.current = self.labels.label(this, self.model.source, begins=step == this.first), this
        size = self.settings["train.batch_size"]
        indices = next(islice(batches(len(self.examples), size, self.seed, this.number), step - this.first, None))
        return pack([self.examples[i] for i in indices], self.model.store.xp)
