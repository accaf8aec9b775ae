"""The BiLSTM-CRF tagger.  Lample et al. 2016, sections 2 and 4; as Bari et al. 2020 have it (figure 1 left, eq. 1-2).

    x_t        = [word_embeddings of w_t,  last states of the character BiLSTM over the spelling of w_t]
    hidden     = dropout(BiLSTM(dropout(x)))                              over the words of a sentence
    emissions  = classifier(tanh(dense(hidden)))                          of the scored words, (W, K)
    loss       = mean over the sentences of  -log p(tags | emissions)     ops/crf.py
    backward   of the ops in reverse; through tanh  dx = dy · (1 - tanh²);  x falls apart into its two halves

In training a word that the training text has once is read as the unknown word half of the time (Lample et al. 2016,
section 4), so that the unknown word is learned; its spelling stays.

The encoder reads word vectors of any origin, which is what other taggers share: see encoder_forward.
Checked against PyTorch in tests/models/test_bilstm_crf.py, parameter counts in tests/models/test_bilstm_crf_counts.py.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, array_module, to_numpy
from minixl.data.batching import Batch
from minixl.data.lexicon import UNKNOWN, CharBatch, Lexicon
from minixl.errors import UserError
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig, initial_value, tagger_shapes
from minixl.models.char_lstm import CharLSTMCache, char_lstm_backward, char_lstm_forward
from minixl.ops.bilstm import bilstm_backward, bilstm_forward
from minixl.ops.crf import CRFCache, crf_backward, crf_forward
from minixl.ops.crf_confidence import continuations, entity_probabilities, tag_probabilities
from minixl.ops.dropout import DropoutCache, dropout_backward, dropout_forward, dropout_mask
from minixl.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from minixl.ops.linear import LinearCache, linear_backward, linear_forward
from minixl.ops.lstm_steps import RecurrentCache
from minixl.ops.variational_dropout import (VariationalDropoutCache, variational_dropout_backward,
                                            variational_dropout_forward)
from minixl.ops.viterbi import LegalMoves
from minixl.parameters import ParameterStore

Modules = Mapping[str, Mapping[str, Array]]                               # module -> parameter -> value
AnyDropout = DropoutCache | VariationalDropoutCache

ARGUMENTS = {f"{theirs}_l0{side}": f"{ours}{side}"                        # torch.nn.LSTM's names -> those of bilstm_forward
             for side in ("", "_reverse")
             for theirs, ours in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias_ih", "bias"),
                                  ("bias_hh", "bias_hh"))}
NAMES = {argument: name for name, argument in ARGUMENTS.items()}


class EncoderCache(NamedTuple):
    chars: CharLSTMCache | None
    word_size: int                 # columns of x that are the word's
    before: AnyDropout
    lstm: RecurrentCache
    after: AnyDropout


class HeadCache(NamedTuple):
    rows: Array | None             # (W,)    rows of the scored words; None: all T
    tokens: int                    # T
    dense: LinearCache
    active: Array                  # (W, D)  tanh's output
    classifier: LinearCache


class BilstmCrfCache(NamedTuple):
    words: EmbeddingCache
    encoder: EncoderCache
    head: HeadCache


class LossCache(NamedTuple):
    model: BilstmCrfCache
    crf: CRFCache
    sentences: int                 # B


def encoder_forward(words: Array, params: Modules, *, chars: CharBatch | None, starts: np.ndarray, dropout: float,
                    variational: bool = False, rng=None) -> tuple[Array, EncoderCache]:
    """words (T, I) packed, vectors of the words whatever they come from -> hidden (T, 2H).

    params: "word_lstm" and, with chars, "char_embeddings" and "char_lstm", named as torch.nn.LSTM's.
    """
    x, char_cache = words, None
    if chars is not None:
        char_params = {"embedding": params["char_embeddings"], "lstm": _arguments(params["char_lstm"])}
        spelled, char_cache = char_lstm_forward(char_params, batch=chars)               # (T, 2 char_hidden)
        x = array_module(words).concatenate([words, spelled], axis=1)                   # (T, I + 2 char_hidden)
    x, before = _drop(x, dropout, variational, starts, rng)
    (hidden, _), lstm = bilstm_forward(x, **_arguments(params["word_lstm"]), starts=starts)      # (T, 2H)
    hidden, after = _drop(hidden, dropout, variational, starts, rng)
    return hidden, EncoderCache(char_cache, words.shape[1], before, lstm, after)


def encoder_backward(dhidden: Array, cache: EncoderCache) -> tuple[Array, dict[str, Any]]:
    """dhidden (T, 2H) -> dwords (T, I) and gradients by module, row-sparse for the character table."""
    xp = array_module(dhidden)
    grads: dict[str, Any] = {}
    dx, lstm = bilstm_backward((_drop_backward(dhidden, cache.after), None), cache.lstm)
    grads["word_lstm"] = _names(lstm)
    dx = _drop_backward(dx, cache.before)
    if cache.chars is not None:
        _, chars = char_lstm_backward(xp.ascontiguousarray(dx[:, cache.word_size:]), cache.chars)
        grads |= {"char_embeddings": chars["embedding"], "char_lstm": _names(chars["lstm"])}
    return xp.ascontiguousarray(dx[:, :cache.word_size]), grads


def head_forward(hidden: Array, params: Modules, rows: Array) -> tuple[Array, HeadCache]:
    """hidden (T, 2H), rows (W,) of the scored words -> emissions (W, K).  params: "dense", "classifier"."""
    picked = None if len(rows) == len(hidden) else rows                   # rows rise: as many as words are all of them
    x, dense = linear_forward(hidden if picked is None else hidden[picked], **params["dense"])   # (W, D)
    active = array_module(x).tanh(x)
    emissions, classifier = linear_forward(active, **params["classifier"])                       # (W, K)
    return emissions, HeadCache(picked, len(hidden), dense, active, classifier)


def head_backward(demissions: Array, cache: HeadCache) -> tuple[Array, dict[str, Any]]:
    """demissions (W, K) -> dhidden (T, 2H) and gradients by module."""
    grads: dict[str, Any] = {}
    dactive, grads["classifier"] = linear_backward(demissions, cache.classifier)
    dpicked, grads["dense"] = linear_backward(dactive * (1 - cache.active * cache.active), cache.dense)
    if cache.rows is None:
        return dpicked, grads
    dhidden = array_module(dpicked).zeros((cache.tokens, dpicked.shape[1]), dpicked.dtype)
    dhidden[cache.rows] = dpicked                                         # no word is scored twice
    return dhidden, grads


class BilstmCrf:
    """A tagger of words for `labels`, which reads the ids of `lexicon`.

    legal: moves between tags; when given, training sums over legal tag sequences only, and gold tags must be legal.
    """

    family = "bilstm-crf"
    pooling = "token"

    def __init__(self, config: BilstmCrfConfig, labels: list[str], lexicon: Lexicon, *, legal: LegalMoves | None = None,
                 dtype: Any = np.float32, xp: Any = np) -> None:
        for name in ("vocabulary_size", "alphabet_size"):
            if getattr(lexicon, name) != getattr(config, name):
                raise UserError(f"config.json: {name}: expected {getattr(lexicon, name)}, as lexicon.json has it, "
                                f"found {getattr(config, name)}; the files belong to different models")
        self.config, self.labels, self.lexicon, self.legal = config, labels, lexicon, legal
        self.store = ParameterStore(tagger_shapes(config, len(labels)), tables=[WORD_TABLE], dtype=dtype, xp=xp)
        self.store[WORD_TABLE].trainable = config.train_words

    def head_names(self) -> list[str]:
        """Parameters that make tags of states: the tanh layer, the classifier, the CRF."""
        return [name for name in self.store.names() if name.startswith(("dense.", "classifier.", "crf."))]

    def encoder_names(self) -> list[str]:
        """Parameters that make states of words."""
        return [name for name in self.store.names() if not name.startswith(("dense.", "classifier.", "crf."))]

    def task_names(self) -> list[str]:
        """Trainable parameters; the loss moves all of them."""
        return self.store.names(trainable=True)

    def initialise(self, rng: np.random.Generator) -> None:
        """Random values for everything but given word vectors: see bilstm_crf_config.py."""
        for parameter in self.store:
            if parameter.name != WORD_TABLE or self.config.train_words:
                drawn = initial_value(parameter.name, parameter.value.shape, rng)
                parameter.value[...] = self.store.xp.asarray(drawn, parameter.value.dtype)

    def set_word_vectors(self, vectors: np.ndarray) -> None:
        """vectors (V - 1, I) of the lexicon's vocabulary, in its order.  The unknown word gets their mean."""
        table = self.store[WORD_TABLE].value
        expected = (len(table) - 1, table.shape[1])
        if vectors.shape != expected:
            raise ValueError(f"vectors: expected shape {expected} (words of the lexicon, word_size), got {vectors.shape}")
        table[UNKNOWN + 1:] = self.store.xp.asarray(vectors, table.dtype)
        if len(vectors):
            table[UNKNOWN] = self.store.xp.asarray(vectors.mean(axis=0, dtype=np.float64), table.dtype)

    def encode(self, batch: Batch, *, rng=None) -> tuple[Array, tuple[EmbeddingCache, EncoderCache]]:
        """A packed batch -> states of all words, (T, 2H).  With rng: dropout, and singletons read as unknown."""
        ids = to_numpy(batch.input_ids)
        words, word_cache = embedding_forward(self._rows(ids, rng), self.store[WORD_TABLE].value)
        hidden, encoder = encoder_forward(
            words, self._modules("char_embeddings", "char_lstm", "word_lstm"), starts=batch.starts,
            chars=self.lexicon.spell(ids) if self.config.chars else None, dropout=self.config.dropout,
            variational=self.config.variational, rng=rng)
        return hidden, (word_cache, encoder)

    def encode_backward(self, dhidden: Array, cache: tuple[EmbeddingCache, EncoderCache]) -> None:
        """dhidden (T, 2H): adds the gradient of every trainable parameter of the encoder to the store."""
        dwords, grads = encoder_backward(dhidden, cache[1])
        self.store.accumulate("", grads)
        if self.store[WORD_TABLE].trainable:
            self.store.accumulate("word_embeddings", embedding_backward(dwords, cache[0])[1])

    def forward(self, batch: Batch, *, rng=None) -> tuple[Array, BilstmCrfCache]:
        """A packed batch -> emissions (W, K) of its scored words; their sentences are word_starts(batch)."""
        hidden, encoded = self.encode(batch, rng=rng)
        emissions, head = head_forward(hidden, self._modules("dense", "classifier"), batch.rows)
        return emissions, BilstmCrfCache(*encoded, head)

    def backward(self, demissions: Array, cache: BilstmCrfCache) -> None:
        """demissions (W, K): adds the gradient of every trainable parameter but the CRF's to the store."""
        dhidden, grads = head_backward(demissions, cache.head)
        self.store.accumulate("", grads)
        self.encode_backward(dhidden, (cache.words, cache.encoder))

    def loss_forward(self, batch: Batch, *, rng=None) -> tuple[float, LossCache]:
        """Negative log-likelihood of the tags, mean over the sentences; windows of a long one count as sentences.

        Raises ValueError when a word has no tag: a CRF scores whole sequences.
        """
        if len(batch.labels) and int(batch.labels.min()) < 0:
            word = int((batch.labels < 0).argmax())
            raise ValueError(f"labels: expected a tag for every word, as a CRF is trained on whole sentences, "
                             f"got {int(batch.labels[word])} (not labelled) for word {word} of the batch")
        emissions, model = self.forward(batch, rng=rng)
        nll, crf = crf_forward(emissions, **self.decoder(), tags=batch.labels, starts=word_starts(batch), legal=self.legal)
        return float(nll.mean()), LossCache(model, crf, len(nll))

    def loss_backward(self, dloss: float, cache: LossCache) -> None:
        """Adds the gradient of dloss * loss to the store."""
        dnll = self.store.xp.full(cache.sentences, dloss / cache.sentences, self.store.dtype)
        demissions, grads = crf_backward(dnll, cache.crf)
        self.store.accumulate("crf", {name if name == "transitions" else f"{name}_transitions": grad
                                      for name, grad in grads.items()})
        self.backward(demissions, cache.model)

    def loss_share(self, part: Batch, whole: Batch) -> float:
        """Weight of the loss of a part of a batch in the loss of the whole: its share of the sentences."""
        return len(part.order) / len(whole.order)

    def scores(self, batch: Batch) -> Array:
        """Emissions (W, K) of the scored words."""
        return self.forward(batch)[0]

    def decoder(self) -> dict[str, Array]:
        """What Viterbi adds to the emissions: transitions (K, K) [from, to] and, with start_end, start and end (K,)."""
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
        """spans (S, 2), first and last + 1 row of each entity, and tags (W,), which say its type -> its probability (S,).

        An entity that begins earlier or goes on is another one and not counted.
        """
        return entity_probabilities(self.store.xp.asarray(scores), starts, spans, tags, **self.decoder(), legal=legal,
                                    continues=continuations(self.labels))

    def _rows(self, ids: np.ndarray, rng: Any) -> Array:
        """Rows (T,) of the word table; with rng some singletons are unknown words."""
        rows, xp = self.lexicon.rows(ids), self.store.xp
        if rng is None or not self.config.word_unknown:
            return xp.asarray(rows)
        kept = dropout_mask(rows.shape, self.config.word_unknown, rng, xp)
        return xp.where(kept | ~xp.asarray(self.lexicon.once(rows)), xp.asarray(rows), UNKNOWN)

    def _modules(self, *names: str) -> Modules:
        return {name: module[""] for name in names if (module := self.store.under(name))}


def word_starts(batch: Batch) -> np.ndarray:
    """Where each sentence begins among the scored words, (B+1,): batch.starts, unless windows have words beside these."""
    if len(batch.rows) == batch.tokens:
        return batch.starts
    return np.searchsorted(to_numpy(batch.rows), batch.starts).astype(np.int64)


def _arguments(module: Mapping[str, Array]) -> dict[str, Array]:
    return {ARGUMENTS[name]: value for name, value in module.items()}


def _names(grads: Mapping[str, Array]) -> dict[str, Array]:
    return {NAMES[argument]: grad for argument, grad in grads.items()}


def _drop(x: Array, p: float, variational: bool, starts: np.ndarray, rng) -> tuple[Array, AnyDropout]:
    if variational:
        return variational_dropout_forward(x, p, starts=starts, rng=rng)
    return dropout_forward(x, p, rng=rng)


def _drop_backward(dy: Array, cache: AnyDropout) -> Array:
    if isinstance(cache, VariationalDropoutCache):
        return variational_dropout_backward(dy, cache)[0]
    return dropout_backward(dy, cache)[0]
