"""The BiLSTM-CRF tagger.  Lample et al. 2016, sections 2 and 4; in the form of Bari et al. 2020 (figure 1 left, eq. 1-2).

    words      = rows of word_embeddings
    hidden     = encoder(words, spelling)                                 bilstm_layers.py
    emissions  = head(hidden)                                             of the scored words, (W, K)
    loss       = mean over the sentences of  -log p(tags | emissions)     ops/crf.py

During training, a word that occurs once in the training text is replaced by the unknown word half of the time (Lample et
al. 2016, section 4), so that the model learns a vector for unknown words; the spelling stays.

Checked against PyTorch in tests/models/test_bilstm_crf.py, parameter counts in tests/models/test_bilstm_crf_counts.py.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array
from minixl.data.batching import Batch
from minixl.data.lexicon import UNKNOWN, Lexicon
from minixl.errors import UserError
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig, Shapes, initial_value, tagger_shapes
from minixl.models.bilstm_layers import (BilstmEncoderCache, BilstmHeadCache, Modules, encoder_backward, encoder_forward,
                                         head_backward, head_forward)
from minixl.models.family import Keep
from minixl.ops.crf import CRFCache, crf_backward, crf_forward
from minixl.ops.crf_confidence import continuations, entity_probabilities, tag_probabilities
from minixl.ops.dropout import dropout_mask
from minixl.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from minixl.ops.viterbi import LegalMoves
from minixl.parameters import ParameterStore

HEAD = ("dense.", "classifier.", "crf.")                   # prefixes of the parameters from states to tags


class BilstmCrfCache(NamedTuple):
    words: Any                     # of the word vectors; an EmbeddingCache if they are a table's
    encoder: BilstmEncoderCache
    head: BilstmHeadCache


class BilstmCrfLossCache(NamedTuple):
    model: BilstmCrfCache
    crf: CRFCache
    sentences: int                 # B


class BilstmCrf:
    """A tagger of words with the tags `labels`; it reads the word ids of `lexicon`.

    legal: the legal moves between tags; training then sums over legal tag sequences only, and gold tags must be legal.
    store, names: a larger model's parameters, of which these are this one's; None: a new store, its own.
    """

    family = "bilstm-crf"
    pooling = "token"

    def __init__(self, config: BilstmCrfConfig, labels: list[str], lexicon: Lexicon, *, legal: LegalMoves | None = None,
                 store: ParameterStore | None = None, names: list[str] | None = None, dtype: Any = np.float32,
                 xp: Any = np) -> None:
        for name in ("vocabulary_size", "alphabet_size"):
            if getattr(lexicon, name) != getattr(config, name):
                raise UserError(f"config.json: {name}: expected {getattr(lexicon, name)}, as in lexicon.json, "
                                f"found {getattr(config, name)}; the files belong to different models")
        self.config, self.labels, self.lexicon, self.legal = config, labels, lexicon, legal
        shapes = self.shapes(config, len(labels))
        self.store = ParameterStore(shapes, tables=[WORD_TABLE], dtype=dtype, xp=xp) if store is None else store
        self.names = names or list(shapes)
        if WORD_TABLE in self.names:
            self.store[WORD_TABLE].trainable = config.train_words

    @staticmethod
    def shapes(config: BilstmCrfConfig, labels: int) -> Shapes:
        """Return the shapes of its parameters by name."""
        return tagger_shapes(config, labels)

    def for_language(self, language: str) -> BilstmCrf:
        """Return itself: it reads every language in the same way."""
        return self

    def head_names(self) -> list[str]:
        """Return the parameters from states to tags: the tanh layer, the classifier, the CRF."""
        return [name for name in self.names if name.startswith(HEAD)]

    def encoder_names(self) -> list[str]:
        """Return the parameters from words to states."""
        return [name for name in self.names if not name.startswith(HEAD)]

    def task_names(self) -> list[str]:
        """Return its trainable parameters; the loss updates all of them."""
        return [name for name in self.names if self.store[name].trainable]

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw all parameters but fixed word vectors: see bilstm_crf_config.py."""
        for parameter in self.store:
            if parameter.name != WORD_TABLE or self.config.train_words:
                drawn = initial_value(parameter.name, parameter.value.shape, rng)
                parameter.value[...] = self.store.xp.asarray(drawn, parameter.value.dtype)

    def set_word_vectors(self, vectors: np.ndarray) -> None:
        """Set the vectors (V - 1, I) of the lexicon's vocabulary, in its order.  The unknown word gets their mean."""
        table = self.store[WORD_TABLE].value
        expected = (len(table) - 1, table.shape[1])
        if vectors.shape != expected:
            raise ValueError(f"vectors: expected shape {expected} (words of the lexicon, word_size), got {vectors.shape}")
        table[UNKNOWN + 1:] = self.store.xp.asarray(vectors, table.dtype)
        if len(vectors):
            table[UNKNOWN] = self.store.xp.asarray(vectors.mean(axis=0, dtype=np.float64), table.dtype)

    @property
    def embedding_size(self) -> int:
        """The size of the word vectors."""
        return self.config.word_size

    def encode(self, batch: Batch, *, rng=None,
               shift: Array | None = None) -> tuple[Array, tuple[EmbeddingCache, BilstmEncoderCache]]:
        """A packed batch -> states of all words, (T, 2H).  rng turns on dropout and unknown words for singletons.

        shift: of the word vectors, (T, embedding_size).
        """
        ids = batch.host.input_ids
        words, word_cache = embedding_forward(self.rows(ids, rng), self.store[WORD_TABLE].value)
        if shift is not None:
            words = words + shift
        hidden, encoder = encoder_forward(
            words, self.modules("char_embeddings", "char_lstm", "word_lstm"), starts=batch.starts,
            chars=self.lexicon.spell(ids) if self.config.chars else None, dropout=self.config.dropout,
            variational=self.config.variational, rng=rng)
        return hidden, (word_cache, encoder)

    def encode_backward(self, dhidden: Array, cache: tuple[Any, BilstmEncoderCache]) -> Array:
        """dhidden (T, 2H): add the gradient of every trainable parameter of the encoder to the store.

        Returns the gradient of the word vectors, (T, embedding_size).
        """
        dwords, grads = encoder_backward(dhidden, cache[1])
        self.store.accumulate("", grads)
        if self.store[WORD_TABLE].trainable:
            self.store.accumulate("word_embeddings", embedding_backward(dwords, cache[0])[1])
        return dwords

    def forward(self, batch: Batch, *, rng=None, shift: Array | None = None) -> tuple[Array, BilstmCrfCache]:
        """A packed batch -> emissions (W, K) of its scored words; their sentences are word_starts(batch).  shift: see encode."""
        hidden, encoded = self.encode(batch, rng=rng, shift=shift)
        emissions, head = head_forward(hidden, self.modules("dense", "classifier"), batch.rows)
        return emissions, BilstmCrfCache(*encoded, head)

    def backward(self, demissions: Array, cache: BilstmCrfCache) -> Array:
        """demissions (W, K): add the gradient of every trainable parameter but the CRF's to the store.

        Returns the gradient of the word vectors, (T, embedding_size).
        """
        dhidden, grads = head_backward(demissions, cache.head)
        self.store.accumulate("", grads)
        return self.encode_backward(dhidden, (cache.words, cache.encoder))

    def loss_forward(self, batch: Batch, *, rng=None, keep: Keep = True,
                     shift: Array | None = None) -> tuple[float, BilstmCrfLossCache]:
        """Return the negative log-likelihood of the tags, the mean over sentences; each window of a long one counts as one.

        keep: without effect, since all caches are small; shift: of the word vectors, (T, embedding_size).
        Raises ValueError when a word has no tag: a CRF scores whole sequences.
        """
        labels = batch.host.labels
        if len(labels) and labels.min() < 0:
            word = int((labels < 0).argmax())
            raise ValueError(f"labels: expected a tag for every word, as a CRF is trained on whole sentences, "
                             f"got {labels[word]} (unlabelled) for word {word} of the batch")
        emissions, model = self.forward(batch, rng=rng, shift=shift)
        nll, crf = crf_forward(emissions, **self.decoder(), tags=batch.labels, starts=word_starts(batch), legal=self.legal)
        return float(nll.mean()), BilstmCrfLossCache(model, crf, len(nll))

    def loss_backward(self, dloss: float, cache: BilstmCrfLossCache, *, need_dembeddings: bool = False) -> Array | None:
        """Add the gradient of dloss * loss to the store; return that of the word vectors if needed."""
        dnll = self.store.xp.full(cache.sentences, dloss / cache.sentences, self.store.dtype)
        demissions, grads = crf_backward(dnll, cache.crf)
        self.store.accumulate("crf", {name if name == "transitions" else f"{name}_transitions": grad
                                      for name, grad in grads.items()})
        dwords = self.backward(demissions, cache.model)
        return dwords if need_dembeddings else None

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Return the weight of a part's loss in that of the whole batch: its share of the sentences."""
        return len(part.order) / len(whole.order)

    def scores(self, batch: Batch) -> Array:
        """Return the emissions (W, K) of the scored words."""
        return self.forward(batch)[0]

    def decoder(self) -> dict[str, Array]:
        """Return what Viterbi adds to the emissions: transitions (K, K) [from, to] and, with start_end, start and end (K,)."""
        scores = {"transitions": self.store["crf.transitions"].value}
        if self.config.start_end:
            scores |= {side: self.store[f"crf.{side}_transitions"].value for side in ("start", "end")}
        return scores

    def confidences(self, scores: Array, starts: np.ndarray, tags: Array, *, legal: LegalMoves | None = None) -> Array:
        """Emissions (W, K), starts (B+1,) of sentences, tags (W,) -> the probability (W,) of each of these tags."""
        xp = self.store.xp
        probs = tag_probabilities(xp.asarray(scores), starts, **self.decoder(), legal=legal)         # (W, K)
        return probs[xp.arange(len(probs)), xp.asarray(tags)]

    def span_confidences(self, scores: Array, starts: np.ndarray, spans: Array, tags: Array, *,
                         legal: LegalMoves | None = None) -> Array:
        """spans (S, 2), first and last + 1 row of each entity, and tags (W,), for its type -> its probability (S,).

        Entities that begin earlier or end later are others and do not count.
        """
        return entity_probabilities(self.store.xp.asarray(scores), starts, spans, tags, **self.decoder(), legal=legal,
                                    continues=continuations(self.labels))

    def rows(self, ids: np.ndarray, rng: Any) -> Array:
        """ids (T,) -> rows (T,) of the word table; with rng, some singletons become the unknown word."""
        rows, xp = self.lexicon.rows(ids), self.store.xp
        if rng is None or not self.config.word_unknown:
            return xp.asarray(rows)
        kept = dropout_mask(rows.shape, self.config.word_unknown, rng, xp)
        return xp.where(kept | ~xp.asarray(self.lexicon.is_singleton(rows)), xp.asarray(rows), UNKNOWN)

    def modules(self, *names: str) -> Modules:
        """Return module -> parameter -> value of the modules that it has."""
        return {name: module[""] for name in names if (module := self.store.under(name))}


def word_starts(batch: Batch) -> np.ndarray:
    """Return where each sentence begins among the scored words, (B+1,): batch.starts, unless windows have context words."""
    if len(batch.rows) == batch.tokens:
        return batch.starts
    return np.searchsorted(batch.host.rows, batch.starts).astype(np.int64)
