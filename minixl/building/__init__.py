"""The model of a run and what reads text for it, by model.type.

    transformer    an encoder folder and a head over the labels of the training data: transformer.py
    bilstm-crf     word and character LSTMs and a CRF: bilstm_crf.py
"""
from __future__ import annotations

from typing import Any

import numpy as np

from minixl.building.bilstm_crf import build_bilstm_crf
from minixl.building.built import Built
from minixl.building.transformer import build_transformer
from minixl.data.corpus import Corpus
from minixl.errors import UserError
from minixl.data.inputs import Inputs
from minixl.settings import Settings

__all__ = ["Built", "build"]


def build(settings: Settings, inputs: Inputs, sources: list[Corpus], others: list[Corpus], labels: list[str], scheme: str,
          seed: int, xp: Any = np) -> Built:
    """The model of settings["model.type"], initialised or loaded, frozen as asked.

    sources: the training data; others: the texts beside it; scheme: that of the labels.
    """
    if settings["model.type"] == "transformer":
        built = build_transformer(settings, inputs, labels, seed, xp)
    else:
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
