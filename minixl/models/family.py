"""What training, decoding and model folders need of a model, whatever its family."""
from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from minixl.backend import Array
from minixl.data.batching import Batch
from minixl.parameters import ParameterStore


class Model(Protocol):
    """Transformer and BilstmCrf are models."""

    family: str                       # "transformer" or "bilstm-crf"
    store: ParameterStore
    labels: list[str]
    pooling: str                      # "token": a tagger; "mean", "cls": a classifier

    def encoder_names(self) -> list[str]: ...
    def head_names(self) -> list[str]: ...

    def task_names(self) -> list[str]:
        """Trainable parameters that the task's loss moves."""

    def initialise(self, rng: Any) -> None:
        """Draw what no file brings."""

    def loss_forward(self, batch: Batch, *, rng: Any = None) -> tuple[float, Any]:
        """The task's loss of a labelled batch, and what its backward needs."""

    def loss_backward(self, dloss: float, cache: Any) -> None:
        """Adds the gradient of dloss * loss to the store."""

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Weight of a part's loss in that of the whole batch: by words, documents or sentences."""

    def scores(self, batch: Batch) -> Array:
        """(W, K) or (B, K): log-probabilities, or the emissions of a CRF."""

    def decoder(self) -> dict[str, Array]:
        """What ops.viterbi needs beside the scores: a CRF's transitions."""

    def confidences(self, scores: Array, starts: np.ndarray, tags: Array, *, legal: Any = None) -> Array:
        """scores (W, K), starts (B+1,) of the sentences, class numbers (W,) -> the probability (W,) of each tag."""

    def span_confidences(self, scores: Array, starts: np.ndarray, spans: np.ndarray, tags: Array, *,
                         legal: Any = None) -> Array:
        """spans (S, 2), first and last + 1 row of each entity -> how sure the model is of each, (S,)."""
