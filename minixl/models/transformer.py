"""An encoder with a head: the tagger or classifier that methods train, `evaluate` scores and `predict` uses."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array
from minixl.data.batching import Batch
from minixl.models.bert import WORD_TABLE, Bert, BertCache
from minixl.models.bert_config import BertConfig
from minixl.models.heads import POOLINGS, HeadCache, head_backward, head_forward
from minixl.parameters import ParameterStore


class TransformerCache(NamedTuple):
    bert: BertCache
    head: HeadCache


class Transformer:
    """BERT and a linear head over `labels`; pooling is "token" (a tagger), "mean" or "cls" (a classifier)."""

    def __init__(self, config: BertConfig, labels: list[str], pooling: str, *, dtype: Any = np.float32,
                 xp: Any = np) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"model.pooling: expected one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.config, self.labels, self.pooling = config, labels, pooling
        shapes = Bert.shapes(config, pooler=pooling == "cls")
        shapes["classifier.weight"] = (len(labels), config.hidden_size)
        shapes["classifier.bias"] = (len(labels),)
        self.store = ParameterStore(shapes, tables=[WORD_TABLE], dtype=dtype, xp=xp)
        self.bert = Bert(config, self.store)

    def head_names(self) -> list[str]:
        """Parameters that are not the encoder's: with the pooler, which a head learns as well."""
        return [name for name in self.store.names() if not name.startswith("bert.") or name.startswith("bert.pooler.")]

    def encoder_names(self) -> list[str]:
        """Parameters of the encoder."""
        head = set(self.head_names())
        return [name for name in self.store.names() if name not in head]

    def initialise_head(self, rng: np.random.Generator) -> None:
        """Normal weights of the configuration's initializer_range, zero biases (Devlin et al. 2019)."""
        for name in self.head_names():
            value = self.store[name].value
            drawn = rng.normal(0, self.config.initializer_range, value.shape) if value.ndim > 1 else np.zeros(value.shape)
            value[...] = self.store.xp.asarray(drawn, value.dtype)

    def forward(self, batch: Batch, *, rng=None, keep: bool = True) -> tuple[Array, TransformerCache]:
        """A packed batch -> logits (W, K) for a tagger, (B, K) for a classifier."""
        hidden, bert = self.bert.forward(batch.input_ids, batch.position_ids, batch.starts, rng=rng, keep=keep)
        params = {"classifier": self.store.under("classifier")[""], **self._pooler()}
        logits, head = head_forward(hidden, params, batch.starts, batch.rows, pooling=self.pooling,
                                    dropout=self.config.hidden_dropout_prob, rng=rng)
        return logits, TransformerCache(bert, head)

    def backward(self, dlogits: Array, cache: TransformerCache) -> None:
        """Adds the gradient of every trainable parameter to the store."""
        reaches_encoder = self.bert.lowest_trainable() < self.config.num_hidden_layers
        dhidden, grads = head_backward(dlogits, cache.head, need_dx=reaches_encoder)
        self.store.accumulate("", grads)
        if reaches_encoder:
            self.bert.backward(dhidden, cache.bert)

    def _pooler(self) -> dict[str, dict[str, Array]]:
        return {"bert.pooler.dense": self.store.under("bert.pooler")["dense"]} if self.pooling == "cls" else {}
