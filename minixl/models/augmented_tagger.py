"""The tagger with a second encoder for the target language.  Bari et al. 2020, figure 1 and section "Augmented Fine-tuning".

    source path       emissions = head(h_source)                       a BilstmCrf: bilstm_crf.py
    augmented path    z         = [h_source, h_target]                 (T, 4H)   both encoders read the same words
                      joined    = tanh(target_dense(z))                (T, 2H)
                      emissions = head(joined)                         of the scored words, (W, K)
    backward          of the ops in reverse; h_source passes no gradient on (stop-gradient), unless `flow`

Both paths share the head (dense, tanh, classifier), the CRF, the word vectors and the character table.  The paper does not give
the activation after target_dense; tanh is that of dense.  The paper's algorithm updates only θ_t on the loss of the augmented
path, so h_source is a constant there.

Checked against PyTorch in tests/models/test_augmented_tagger.py, parameter counts in tests/models/test_bilstm_crf_counts.py.
"""
from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from minixl.backend import Array, to_numpy
from minixl.data.batching import Batch
from minixl.data.lexicon import Lexicon
from minixl.models.bilstm_crf import HEAD, BilstmCrf
from minixl.models.bilstm_crf_config import CHAR_TABLE, TARGET, WORD_TABLE, BilstmCrfConfig, Shapes, augmented_shapes
from minixl.models.bilstm_layers import (BilstmEncoderCache, BilstmHeadCache, Modules, encoder_backward, encoder_forward,
                                         head_backward, head_forward)
from minixl.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward


class AugmentedCache(NamedTuple):
    words: EmbeddingCache
    source: tuple[EmbeddingCache, BilstmEncoderCache]
    target: BilstmEncoderCache
    joining: LinearCache
    joined: Array                  # (T, 2H)  tanh's output
    head: BilstmHeadCache


class AugmentedTagger(BilstmCrf):
    """The augmented path; `source` is the source path, a tagger of its own on the same parameters.

    sources: the languages that are read through the source path; all others take the augmented path.
    flow: let the loss of the augmented path train the source encoder, too.
    """

    family = "augmented-tagger"

    def __init__(self, config: BilstmCrfConfig, labels: list[str], lexicon: Lexicon, *, sources: Collection[str] = (),
                 flow: bool = False, **options: Any) -> None:
        super().__init__(config, labels, lexicon, **options)
        self.sources, self.flow = frozenset(sources), flow
        self.source = BilstmCrf(config, labels, lexicon, legal=self.legal, store=self.store)

    @staticmethod
    def shapes(config: BilstmCrfConfig, labels: int) -> Shapes:
        return augmented_shapes(config, labels)

    def for_language(self, language: str) -> BilstmCrf:
        """Return the path for a language: the source path for a source language, the augmented path for any other."""
        return self.source if language in self.sources else self

    def target_names(self) -> list[str]:
        """Return θ_t, the trainable parameters that the loss of the augmented path updates."""
        shared = (*HEAD, CHAR_TABLE, WORD_TABLE)
        return [name for name in self.task_names() if self.flow or name.startswith((TARGET, *shared))]

    def forward(self, batch: Batch, *, rng=None, shift: Array | None = None) -> tuple[Array, Any]:
        """A packed batch -> emissions (W, K) of its scored words.  shift: of both encoders' word vectors, see encode."""
        h_source, source = self.encode(batch, rng=rng, shift=shift)                              # (T, 2H)
        ids = to_numpy(batch.input_ids)
        words, word_cache = embedding_forward(self.rows(ids, rng), self.store[WORD_TABLE].value)
        if shift is not None:
            words = words + shift
        h_target, target = encoder_forward(
            words, self.target_modules(), starts=batch.starts, chars=self.lexicon.spell(ids), dropout=self.config.dropout,
            variational=self.config.variational, rng=rng)                                        # (T, 2H)
        xp = self.store.xp
        x, joining = linear_forward(xp.concatenate([h_source, h_target], axis=1), **self.modules("target_dense")["target_dense"])
        joined = xp.tanh(x)                                                                      # (T, 2H)
        emissions, head = head_forward(joined, self.modules("dense", "classifier"), batch.rows)
        return emissions, AugmentedCache(word_cache, source, target, joining, joined, head)

    def backward(self, demissions: Array, cache: Any) -> Array:
        """demissions (W, K): add the gradients of θ_t but the CRF's to the store; with `flow` those of the source encoder, too.

        Returns the gradient of the word vectors, (T, embedding_size), without the part that h_source stops.
        """
        djoined, grads = head_backward(demissions, cache.head)                                   # (T, 2H)
        dz, grads["target_dense"] = linear_backward(djoined * (1 - cache.joined * cache.joined), cache.joining)
        half = dz.shape[1] // 2                                                                  # 2H
        dwords, of_target = encoder_backward(self.store.xp.ascontiguousarray(dz[:, half:]), cache.target)
        grads |= {name if name == "char_embeddings" else TARGET + name: grad for name, grad in of_target.items()}
        self.store.accumulate("", grads)
        if self.store[WORD_TABLE].trainable:
            self.store.accumulate("word_embeddings", embedding_backward(dwords, cache.words)[1])
        if self.flow:
            dwords = dwords + self.encode_backward(self.store.xp.ascontiguousarray(dz[:, :half]), cache.source)
        return dwords

    def target_modules(self) -> Modules:
        """Return the modules of the target encoder, by the names of encoder_forward."""
        names = ("char_embeddings", f"{TARGET}char_lstm", f"{TARGET}word_lstm")
        return {name.removeprefix(TARGET): module for name, module in self.modules(*names).items()}
