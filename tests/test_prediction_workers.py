"""Prediction on several threads: the same bits, in the same order, for 1, 2 and 3 workers."""
import threading
from typing import Any

import numpy as np
import pytest

from minixl.data.encoding import encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.evaluation.translations import sentence_vectors
from minixl.methods.advpicker.labels import score_sentences
from minixl.models.bert import Bert
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.prediction import source_scores
from tests.data.piece_tokenizer import LetterTokenizer

LABELS = ["O", "B-PER", "I-PER"]
# the sizes of real matrices, since a BLAS may add in another order on several threads
CONFIG = BertConfig.from_json({"vocab_size": 200, "hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 12,
                               "intermediate_size": 1536, "max_position_embeddings": 128})
RNG = np.random.default_rng(3)
TEXTS = [" ".join("".join(RNG.choice(list("abcdefg"), RNG.integers(1, 6))) for _ in range(RNG.integers(1, 12))) for _ in range(40)]


def made(pooling: str, **discriminator: Any) -> Transformer:
    model, rng = Transformer(CONFIG, LABELS, pooling, **discriminator), np.random.default_rng(2)
    for parameter in model.store:
        parameter.value[...] = 0.1 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    return model


def encoded(pooling: str):
    if pooling == "token":
        rows = [Sentence(tuple(text.split()), None, 1) for text in TEXTS]
        return encode_sentences(rows, LetterTokenizer(), None, max_length=100)
    return encode_documents([Document(text, None, 1) for text in TEXTS], LetterTokenizer(), None, max_length=100)


def same_bits(monkeypatch, owner: Any, method: str, compute) -> None:
    """Compute with 1, 2 and 3 workers; `method` of `owner` must be called on so many threads."""
    found, used, original = {}, set(), getattr(owner, method)

    def seen(*arguments: Any, **options: Any) -> Any:
        used.add(threading.get_ident())
        return original(*arguments, **options)

    monkeypatch.setattr(owner, method, seen)
    for workers in (1, 2, 3):
        monkeypatch.setenv("MINIXL_THREADS", str(workers))
        used.clear()
        found[workers] = compute()
        assert len(used) <= workers and (len(used) > 1) == (workers > 1)
    for workers in (2, 3):
        np.testing.assert_array_equal(found[workers], found[1])


@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
def test_scores(monkeypatch, pooling):
    model, inputs = made(pooling), encoded(pooling)
    same_bits(monkeypatch, model, "scores", lambda: np.concatenate(source_scores(model, inputs, tokens=100), axis=None))


@pytest.mark.parametrize("level", ["sentence", "token"])
def test_labels_of_a_teacher(monkeypatch, level):
    model, inputs = made("token", discriminator=level, discriminator_size=20), encoded("token")
    same_bits(monkeypatch, model, "encode",
              lambda: np.concatenate(score_sentences(model, inputs, tokens=100), axis=None))


def test_hidden_states(monkeypatch):
    model, inputs = made("mean"), encoded("mean")
    same_bits(monkeypatch, Bert, "forward", lambda: sentence_vectors(model.bert, inputs, tokens=100))
