"""A BiLSTM-CRF on the states of a fixed language model of several languages.  Bao et al. 2019, sections 2.4 and 2.5.

    states     of all layers, (T, L, 2H), from the fixed language model: bidirectional_lm.py
    words      = a weighted sum of the layers, (T, 2H), with learned weights: layer_mixing.py
    hidden     = encoder(words, spelling)                                  bilstm_layers.py
    emissions  = classifier(hidden)                                        of the scored words, (W, K)
    loss       = mean over the sentences of  -log p(tags | emissions)      ops/crf.py

The language model's parameters are part of the model, but nothing here changes them.  The states of a training sentence are
computed once and come with the batch (frozen_bottom.py); those of a batch of a dev or test file are kept, too, while there is room.
Checked against PyTorch in tests/models/test_mlma_tagger.py.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass
from collections.abc import Mapping
from typing import Any

import numpy as np

from minixl.backend import Array, to_numpy
from minixl.data.batching import Batch
from minixl.data.language_lexicon import LanguageLexicon
from minixl.errors import UserError
from minixl.models.bidirectional_lm import BidirectionalLm
from minixl.models.bidirectional_lm_config import DIRECTIONS, LanguageModelConfig, Shapes, language_model_shapes
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import WORD_TABLE, BilstmCrfConfig, initial_value, tagger_shapes
from minixl.models.bilstm_layers import BilstmEncoderCache, encoder_backward, encoder_forward
from minixl.models.layer_mixing import KINDS, initial_weight, mixing_backward, mixing_forward, mixing_shapes
from minixl.ops.viterbi import LegalMoves
from minixl.parameters import ParameterStore

MODEL_TYPE = "mlma-tagger"
LANGUAGE_MODEL = "language_model."     # prefix of its parameters


@dataclass(frozen=True, slots=True)
class MlmaTaggerConfig:
    """The sizes of the language model and of the tagger."""

    language_model: LanguageModelConfig
    tagger: BilstmCrfConfig            # word_size is 2H
    mixing: str                        # one of layer_mixing.KINDS
    mixing_size: int                   # S, for the self-weighted sum

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str = "config.json") -> MlmaTaggerConfig:
        """Check the content of config.json.  Errors begin with `where`.  Raises UserError."""
        if (model_type := raw.get("model_type")) != MODEL_TYPE:
            raise UserError(f"{where}: model_type: expected {MODEL_TYPE!r}, found {model_type!r}")
        inner = raw.get("language_model")
        language_model = LanguageModelConfig.from_json(inner if isinstance(inner, dict) else {}, f"{where}: language_model")
        tagger = BilstmCrfConfig.from_json({**raw, "model_type": "bilstm-crf"}, where)
        mixing, size = raw.get("mixing"), raw.get("mixing_size")
        if mixing not in KINDS or type(size) is not int or size < 1:
            raise UserError(f"{where}: mixing, mixing_size: expected one of {', '.join(KINDS)} and a size, found {mixing!r} and "
                            f"{size!r}; copy the model folder again")
        if tagger.word_size != 2 * language_model.hidden_size:
            raise UserError(f"{where}: word_size: expected {2 * language_model.hidden_size}, twice the language model's "
                            f"hidden_size, found {tagger.word_size}; copy the model folder again")
        return cls(language_model, tagger, mixing, size)

    def to_json(self) -> dict[str, Any]:
        """Return what from_json reads."""
        return {**asdict(self.tagger), "model_type": MODEL_TYPE, "mixing": self.mixing, "mixing_size": self.mixing_size,
                "language_model": self.language_model.to_json()}


def mlma_shapes(config: MlmaTaggerConfig, labels: int) -> Shapes:
    """Return parameter name -> shape: the language model, the weights of its layers, the tagger."""
    model = config.language_model
    shapes = {LANGUAGE_MODEL + name: shape for name, shape in language_model_shapes(model).items()}
    shapes |= mixing_shapes(config.mixing, model.layers, config.tagger.word_size, config.mixing_size)
    return shapes | {name: shape for name, shape in tagger_shapes(config.tagger, labels).items() if name != WORD_TABLE}


def layers_of(model: BidirectionalLm, lexicon: LanguageLexicon, input_ids: Array, starts: np.ndarray) -> Array:
    """input_ids (T,) of the lexicon, of words of any languages, starts (B+1,) -> the states of all layers, (T, L · 2H)."""
    rows, xp = lexicon.rows(to_numpy(input_ids)), model.store.xp
    words = xp.empty((len(rows), model.config.hidden_size), model.store.dtype)          # (T, H)
    for language, first in lexicon.firsts.items():
        table = model.table(language)
        own = np.flatnonzero((rows >= first) & (rows < first + len(table)))
        words[xp.asarray(own)] = table[xp.asarray(rows[own] - first)]
    states = model.fixed_states(words, starts)
    layers = [states[direction][layer] for layer in range(model.config.layers) for direction in DIRECTIONS]
    return xp.concatenate(layers, axis=1)


class MlmaTagger(BilstmCrf):
    """The tagger; `language_model` is the fixed part.

    room: bytes for the states of dev and test batches that are kept; 0 keeps none.
    """

    family = MODEL_TYPE
    lexicon: LanguageLexicon

    def __init__(self, mlma: MlmaTaggerConfig, labels: list[str], lexicon: LanguageLexicon, *, legal: LegalMoves | None = None,
                 room: int = 0, dtype: Any = np.float32, xp: Any = np) -> None:
        model = mlma.language_model
        sizes = {language: size + 2 for language, size in lexicon.languages.items()}
        if sizes != model.vocabulary_sizes or list(sizes) != model.languages:
            raise UserError(f"config.json: vocabulary_sizes: expected {sizes}, as in lexicon.json, found {model.vocabulary_sizes}; "
                            "the files belong to different models")
        shapes, tables = mlma_shapes(mlma, len(labels)), [f"{LANGUAGE_MODEL}words.{language}.weight" for language in sizes]
        store = ParameterStore(shapes, tables=tables, dtype=dtype, xp=xp)
        super().__init__(mlma.tagger, labels, lexicon, legal=legal, store=store, names=list(shapes))
        self.mlma, self.room = mlma, room
        self.language_model = BidirectionalLm(model, store, prefix=LANGUAGE_MODEL)
        self.kept: dict[tuple[bytes, bytes], Array] = {}
        store.freeze([LANGUAGE_MODEL + "*"])

    def initialise(self, rng: np.random.Generator) -> None:
        """Draw all parameters but the language model's."""
        for parameter in self.store:
            if parameter.trainable:
                shape = parameter.value.shape
                drawn = initial_weight(shape, rng) if parameter.name.startswith("mixing.") else \
                    initial_value(parameter.name, shape, rng)
                parameter.value[...] = self.store.xp.asarray(drawn, parameter.value.dtype)

    # the fixed part, as models/frozen_bottom.py computes and keeps it

    @property
    def bottom_size(self) -> int:
        """Numbers of the states of a word, L · 2H."""
        return self.mlma.language_model.layers * self.config.word_size

    def lowest_trainable(self) -> int:
        """Return 0: the whole language model is below what is trained."""
        return 0

    def frozen_bottom(self, input_ids: Array, position_ids: Array, starts: np.ndarray) -> Array:
        """input_ids (T,) of words of any languages, starts (B+1,) -> the states of all layers, (T, L · 2H)."""
        return layers_of(self.language_model, self.lexicon, input_ids, starts)

    def states(self, batch: Batch) -> Array:
        """Return the states (T, L, 2H) of a batch: those that it brings, those kept of an equal batch, or new ones."""
        found = batch.bottom
        if found is None:
            key = batch.starts.tobytes(), to_numpy(batch.input_ids).tobytes()
            found = self.kept.get(key)
            if found is None:
                found = self.frozen_bottom(batch.input_ids, batch.position_ids, batch.starts)
                if found.nbytes <= self.room:
                    self.kept[key] = found
                    self.room -= found.nbytes
        return found.reshape(batch.tokens, -1, self.config.word_size)

    # the trained part

    @property
    def embedding_size(self) -> int:
        """The size of a word's representation, 2H."""
        return self.config.word_size

    def represent(self, batch: Batch) -> Array:
        """Return the representations (T, 2H) of all words."""
        return mixing_forward(self.states(batch), self.store.under("mixing"))[0]

    def encode(self, batch: Batch, *, rng=None, shift: Array | None = None) -> tuple[Array, Any]:
        """A packed batch -> states of all words, (T, 2 word_hidden).  shift (T, 2H): added to the representations."""
        words, mixing = mixing_forward(self.states(batch), self.store.under("mixing"))
        if shift is not None:
            words = words + shift
        hidden, encoder = encoder_forward(
            words, self.modules("char_embeddings", "char_lstm", "word_lstm"), starts=batch.starts,
            chars=self.lexicon.spell(to_numpy(batch.input_ids)) if self.config.chars else None, dropout=self.config.dropout,
            variational=self.config.variational, rng=rng)
        return hidden, (mixing, encoder)

    def encode_backward(self, dhidden: Array, cache: tuple[Any, BilstmEncoderCache]) -> Array:
        """dhidden (T, 2 word_hidden): add the gradients of the encoder and of the layers' weights to the store.

        Returns the gradient of the representations, (T, 2H).
        """
        mixing, encoder = cache
        dwords, grads = encoder_backward(dhidden, encoder)
        self.store.accumulate("", grads)
        self.store.accumulate("mixing", mixing_backward(dwords, mixing))
        return dwords
