"""Small models in float64 with random parameters, and a batch for each: what `minixl study check` does with whole models.

Every family, head and kind of discriminator is among them; tests compare these tables with building/families.py, heads.py and
discriminators.py.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minixl.data.batching import Batch, pack
from minixl.data.encoding import IGNORED, Example
from minixl.data.language_lexicon import SPECIAL, LanguageLexicon
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import legal_transitions
from minixl.models.augmented_tagger import AugmentedTagger
from minixl.models.bert_config import BertConfig
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.bidirectional_lm import BidirectionalLm
from minixl.models.bidirectional_lm_config import LanguageModelConfig
from minixl.models.layer_mixing import FULLY, SELF
from minixl.models.mlma_tagger import MlmaTagger, MlmaTaggerConfig
from minixl.models.transformer import Transformer

LABELS = ["O", "B-X", "I-X"]
SIZES: dict[str, Any] = {
    "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
    "max_position_embeddings": 12, "layer_norm_eps": 1e-3, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
LENGTHS = (4, 2, 6, 4)
SENTENCES = ["the cab ran by the cab".split(), ["ran"], "a dog and a cab".split(), "unseen by the".split()]
WORDS = "the cab ran by a dog and".split()


class ModelCase(NamedTuple):
    """A model and a labelled batch for it."""

    name: str
    model: Any
    batch: Batch


def transformer(pooling: str, *, model_type: str = "bert", discriminator: str = "none", seed: int = 0) -> Transformer:
    """Return a BERT or XLM-R with a head."""
    config = BertConfig.from_json({**SIZES, "model_type": model_type})
    return _filled(Transformer(config, LABELS, pooling, discriminator=discriminator, discriminator_size=5, dtype=np.float64), seed)


def augmented_tagger() -> AugmentedTagger:
    """Return a tagger with two encoders, both of which its loss trains."""
    plain = bilstm_crf()
    return _filled(AugmentedTagger(plain.config, LABELS, plain.lexicon, flow=True, dtype=np.float64), 2)


def bilstm_crf(*, legal: bool = False, **options: Any) -> BilstmCrf:
    """Return a tagger of the words in SENTENCES."""
    lexicon = Lexicon(WORDS, sorted(set("".join(WORDS))), [3, 5])
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, word_size=4, char_size=3, char_hidden=2,
                             word_hidden=4, dense_size=5, dropout=0.2, **options)
    return _filled(BilstmCrf(config, LABELS, lexicon, legal=legal_transitions(LABELS, "IOB2") if legal else None,
                             dtype=np.float64), 1)


def language_lexicon() -> LanguageLexicon:
    """Return the vocabularies of two languages, which share words."""
    return LanguageLexicon.of_languages({"en": WORDS, "es": ["un", "the", "taxi", "a", "va"]}, sorted(set("".join(WORDS))))


def language_model_config() -> LanguageModelConfig:
    """Return the sizes of a language model with these vocabularies."""
    sizes = {language: size + SPECIAL for language, size in language_lexicon().languages.items()}
    return LanguageModelConfig(sizes, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6, dropout=0.1,
                               layer_norm_eps=1e-3)


def language_model() -> BidirectionalLm:
    """Return a language model of two languages, in which no difference crosses a kink of the rectifier or of |x|."""
    return _filled(BidirectionalLm(language_model_config(), dtype=np.float64), 7)


def mlma_tagger(mixing: str = SELF) -> MlmaTagger:
    """Return a tagger on the layers of such a language model."""
    lexicon = language_lexicon()
    tagger = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, word_size=16, char_size=3, char_hidden=2,
                             word_hidden=4, dense_size=0, dropout=0.2)
    return _filled(MlmaTagger(MlmaTaggerConfig(language_model_config(), tagger, mixing, 5), LABELS, lexicon, dtype=np.float64), 4)


def without_dropout(model: Any) -> None:
    """Turn dropout off, also for the replacement of rare words."""
    if isinstance(model, BidirectionalLm):
        model.config = replace(model.config, dropout=0.0)
        return
    if model.family == "transformer":
        model.config = model.bert.config = replace(model.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for path in (model, getattr(model, "source", model)) if model.family != "transformer" else ():
        path.config = replace(path.config, dropout=0.0, word_unknown=0.0)


def pieces(documents: bool, seed: int = 0) -> list[Example]:
    """Return sequences of random pieces; some repeat, and of a tagger's about half begin a word, one of them without a label."""
    rng, examples = np.random.default_rng(seed), []
    for source, length in enumerate(LENGTHS):
        rows = np.zeros(0, int) if documents else np.arange(source % 2, length, 2)
        labels = rng.integers(0, len(LABELS), 1 if documents else len(rows))
        if not documents and source == 2:
            labels[0] = IGNORED
        examples.append(Example(rng.integers(1, SIZES["vocab_size"], length), rows, labels, source, 0))
    return examples


def words(model: BilstmCrf) -> list[Example]:
    """Return SENTENCES with tags that are legal."""
    ids = [np.array([piece for [piece] in sentence]) for sentence in model.lexicon.pieces_batch(SENTENCES)]
    return [Example(row, np.arange(len(row)), np.resize([0, 1, 2, 1], len(row)), i, 0) for i, row in enumerate(ids)]


def _of_transformer(name: str, pooling: str, **options: Any) -> ModelCase:
    return ModelCase(name, transformer(pooling, **options), pack(pieces(pooling != "token")))


def _of_words(name: str, model: BilstmCrf) -> ModelCase:
    return ModelCase(name, model, pack(words(model)))


MODELS: dict[str, Callable[[], ModelCase]] = {
    "transformer, token": lambda: _of_transformer("transformer, token", "token"),
    "transformer, mean": lambda: _of_transformer("transformer, mean", "mean"),
    "transformer, cls": lambda: _of_transformer("transformer, cls", "cls"),
    "transformer, XLM-R": lambda: _of_transformer("transformer, XLM-R", "token", model_type="xlm-roberta"),
    "bilstm-crf": lambda: _of_words("bilstm-crf", bilstm_crf()),
    "bilstm-crf, tied": lambda: _of_words("bilstm-crf, tied", bilstm_crf(tied=True, two_biases=True, start_end=True,
                                                                         variational=True)),
    "bilstm-crf, legal tags": lambda: _of_words("bilstm-crf, legal tags", bilstm_crf(legal=True, chars=False)),
    "augmented-tagger": lambda: _of_words("augmented-tagger", augmented_tagger()),
    "mlma-tagger": lambda: _of_words("mlma-tagger", mlma_tagger()),
    "mlma-tagger, fully weighted": lambda: _of_words("mlma-tagger, fully weighted", mlma_tagger(FULLY)),
}


def _filled(model: Any, seed: int) -> Any:
    """Draw every parameter: biases of zero and scales of one would hide mistakes."""
    rng = np.random.default_rng(seed)
    for parameter in model.store:
        parameter.value[...] = 0.4 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    return model
