"""Two planted languages: the same words, but every word vector of the second is moved by one and the same offset.

A linear probe tells their sentences apart at once, and nothing but the offset lies between them: what a language adversary
or a linkage is to remove.  Also the small random model that the tests of these methods share.
"""
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.linear_model import LogisticRegression

from minixl.data.batching import Stream, pack
from minixl.data.encoding import Example
from minixl.models.bert import WORD_TABLE
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from tests.models.hugging_face import LABELS, TINY

WORDS, HIDDEN, CLS, SEP = 40, 24, 0, 1
PLANTED = {"vocab_size": 2 + 2 * WORDS, "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 4,
           "intermediate_size": 48, "max_position_embeddings": 16, "hidden_dropout_prob": 0.0,
           "attention_probs_dropout_prob": 0.0}


def make_model(settings: Settings, pooling: str = "token", freeze: Iterable[str] = (), *, dropout: float = 0.0) -> Transformer:
    """Random weights and biases of a size at which mistakes show."""
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    made = Transformer(BertConfig.from_json(TINY | rates), LABELS, pooling, discriminator=settings["adversary.level"],
                       discriminator_size=9, dtype=np.float64)
    rng = np.random.default_rng(5)
    for parameter in made.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    if freeze:
        made.store.freeze(freeze)
    return made


def sentences(rng: np.random.Generator, count: int, language: int) -> list[Example]:
    """Four to eight random words; a word's label is the same in both languages."""
    words = [rng.integers(0, WORDS, rng.integers(4, 9)) for _ in range(count)]
    return [Example(np.concatenate([[CLS], 2 + language * WORDS + chosen, [SEP]]), np.arange(1, len(chosen) + 1),
                    chosen % len(LABELS), number, 0) for number, chosen in enumerate(words)]


def make_streams(names: Iterable[str], settings: Settings) -> tuple[Transformer, dict[str, Stream]]:
    """A model with the two languages in its word table, and streams of source/... and target/... sentences."""
    rng = np.random.default_rng(0)
    made = Transformer(BertConfig.from_json(PLANTED), LABELS, "token", discriminator=settings["adversary.level"],
                       discriminator_size=32, dtype=np.float64)
    for parameter in made.store:
        parameter.value[...] = 0.1 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    made.initialise(rng)
    table = made.store[WORD_TABLE].value
    table[2:2 + WORDS] = rng.normal(size=(WORDS, HIDDEN))
    table[2 + WORDS:] = table[2:2 + WORDS] + 0.5 * rng.normal(size=HIDDEN)
    data = [sentences(rng, 400, language) for language in (0, 1)]
    return made, {name: Stream(data[name.startswith("target")], 16, seed) for seed, name in enumerate(names)}


def states(made: Transformer, examples: list[Example], level: str) -> np.ndarray:
    """Mean of every sentence, or every piece."""
    batch = pack(examples)
    hidden, _ = made.encode(batch, keep=False)
    return hidden if level == "token" else np.add.reduceat(hidden, batch.starts[:-1]) / np.diff(batch.starts)[:, None]


def told_apart(made: Transformer, level: str = "sentence") -> float:
    """Accuracy of a fresh linear probe on sentences that it has not seen: 1/2 is chance."""
    rng = np.random.default_rng(1)
    clouds = [[states(made, sentences(rng, 300, language), level) for language in (0, 1)] for _ in ("learn", "judge")]
    (x, y), (unseen, truth) = ((np.concatenate(pair), np.repeat([1, 0], [len(cloud) for cloud in pair])) for pair in clouds)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    probe = LogisticRegression(max_iter=300).fit((x - centre) / scale, y)
    return float(probe.score((unseen - centre) / scale, truth))
