"""The losses of whole models in PyTorch, without dropout, from the ops of pytorch.py and the parameters by name."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minixl.data.batching import Batch
from minixl.data.encoding import IGNORED
from minixl.models.augmented_tagger import AugmentedTagger
from minixl.models.bidirectional_lm_config import DIRECTIONS, LanguageModelConfig
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import TARGET
from minixl.models.bilstm_layers import ARGUMENTS
from minixl.models.mlma_tagger import MlmaTagger
from minixl.models.transformer import Transformer
from minixl.study import pytorch

Params = Mapping[str, Tensor]


def loss(model: Any, params: Params, batch: Batch, *options: Tensor) -> Tensor:
    """Return the loss of a model of any family.  options: a transformer's shift of the embeddings."""
    return _LOSSES[model.family](model, params, batch, *options)


def transformer_loss(model: Transformer, params: Params, batch: Batch, shift: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of the labelled words or documents."""
    labels = np.where(batch.labels < 0, IGNORED, batch.labels)
    return pytorch.softmax_cross_entropy(logits(model, params, batch, shift), labels)


def logits(model: Transformer, params: Params, batch: Batch, shift: Tensor | None = None) -> Tensor:
    """Return the logits (W, K) or (B, K)."""
    hidden = bert(model, params, batch, shift)
    if model.pooling == "token":
        pooled = hidden[batch.rows]
    elif model.pooling == "mean":
        pooled = pytorch.mean_pooling(hidden, batch.starts)
    else:
        pooled = torch.tanh(linear(params, "bert.pooler.dense", hidden[batch.starts[:-1]]))
    return linear(params, "classifier", pooled)


def bert(model: Transformer, params: Params, batch: Batch, shift: Tensor | None = None) -> Tensor:
    """Return the last hidden states (T, H).  shift (T, H): added to the embeddings."""
    config, tables = model.config, "bert.embeddings"
    ids = {"word": batch.input_ids, "position": batch.position_ids + config.first_position, "token_type": 0 * batch.input_ids}
    x = sum(pytorch.embedding(params[f"{tables}.{name}_embeddings.weight"], rows) for name, rows in ids.items())
    x = _layernorm(params, f"{tables}.LayerNorm", x if shift is None else x + shift, config.layer_norm_eps)
    for i in range(config.num_hidden_layers):
        layer = f"bert.encoder.layer.{i}"
        query, key, value = (linear(params, f"{layer}.attention.self.{name}", x) for name in ("query", "key", "value"))
        context = pytorch.attention(query, key, value, batch.starts, config.num_attention_heads)
        attended = linear(params, f"{layer}.attention.output.dense", context)
        x = _layernorm(params, f"{layer}.attention.output.LayerNorm", x + attended, config.layer_norm_eps)
        inner = pytorch.gelu(linear(params, f"{layer}.intermediate.dense", x))
        x = _layernorm(params, f"{layer}.output.LayerNorm", x + linear(params, f"{layer}.output.dense", inner),
                       config.layer_norm_eps)
    return x


def bilstm_crf_loss(model: BilstmCrf, params: Params, batch: Batch) -> Tensor:
    """Return the mean negative log-likelihood of the sentences."""
    return _tags_loss(model, params, batch, bilstm(model, params, batch))


def augmented_tagger_loss(model: AugmentedTagger, params: Params, batch: Batch) -> Tensor:
    """Return the same through both encoders."""
    both = torch.cat([bilstm(model, params, batch), bilstm(model, params, batch, TARGET)], 1)
    return _tags_loss(model, params, batch, torch.tanh(linear(params, f"{TARGET}dense", both)))


def mlma_tagger_loss(model: MlmaTagger, params: Params, batch: Batch) -> Tensor:
    """Return the same on a weighted sum of the layers of the language model."""
    states = fixed_layers(model, params, batch)
    if "mixing.weight" in params:
        words = pytorch.fully_weighted(states, params["mixing.weight"])
    else:
        inner = torch.tanh(linear(params, "mixing.dense", states.flatten(1)))
        words = pytorch.self_weighted(states, torch.tanh(linear(params, "mixing.out", inner)))
    return _tags_loss(model, params, batch, bilstm(model, params, batch, words=words))


def fixed_layers(model: MlmaTagger, params: Params, batch: Batch) -> Tensor:
    """Return the states of all layers, forward and backward side by side, (T, L, 2H)."""
    config, rows = model.mlma.language_model, model.lexicon.rows(batch.input_ids)
    tables = torch.cat([params[f"language_model.words.{language}.weight"] for language in config.languages])
    states = stacks(config, {name.removeprefix("language_model."): value for name, value in params.items()},
                    pytorch.embedding(tables, rows), batch.starts)
    return torch.stack([torch.cat([states[direction][layer] for direction in DIRECTIONS], 1) for layer in range(config.layers)], 1)


def stacks(config: LanguageModelConfig, params: Params, words: Tensor, starts: np.ndarray) -> dict[str, list[Tensor]]:
    """Return the layers of both directions of a language model, (T, H) each, from word vectors (T, H)."""
    places = torch.cat([torch.arange(int(length)) for length in np.diff(starts)])
    half = words.shape[1] // 2
    angles = places[:, None] * torch.tensor([1e4 ** (-i / max(half - 1, 1)) for i in range(half)], dtype=words.dtype)
    x0, found = words * words.shape[1] ** 0.5 + torch.cat([angles.sin(), angles.cos()], 1), {}
    for direction, visible in zip(DIRECTIONS, ("before", "after"), strict=True):
        x, layers = x0, []
        for i in range(config.num_hidden_layers):
            block = f"{direction}.layer.{i}"
            layers.append(_layernorm(params, f"{block}.attention.LayerNorm", x, config.layer_norm_eps))
            query, key, value = (linear(params, f"{block}.attention.{name}", layers[-1]) for name in ("query", "key", "value"))
            context = pytorch.attention(query, key, value, starts, config.num_attention_heads, visible)
            x = x + linear(params, f"{block}.attention.output", context)
            inner = _layernorm(params, f"{block}.LayerNorm", x, config.layer_norm_eps)
            inner = torch.relu(linear(params, f"{block}.intermediate", inner))
            x = x + linear(params, f"{block}.output", inner)
        found[direction] = [*layers, _layernorm(params, f"{direction}.LayerNorm", x, config.layer_norm_eps)]
    return found


def bilstm(model: BilstmCrf, params: Params, batch: Batch, prefix: str = "", words: Tensor | None = None) -> Tensor:
    """Return the states of all words (T, 2H).  prefix: of the encoder's modules; words: in place of the word table's vectors."""
    x = pytorch.embedding(params["word_embeddings.weight"], model.lexicon.rows(batch.input_ids)) if words is None else words
    if model.config.chars or prefix:
        spelled = model.lexicon.spell(batch.input_ids)
        chars = pytorch.embedding(params["char_embeddings.weight"], spelled.chars)
        _, final = pytorch.bilstm(chars, spelled.starts, **_lstm(params, f"{prefix}char_lstm"))
        x = torch.cat([x, final[spelled.word_of]], 1)
    return pytorch.bilstm(x, batch.starts, **_lstm(params, f"{prefix}word_lstm"))[0]


def _tags_loss(model: BilstmCrf, params: Params, batch: Batch, hidden: Tensor) -> Tensor:
    active = torch.tanh(linear(params, "dense", hidden)) if "dense.weight" in params else hidden
    emissions = linear(params, "classifier", active)
    zeros = torch.zeros(len(model.labels), dtype=emissions.dtype)
    start, end = (params.get(f"crf.{side}_transitions", zeros) for side in ("start", "end"))
    return pytorch.crf(emissions, params["crf.transitions"], start, end, batch.labels, batch.starts, model.legal).mean()


_LOSSES: dict[str, Any] = {"transformer": transformer_loss, "bilstm-crf": bilstm_crf_loss,
                           "augmented-tagger": augmented_tagger_loss, "mlma-tagger": mlma_tagger_loss}


def linear(params: Params, name: str, x: Tensor) -> Tensor:
    """Return an affine map with the parameters of a module."""
    return pytorch.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])


def _layernorm(params: Params, name: str, x: Any, eps: float) -> Tensor:
    return pytorch.layernorm(x, params[f"{name}.weight"], params[f"{name}.bias"], eps)


def _lstm(params: Params, name: str) -> dict[str, Tensor]:
    return {ARGUMENTS[key.removeprefix(f"{name}.")]: value for key, value in params.items() if key.startswith(f"{name}.")}
