"""minixl's BERT tagger as a contender: the model, the training step and the prediction that `minixl train` uses."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from minixl.backend import array_module_for
from minixl.bench.training.minixl_tagger import MinixlTagger, load_start
from minixl.bench.training.work import BertWork, Examples
from minixl.methods import SCHEMA
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from minixl.weights.folder import load_parameters, read_config


def load_model(work: BertWork, start: Mapping[str, np.ndarray], settings: Settings) -> Transformer:
    """Load the encoder from its folder and every other parameter from `start`; freeze what the work says."""
    config, dropout = read_config(work.encoder), settings["model.dropout"]
    if dropout >= 0:
        config = replace(config, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    labels = [str(i) for i in range(len(work.start["classifier.bias"]))]
    model = Transformer(config, labels, "token", discriminator=settings["adversary.level"],
                        discriminator_size=settings["adversary.size"], xp=array_module_for(work.device))
    load_parameters(work.encoder, {name: model.store[name].value for name in model.encoder_names()})
    load_start(model, start, work.frozen)
    return model


class MinixlBert(MinixlTagger):
    """BERT with a linear head on every word."""

    def __init__(self, work: BertWork, threads: int) -> None:
        super().__init__(load_model(work, work.start, SCHEMA.settings(work.settings)), work.settings, work.seed)

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """Log-probabilities."""
        return self.scores(batches)
