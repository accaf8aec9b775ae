"""The model of a run and what reads text for it, by model.type.

    transformer    an encoder folder and a head over the labels of the training data
    bilstm-crf     word and character LSTMs and a CRF: building_bilstm_crf.py
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minixl.data.corpus import TAGGING, Corpus
from minixl.data.encoding import PieceTokenizer
from minixl.errors import UserError
from minixl.inputs import Inputs
from minixl.models.family import Model
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer


@dataclass
class Built:
    """A model ready to be trained."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]      # becomes the model folder's config.json
    messages: list[str]                # for the user: what was loaded, frozen, found


def build(settings: Settings, inputs: Inputs, sources: list[Corpus], others: list[Corpus], labels: list[str], scheme: str,
          seed: int, xp: Any = np) -> Built:
    """The model of settings["model.type"], initialised or loaded, frozen as asked.

    sources: the training data; others: the texts beside it; scheme: that of the labels.
    """
    if settings["model.type"] == "transformer":
        built = build_transformer(settings, inputs, labels, seed, xp)
    else:
        from minixl.building_bilstm_crf import build_bilstm_crf

        built = build_bilstm_crf(settings, inputs, sources, others, labels, scheme, seed, xp)
    store = built.model.store
    if not built.model.task_names():
        raise UserError(f"model.freeze: {', '.join(settings['model.freeze'])} leaves no parameter to train; "
                        "freeze fewer, for example bottom:3")
    frozen = store.names(trainable=False)
    if frozen:
        weights = f"{store.count(trainable=True):,} of {store.count():,} weights"
        built.messages.append(f"frozen: {len(frozen)} of {len(store)} parameters; trained: {weights}")
    return built


def build_transformer(settings: Settings, inputs: Inputs, labels: list[str], seed: int, xp: Any) -> Built:
    """An encoder folder with a new head (and a language discriminator, where the method has one)."""
    if inputs.encoder is None:
        raise UserError("--encoder: expected a Hugging Face folder with a BERT, for example --encoder ./mbert")
    if inputs.vectors:
        raise UserError("--vectors: the model is a transformer, which has its own embeddings; use a bilstm-crf recipe")
    config = read_config(inputs.encoder)
    tokenizer = Tokenizer(inputs.encoder, config.vocab_size)
    if settings["data.max_length"] > config.max_position_embeddings:
        raise UserError(f"data.max_length: {settings['data.max_length']} word pieces are more than the encoder's "
                        f"{config.max_position_embeddings} positions ({inputs.encoder / 'config.json'})")
    if settings["model.dropout"] >= 0:
        config = replace(config, hidden_dropout_prob=settings["model.dropout"],
                         attention_probs_dropout_prob=settings["model.dropout"])
    model = Transformer(config, labels, _pooling(settings), discriminator=settings["adversary.level"],
                        discriminator_size=settings["adversary.size"], xp=xp)
    model.initialise(np.random.Generator(np.random.PCG64([seed, 1])))
    report = load_parameters(inputs.encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")},
                             optional=model.head_names())
    new = tuple(name for name in model.head_names() + model.discriminator_names() if name not in report.loaded)
    freeze(model, settings["model.freeze"])
    return Built(model, tokenizer, config.raw, [str(replace(report, new=new))])


def _pooling(settings: Settings) -> str:
    tagging = settings["task"] in TAGGING
    pooling = settings["model.pooling"]
    if pooling == "auto":
        pooling = "token" if tagging else "mean"
    if tagging != (pooling == "token"):
        raise UserError(f"model.pooling: {pooling} does not fit task {settings['task']}; expected "
                        f"{'token' if tagging else 'mean or cls'}")
    return pooling


def freeze(model: Model, patterns: list[str]) -> list[str]:
    """Freeze by shell patterns; 'bottom:N' stands for a transformer's embeddings and its lowest N layers."""
    names: list[str] = []
    for pattern in patterns:
        kind, colon, count = pattern.partition(":")
        if kind == "bottom" and colon:
            if not isinstance(model, Transformer):
                raise UserError(f"model.freeze: {pattern}: a {model.family} model has no layers to count; give patterns of names")
            layers = model.config.num_hidden_layers
            if not count.isdigit() or int(count) > layers:
                raise UserError(f"model.freeze: {pattern}: expected bottom:N with N from 0 to {layers}")
            names += model.store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(int(count)))])
        else:
            names += model.store.freeze([pattern])
    return names
