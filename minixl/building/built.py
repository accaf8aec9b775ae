"""A model ready to be trained, and which of its parameters stand still."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minixl.data.encoding import PieceTokenizer
from minixl.errors import UserError
from minixl.models.family import Model
from minixl.models.transformer import Transformer


@dataclass
class Built:
    """A model ready to be trained."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]      # becomes the model folder's config.json
    messages: list[str]                # for the user: what was loaded, frozen, found


def freeze(model: Model, patterns: list[str]) -> None:
    """Freeze by shell patterns; 'bottom:N' stands for a transformer's embeddings and its lowest N layers."""
    for pattern in patterns:
        kind, colon, count = pattern.partition(":")
        if kind == "bottom" and colon:
            if not isinstance(model, Transformer):
                raise UserError(f"model.freeze: {pattern}: a {model.family} model has no layers to count; give patterns of names")
            layers = model.config.num_hidden_layers
            if not count.isdigit() or int(count) > layers:
                raise UserError(f"model.freeze: {pattern}: expected bottom:N with N from 0 to {layers}")
            model.store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(int(count)))])
        else:
            model.store.freeze([pattern])
