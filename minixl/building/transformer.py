"""A transformer from an encoder folder: weights, tokenizer, a new head and, where the method has one, a discriminator."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minixl.building.built import Built, freeze
from minixl.data.corpus import TAGGING
from minixl.errors import UserError
from minixl.data.inputs import Inputs
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer


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
