"""Canonical parameter names."""
import pytest

from minixl.errors import UserError
from minixl.weights.names import canonical_name, canonical_names, summarise_names


@pytest.mark.parametrize("stored, expected", [
    ("bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"),
    ("embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"),
    ("encoder.layer.0.output.dense.bias", "bert.encoder.layer.0.output.dense.bias"),
    ("pooler.dense.weight", "bert.pooler.dense.weight"),
    ("embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
    ("bert.encoder.layer.11.attention.output.LayerNorm.beta", "bert.encoder.layer.11.attention.output.LayerNorm.bias"),
    ("cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.LayerNorm.weight"),
    ("classifier.weight", "classifier.weight"), ("discriminator.gamma", "discriminator.gamma"),
    ("mapping.encoder.weight", "mapping.encoder.weight")])
def test_canonical(stored, expected):
    assert canonical_name(stored) == expected
    assert canonical_name(expected) == expected


def test_two_names_for_one_parameter():
    with pytest.raises(UserError, match="'pooler.dense.bias' and 'bert.pooler.dense.bias' are both the parameter"):
        canonical_names(["pooler.dense.bias", "bert.pooler.dense.bias"], "somewhere")


def test_summary():
    names = ["cls.a", "cls.b.c", "bert.pooler.dense.weight", "bert.pooler.dense.bias", "extra", "x.y"]
    assert summarise_names(names) == "cls.* (2), bert.pooler.* (2), extra, x.y"
    assert summarise_names(names, most=1) == "cls.* (2) and 4 more"
    assert summarise_names([]) == ""
