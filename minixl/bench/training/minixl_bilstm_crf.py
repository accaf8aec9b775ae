"""minixl's BiLSTM-CRF as a contender: the model, the training step and the prediction that `minixl train` uses."""
from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np

from minixl.bench.training.minixl_tagger import MinixlTagger, load_start
from minixl.bench.training.work import BilstmCrfWork, Examples
from minixl.models.bilstm_crf import BilstmCrf
from minixl.prediction import best_paths, packed_scores


class MinixlBilstmCrf(MinixlTagger):
    """The BiLSTM-CRF; its search for the best tags can run alone."""

    def __init__(self, work: BilstmCrfWork, threads: int) -> None:
        model = BilstmCrf(work.config, work.labels, pickle.loads(work.lexicon))
        load_start(model, work.start, work.frozen)
        super().__init__(model, work.settings, work.seed)

    def emissions(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """The scores that go into the CRF."""
        return self.scores(batches)

    def predict(self, batches: Sequence[Examples]) -> list[np.ndarray]:
        """The best tags; every sequence is allowed, as in pytorch-crf."""
        return self.decode(self.emissions(batches))

    def hold(self, emissions: Sequence[np.ndarray], sizes: Sequence[int]) -> Sequence[np.ndarray]:
        """Return the emissions unchanged."""
        return emissions

    def decode(self, held: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Search all sentences in one Viterbi call."""
        tags = best_paths(packed_scores(held), self.model.labels, "none", False, self.model.decoder())
        ends = np.cumsum([len(scores) for scores in held]).tolist()
        return [tags[first:end] for first, end in zip([0, *ends], ends, strict=False)]
