"""Canonical parameter names."""
import pytest

from minixl.errors import UserError
from minixl.weights.names import canonical_name, canonical_names, names_to_save, summarise_names


@pytest.mark.parametrize("stored, expected", [
    ("bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"),
    ("embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"),
    ("encoder.layer.0.output.dense.bias", "bert.encoder.layer.0.output.dense.bias"),
    ("pooler.dense.weight", "bert.pooler.dense.weight"),
    ("embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
    ("bert.encoder.layer.11.attention.output.LayerNorm.beta", "bert.encoder.layer.11.attention.output.LayerNorm.bias"),
    ("cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.LayerNorm.weight"),
    ("roberta.encoder.layer.0.output.dense.bias", "bert.encoder.layer.0.output.dense.bias"),
    ("roberta.pooler.dense.weight", "bert.pooler.dense.weight"),
    ("classifier.dense.bias", "bert.pooler.dense.bias"), ("classifier.out_proj.weight", "classifier.weight"),
    ("classifier.weight", "classifier.weight"), ("discriminator.gamma", "discriminator.gamma"),
    ("mapping.encoder.weight", "mapping.encoder.weight")])
def test_canonical(stored, expected):
    assert canonical_name(stored) == expected
    assert canonical_name(expected) == expected


def test_two_names_for_one_parameter():
    with pytest.raises(UserError, match="'pooler.dense.bias' and 'bert.pooler.dense.bias' are both the parameter"):
        canonical_names(["pooler.dense.bias", "bert.pooler.dense.bias"], "somewhere")


def test_names_to_save_are_read_back_as_the_same():
    names = ["bert.embeddings.LayerNorm.weight", "bert.encoder.layer.0.output.dense.bias", "classifier.weight", "discriminator.x"]
    assert names_to_save(names, "bert") == {name: name for name in names}
    saved = names_to_save(names, "xlm-roberta")
    assert list(saved.values()) == [name.replace("bert.", "roberta.") for name in names]
    with_pooler = names_to_save(names + ["bert.pooler.dense.bias"], "xlm-roberta")
    assert with_pooler["classifier.weight"] == "classifier.out_proj.weight"
    assert with_pooler["bert.pooler.dense.bias"] == "classifier.dense.bias"
    for mapping in (saved, with_pooler):
        assert all(canonical_name(stored) == name for name, stored in mapping.items())


def test_summary():
    names = ["cls.a", "cls.b.c", "bert.pooler.dense.weight", "bert.pooler.dense.bias", "extra", "x.y"]
    assert summarise_names(names) == "cls.* (2), bert.pooler.* (2), extra, x.y"
    assert summarise_names(names, most=1) == "cls.* (2) and 4 more"
    assert summarise_names([]) == ""
