"""Train on labelled source text, test on every language: zero-shot transfer without any target text.

    for each batch of labelled source text:
        logits ← head(encoder(x))
        loss   ← cross-entropy, mean over the labelled words (or documents)
        all trainable parameters ← optimiser

This is "mBERT-ft" of Chen et al. 2021 (section 4.2) and the baseline of Keung et al. 2019; see docs/methods.md.
"""
from __future__ import annotations

from typing import Any

from minixl.errors import UserError
from minixl.models.family import Model
from minixl.run.method import LABELLED, Method
from minixl.settings import Settings
from minixl.training.objective import TASK, Loss, Objective
from minixl.training.optimizers import make_optimizer
from minixl.training.summing import summed_early
from minixl.training.update import Update


class Supervised(Objective):
    """One step is one update of the whole model on one batch of labelled source text."""

    LOSSES = {TASK: Loss("optim.lr, optim.head_lr", masks=0, title="task")}
    STREAMS = {"source": LABELLED}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        names, source = self.model.task_names(), self.streams["source"]
        self.add_loss(TASK, names, make_optimizer(self.model, names, self.settings, self.total_steps, source.batches_per_epoch))

    @classmethod
    def check_model(cls, model: Model, settings: Settings) -> None:
        if not all(model.for_language(language) is model for language in ("", *getattr(model, "sources", ()))):
            raise UserError(f"model.type: expected a model with one encoder, found {model.family}; {settings['method']} would not "
                            "train both; use the recipe cross-augmented, or --set model.type=bilstm-crf")

    def step(self, step: int) -> list[Update]:
        batch = next(self.streams["source"])
        with summed_early(self.model.store, self.subsets[TASK]):
            loss = self.gradients(self.model, batch, step)
            return [self.update(step, TASK, loss, batch.tokens)]


class Finetune(Method):
    """The baseline of every method."""

    name = "finetune"
    objective = Supervised
