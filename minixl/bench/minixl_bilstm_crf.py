"""minixl's BiLSTM-CRF as a contender: the model, the training step and the prediction that `minixl train` uses."""
from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from minixl.bench.work import BilstmCrfWork, Examples
from minixl.data.batching import Batch, pack
from minixl.data.encoding import Encoded, Example
from minixl.methods.update import make_optimizer, train_step
from minixl.models.bilstm_crf import BilstmCrf
from minixl.prediction import best_paths, source_scores
from minixl.settings import Settings


class MinixlBilstmCrf:
    """See minixl/bench/contender.py.  The number of threads is set by the environment of the process."""

    def __init__(self, work: BilstmCrfWork, threads: int) -> None:
        self.settings, self.seed, self.steps = Settings(work.settings), work.seed, 0
        self.model = BilstmCrf(work.config, work.labels, pickle.loads(work.lexicon))
        store = self.model.store
        for name, value in work.start.items():
            store[name].value[...] = value
        for name in work.frozen:
            store[name].trainable = False
        self.subset = store.names(trainable=True)
        self.optimizer = make_optimizer(self.model, self.subset, self.settings, total_steps=1)

    def prepare(self, batch: Sequence[Example]) -> Batch:
        """Packed, shortest first."""
        return pack(batch)

    def step(self, prepared: Batch) -> float:
        """One update as in training."""
        self.steps += 1
        return train_step(self.model, prepared, self.optimizer, self.subset, self.settings, self.seed, self.steps).value

    def loss(self, prepared: Batch) -> float:
        """Negative log-likelihood, dropout off."""
        return self.model.loss_forward(prepared)[0]

    def emissions(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """As `minixl predict` does: it makes batches of its own from all sentences."""
        examples = [replace(example, source=i) for i, example in enumerate(e for batch in batches for e in batch)]
        return source_scores(self.model, Encoded(examples, len(examples)))

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """All sequences of tags are allowed, as in pytorch-crf."""
        return self.decode(self.emissions(batches))

    def hold(self, emissions: Sequence[np.ndarray], sizes: Sequence[int]) -> Sequence[np.ndarray]:
        """As they are."""
        return emissions

    def decode(self, held: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All sentences in one Viterbi search."""
        tags = best_paths(held, self.model.labels, "none", False, self.model.decoder())
        ends = np.cumsum([len(scores) for scores in held]).tolist()
        return [tags[first:end] for first, end in zip([0, *ends], ends, strict=False)]
