"""minixl's BERT tagger as a contender: the model, the training step and the prediction that `minixl train` uses."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from minixl.bench.work import BertWork, Examples
from minixl.data.batching import Batch, pack
from minixl.data.encoding import Encoded, Example
from minixl.methods.update import make_optimizer, train_step
from minixl.models.transformer import Transformer
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_forward
from minixl.prediction import source_scores
from minixl.settings import Settings
from minixl.weights.folder import load_parameters, read_config


def load_model(work: BertWork, start: Mapping[str, np.ndarray], settings: Settings) -> Transformer:
    """The encoder of the folder, every other parameter from `start`, frozen as the work says."""
    config, dropout = read_config(work.encoder), settings["model.dropout"]
    if dropout >= 0:
        config = replace(config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    labels = [str(i) for i in range(len(work.start["classifier.bias"]))]
    model = Transformer(config, labels, "token", discriminator=settings["adversary.level"],
                        discriminator_size=settings["adversary.size"])
    load_parameters(work.encoder, {name: model.store[name].value for name in model.encoder_names()})
    for name, value in start.items():
        model.store[name].value[...] = value
    for name in work.frozen:
        model.store[name].trainable = False
    return model


class MinixlBert:
    """See minixl/bench/contender.py.  The number of threads is set by the environment of the process."""

    def __init__(self, work: BertWork, threads: int) -> None:
        self.settings, self.seed, self.steps = Settings(work.settings), work.seed, 0
        self.model = load_model(work, work.start, self.settings)
        self.subset = self.model.store.names(trainable=True)
        self.optimizer = make_optimizer(self.model, self.subset, self.settings, total_steps=1)

    def prepare(self, batch: Sequence[Example]) -> Batch:
        """Packed, shortest first."""
        return pack(batch)

    def step(self, prepared: Batch) -> float:
        """One update as in training."""
        self.steps += 1
        return train_step(self.model, prepared, self.optimizer, self.subset, self.settings, self.seed, self.steps).value

    def loss(self, prepared: Batch) -> float:
        """Cross-entropy, dropout off."""
        logits, _ = self.model.forward(prepared, keep=False)
        return float(softmax_cross_entropy_forward(logits, prepared.labels)[0])

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """As `minixl predict` does: it makes batches of its own from all sentences."""
        examples = [replace(example, source=i) for i, example in enumerate(e for batch in batches for e in batch)]
        return source_scores(self.model, Encoded(examples, len(examples)))
