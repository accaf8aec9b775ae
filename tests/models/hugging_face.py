"""Random BERTs and XLM-Rs of transformers, the same weights in minixl, and the same batch padded for one, packed for the other."""
from __future__ import annotations

import numpy as np
import torch
from transformers import BertConfig as TheirConfig
from transformers import (BertForSequenceClassification, BertForTokenClassification, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification, XLMRobertaForTokenClassification)

from minixl.backend import to_numpy
from minixl.data.batching import Batch, pack
from minixl.data.encoding import Example
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.weights.names import canonical_name
from tests.ops.checks import dense

LENGTHS = (5, 1, 9, 5, 2, 12, 1, 5)
TINY = {"vocab_size": 47, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 33,
        "max_position_embeddings": 15}
ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "max_position_embeddings": 17}      # as published, and TINY's length
CLASSES = {"bert": (TheirConfig, BertForTokenClassification, BertForSequenceClassification),
           "xlm-roberta": (XLMRobertaConfig, XLMRobertaForTokenClassification, XLMRobertaForSequenceClassification)}
LABELS = ["O", "B-X", "I-X", "B-Y", "I-Y"]


def tiny_pair(pooling: str, *, model_type: str = "bert", seed: int = 0, **changed):
    """A transformers model in float64 without dropout (pooling "token" or "cls"), and the same as a Transformer."""
    torch.manual_seed(seed)
    sizes = TINY | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    sizes |= (ROBERTA if model_type == "xlm-roberta" else {}) | changed
    config_class, tagger, classifier = CLASSES[model_type]
    config = config_class(**sizes, num_labels=len(LABELS), attn_implementation="eager")
    theirs = (tagger if pooling == "token" else classifier)(config).double()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():              # all biases zero and all scales one would hide mistakes
            parameter.copy_(torch.randn_like(parameter) * 0.3 + ("LayerNorm.weight" in name))
    ours = Transformer(BertConfig.from_json(config.to_dict()), LABELS, pooling, dtype=np.float64)
    copy_weights(theirs, ours)
    return theirs, ours


def copy_weights(theirs, ours: Transformer) -> None:
    """Copy every parameter by its canonical name; both must have the same names."""
    state = {canonical_name(name): parameter for name, parameter in theirs.named_parameters()}
    assert state.keys() == set(ours.store.names())
    for parameter in ours.store:
        parameter.value[...] = state[parameter.name].detach().numpy()


def random_examples(rng, lengths=LENGTHS, vocabulary: int = 47, *, documents: bool = False) -> list[Example]:
    """Sequences of these lengths with random ids, some of them repeated; about half of the pieces begin a word."""
    examples = []
    for source, length in enumerate(lengths):
        ids = rng.integers(1, vocabulary, length)                      # never [PAD]: PyTorch gives it no gradient
        rows = np.flatnonzero(rng.random(length) < 0.6) if not documents else np.zeros(0, int)
        labels = rng.integers(0, len(LABELS), len(rows) if not documents else 1)
        if not documents:
            labels[rng.random(len(rows)) < 0.2] = -100
        examples.append(Example(ids, rows, labels, source, 0))
    return examples


def padded(batch: Batch, pad: int = 0) -> dict[str, torch.Tensor]:
    """A packed batch as transformers wants it: one padded row per sentence, a mask, label -100 for what is not scored."""
    lengths = np.diff(batch.starts)
    ids, mask, labels = (np.full((len(lengths), lengths.max()), fill) for fill in (pad, 0, -100))
    sentence, position = np.repeat(np.arange(len(lengths)), lengths), batch.position_ids
    ids[sentence, position], mask[sentence, position] = batch.input_ids, 1
    if len(batch.rows):
        labels[sentence[batch.rows], position[batch.rows]] = batch.labels
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(batch.labels)}


def unpadded(array: torch.Tensor, batch: Batch) -> np.ndarray:
    """(B, longest, ...) -> (T, ...) without the padding."""
    return np.concatenate([row[:n].detach().numpy() for row, n in zip(array, np.diff(batch.starts), strict=True)])


def make_batch(rng, *, documents: bool = False, lengths=LENGTHS, vocabulary: int = 47) -> Batch:
    return pack(random_examples(rng, lengths, vocabulary, documents=documents))


def gradient(ours: Transformer, name: str) -> np.ndarray:
    """Return a gradient of the store as a dense array; zeros for a table that was not looked up."""
    parameter = ours.store[name]
    return np.zeros(parameter.value.shape) if parameter.grad is None else to_numpy(dense(parameter.grad, parameter.value.shape))


def assert_gradients(ours: Transformer, theirs, rtol: float) -> None:
    """Compare every gradient by name, within rtol of the largest value of its tensor.

    A key's bias shifts all scores of a query alike, so its true gradient is zero and what is computed is rounding: it is
    measured against the query's.
    """
    for name, parameter in theirs.named_parameters():
        expected = parameter.grad.numpy()
        scale = theirs.get_parameter(name.replace(".key.bias", ".query.bias")).grad.abs().max().item()
        assert scale > 0, f"{name}: the test says nothing about it"
        np.testing.assert_allclose(gradient(ours, canonical_name(name)), expected, rtol=0, atol=rtol * scale, err_msg=name)
