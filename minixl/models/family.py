"""The interface of a model of any family, for training, decoding and model folders."""
from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from minixl.backend import Array
from minixl.data.batching import Batch
from minixl.parameters import ParameterStore


Keep = bool | Literal["all"]


class Model(Protocol):
    """Transformer, BilstmCrf and AugmentedTagger are models."""

    family: str                       # "transformer", "bilstm-crf" or "augmented-tagger"
    store: ParameterStore
    labels: list[str]
    pooling: str                      # "token": a tagger; "mean", "cls": a classifier

    @property
    def embedding_size(self) -> int:
        """The number of columns of the embeddings that `shift` is added to."""

    def for_language(self, language: str) -> Model:
        """Return the model that reads text in this language, with the same parameters; "" if the language is not known."""

    def encoder_names(self) -> list[str]: ...
    def head_names(self) -> list[str]: ...

    def task_names(self) -> list[str]:
        """Return the trainable parameters that the task's loss updates."""

    def initialise(self, rng: Any) -> None:
        """Initialise the parameters that are not loaded from a file."""

    def loss_forward(self, batch: Batch, *, rng: Any = None, keep: Keep = True, shift: Array | None = None) -> tuple[float, Any]:
        """Return the task's loss on a labelled batch, and the cache for its backward.

        keep: "all" for a backward with need_dembeddings, False if there is no backward; shift (T, H): added to the embeddings.
        """

    def loss_backward(self, dloss: float, cache: Any, *, need_dembeddings: bool = False) -> Array | None:
        """Add the gradient of dloss * loss to the store; if need_dembeddings, return that of the embeddings, (T, H)."""

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Return the weight of a part's loss in that of the whole batch: by words, documents or sentences."""

    def scores(self, batch: Batch) -> Array:
        """Return log-probabilities, or the emissions of a CRF: (W, K) or (B, K)."""

    def decoder(self) -> dict[str, Array]:
        """Return the other arguments of ops.viterbi: a CRF's transitions."""

    def confidences(self, scores: Array, starts: np.ndarray, tags: Array, *, legal: Any = None) -> Array:
        """scores (W, K), starts (B+1,) of the sentences, class numbers (W,) -> the probability (W,) of each tag."""

    def span_confidences(self, scores: Array, starts: np.ndarray, spans: np.ndarray, tags: Array, *,
                         legal: Any = None) -> Array:
        """spans (S, 2), first and last + 1 row of each entity -> the model's confidence in each, (S,)."""
