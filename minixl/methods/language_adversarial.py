"""Train on labelled source text while the encoder unlearns which language it reads.  Keung et al. 2019, algorithm 1.

    until converged:
        T   labelled source batch           loss of the task          moves encoder and head
        D   source batch, target batch      which language is it?     moves the discriminator
        G   source batch, target batch      the labels exchanged      moves the encoder

adversary.level "sentence" is Keung et al. 2019.  "token" is the multilingual teacher of AdvPicker (Chen et al. 2021,
algorithm 1, lines 2-16), whose target batches mix all target languages.  D and G: minixl/methods/adversary.py.
Checked against PyTorch, whole iterations, in tests/methods/test_language_adversarial.py.
"""
from __future__ import annotations

from typing import Any

from minixl.data.batching import Stream
from minixl.methods.adversary import Adversary
from minixl.training.update import Update, make_optimizer, train_step
from minixl.models.transformer import Transformer
from minixl.settings import Settings


class LanguageAdversarial:
    """One step is one iteration: T, D, G."""

    STREAMS = {"source": "labelled", **Adversary.STREAMS}

    def __init__(self, model: Transformer, streams: dict[str, Stream], settings: Settings, seed: int, total_steps: int) -> None:
        self.model, self.source, self.settings, self.seed = model, streams["source"], settings, seed
        self.subset = model.task_names()
        self.optimizer = make_optimizer(model, self.subset, settings, total_steps, self.source.batches_per_epoch)
        self.adversary = Adversary(model, streams, settings, seed, total_steps)
        self.steps = 0

    def step(self) -> list[Update]:
        """One iteration of the algorithm; returns a record of each update it made."""
        task = train_step(self.model, next(self.source), self.optimizer, self.subset, self.settings, self.seed, self.steps)
        adversarial = self.adversary.step(self.steps)
        self.steps += 1
        return [task, *adversarial]

    def subsets(self) -> dict[str, list[str]]:
        """loss -> names of the parameters it moves."""
        return {"task": self.subset, **self.adversary.subsets()}

    def optimizers(self) -> dict[str, Any]:
        """loss -> its optimiser, for checkpoints."""
        return {"task": self.optimizer, **self.adversary.optimizers()}
