"""An encoder with a head: the tagger or classifier that methods train, `evaluate` scores and `predict` uses.

It may contain a language discriminator, so that the three parameter subsets of an adversarial method are sets of names in one
store; tagging and classifying do not use it.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, to_numpy
from minixl.data.batching import Batch
from minixl.errors import UserError
from minixl.models.bert import WORD_TABLE, Bert, BertCache
from minixl.models.bert_config import BertConfig
from minixl.models.discriminators import discriminator_shapes, initialise_discriminator
from minixl.models.family import Keep
from minixl.models.heads import POOLINGS, TransformerHeadCache, head_backward, head_forward
from minixl.ops.softmax import log_softmax_forward
from minixl.ops.softmax_cross_entropy import (SoftmaxCrossEntropyCache, softmax_cross_entropy_backward,
                                              softmax_cross_entropy_forward)
from minixl.parameters import ParameterStore


class TransformerCache(NamedTuple):
    bert: BertCache
    head: TransformerHeadCache


def transformer_shapes(config: BertConfig, labels: int, pooling: str, discriminator: str,
                       discriminator_size: int) -> dict[str, tuple[int, ...]]:
    """Return parameter name -> shape of the encoder, the head and the discriminator."""
    shapes = Bert.shapes(config, pooler=pooling == "cls")
    shapes["classifier.weight"] = (labels, config.hidden_size)
    shapes["classifier.bias"] = (labels,)
    if discriminator != "none":
        shapes |= discriminator_shapes(discriminator, config.hidden_size, discriminator_size)
    return shapes


class TransformerLossCache(NamedTuple):
    model: TransformerCache
    loss: SoftmaxCrossEntropyCache


class Transformer:
    """BERT and a linear head over `labels`; pooling is "token" (a tagger), "mean" or "cls" (a classifier).

    discriminator: "none", "sentence" or "token", see models/discriminators.py.
    """

    family = "transformer"

    def __init__(self, config: BertConfig, labels: list[str], pooling: str, *, discriminator: str = "none",
                 discriminator_size: int = 500, dtype: Any = np.float32, xp: Any = np) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"model.pooling: expected one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.config, self.labels, self.pooling, self.discriminator = config, labels, pooling, discriminator
        self.discriminator_size = discriminator_size
        shapes = transformer_shapes(config, len(labels), pooling, discriminator, discriminator_size)
        self.store = ParameterStore(shapes, tables=[WORD_TABLE], dtype=dtype, xp=xp)
        self.bert = Bert(config, self.store)

    @property
    def embedding_size(self) -> int:
        """H, the size of the embeddings."""
        return self.config.hidden_size

    def discriminator_names(self) -> list[str]:
        """Return the parameters of the language discriminator."""
        return [name for name in self.store.names() if name.startswith("discriminator.")]

    def for_language(self, language: str) -> Transformer:
        """Return itself: it reads every language in the same way."""
        return self

    def head_names(self) -> list[str]:
        """Return the parameters of the task's head, including the pooler."""
        return [name for name in self.store.names() if name.startswith(("classifier.", "bert.pooler."))]

    def encoder_names(self) -> list[str]:
        """Return the parameters of the encoder."""
        return [name for name in self.store.names() if name.startswith("bert.") and not name.startswith("bert.pooler.")]

    def trained_encoder_names(self) -> list[str]:
        """Return the encoder's trainable parameters.  Raises UserError when there are none, since no loss could move it."""
        names = [name for name in self.encoder_names() if self.store[name].trainable]
        if not names:
            raise UserError("model.freeze: all parameters of the encoder are frozen, so its states cannot be made similar across "
                            "languages; freeze fewer")
        return names

    def task_names(self) -> list[str]:
        """Return the parameters that the task's loss updates: the trainable ones of encoder and head."""
        return [name for name in self.encoder_names() + self.head_names() if self.store[name].trainable]

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw the head: normal weights with the configuration's initializer_range, zero biases (Devlin et al. 2019)."""
        for name in self.head_names():
            value = self.store[name].value
            drawn = rng.normal(0, self.config.initializer_range, value.shape) if value.ndim > 1 else np.zeros(value.shape)
            value[...] = self.store.xp.asarray(drawn, value.dtype)
        if self.discriminator != "none":
            initialise_discriminator(self.store, rng)

    def divide_logits(self, temperature: float) -> None:
        """Divide all logits by a temperature, which is built into the last layer."""
        for name in ("classifier.weight", "classifier.bias"):
            self.store[name].value /= self.store.dtype.type(temperature)

    def encode(self, batch: Batch, *, rng=None, keep: Keep = True, shift: Array | None = None) -> tuple[Array, BertCache]:
        """A packed batch -> last hidden states (T, H).  keep, shift: see Bert.forward."""
        return self.bert.forward(batch.input_ids, batch.position_ids, batch.starts, rng=rng, keep=keep, bottom=batch.bottom,
                                 shift=shift)

    def encode_backward(self, dhidden: Array, cache: BertCache, *, need_dembeddings: bool = False) -> Array | None:
        """dhidden (T, H): add the gradient of every trainable parameter of the encoder to the store.

        need_dembeddings: see Bert.backward; so in the other backwards.
        """
        if need_dembeddings or self.bert.lowest_trainable() < self.config.num_hidden_layers:
            return self.bert.backward(dhidden, cache, need_dembeddings=need_dembeddings)
        return None

    def forward(self, batch: Batch, *, rng=None, keep: Keep = True,
                shift: Array | None = None) -> tuple[Array, TransformerCache]:
        """A packed batch -> logits (W, K) for a tagger, (B, K) for a classifier.  keep, shift: see Bert.forward."""
        hidden, bert = self.encode(batch, rng=rng, keep=keep, shift=shift)
        params = {"classifier": self.store.under("classifier")[""], **self._pooler()}
        logits, head = head_forward(hidden, params, batch.starts, batch.rows, pooling=self.pooling,
                                    dropout=self.config.hidden_dropout_prob, rng=rng)
        return logits, TransformerCache(bert, head)

    def backward(self, dlogits: Array, cache: TransformerCache, *, need_dembeddings: bool = False) -> Array | None:
        """dlogits, shaped as forward's logits: add the gradient of every trainable parameter of encoder and head to the store."""
        reaches_encoder = need_dembeddings or self.bert.lowest_trainable() < self.config.num_hidden_layers
        dhidden, grads = head_backward(dlogits, cache.head, need_dx=reaches_encoder)
        self.store.accumulate("", grads)
        if reaches_encoder:
            return self.bert.backward(dhidden, cache.bert, need_dembeddings=need_dembeddings)
        return None

    def loss_forward(self, batch: Batch, *, rng=None, keep: Keep = True,
                     shift: Array | None = None) -> tuple[float, TransformerLossCache]:
        """Return the cross-entropy, the mean over labelled words or documents.  keep, shift: see Bert.forward."""
        logits, model = self.forward(batch, rng=rng, keep=keep, shift=shift)
        loss, cache = softmax_cross_entropy_forward(logits, batch.labels)
        return float(loss), TransformerLossCache(model, cache)

    def loss_backward(self, dloss: float, cache: TransformerLossCache, *, need_dembeddings: bool = False) -> Array | None:
        """Add the gradient of dloss * loss to the store."""
        dlogits, _ = softmax_cross_entropy_backward(self.store.dtype.type(dloss), cache.loss)
        return self.backward(dlogits, cache.model, need_dembeddings=need_dembeddings)

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Return the weight of a part's loss in that of the whole batch: its share of the labelled words or documents."""
        return int((part.host.labels >= 0).sum()) / max(int((whole.host.labels >= 0).sum()), 1)

    def scores(self, batch: Batch) -> Array:
        """Return log-probabilities: (W, K) of the words, or (B, K) of the documents."""
        return log_softmax_forward(self.forward(batch, keep=False)[0])[0]

    def decoder(self) -> dict[str, Array]:
        """Return what Viterbi adds to the scores: nothing."""
        return {}

    def confidences(self, scores: Array, starts: np.ndarray, tags: Array, *, legal: Any = None) -> Array:
        """scores (W, K), starts (B+1,) of the sentences, tags (W,) -> the probability (W,) of each tag.

        The words are independent, so `legal` is not used.
        """
        xp = self.store.xp
        return xp.exp(scores[xp.arange(len(tags)), tags])

    def span_confidences(self, scores: Array, starts: np.ndarray, spans: np.ndarray, tags: Array, *,
                         legal: Any = None) -> np.ndarray:
        """spans (S, 2), first and last + 1 row of each -> (S,), the geometric mean of its tags' probabilities."""
        logs = to_numpy(scores[self.store.xp.arange(len(tags)), tags])                    # (W,)
        return np.exp([logs[first:end].mean() for first, end in spans])

    def _pooler(self) -> dict[str, dict[str, Array]]:
        return {"bert.pooler.dense": self.store.under("bert.pooler")["dense"]} if self.pooling == "cls" else {}
