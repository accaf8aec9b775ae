"""The sizes of a bidirectional language model, the shapes and initial values of its parameters.  Bao et al. 2019, section 3.2."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import sqrt
from typing import Any

import numpy as np

from minixl.errors import UserError

MODEL_TYPE = "bidirectional-lm"                          # model_type of config.json
EOS, UNKNOWN, SPECIAL = 0, 1, 2                          # rows of every word table before its first word
FORWARD, BACKWARD = DIRECTIONS = ("forward", "backward")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class LanguageModelConfig:
    """Sizes and rates; the defaults are the paper's."""

    vocabulary_sizes: dict[str, int]   # language -> V, with the end of a sentence and the unknown word
    hidden_size: int = 512             # H
    num_hidden_layers: int = 6         # of each direction
    num_attention_heads: int = 8
    intermediate_size: int = 2048      # I
    dropout: float = 0.1               # on embeddings, attention, the inner layer and what is added to the residual
    layer_norm_eps: float = 1e-6
    tokenised: bool = False            # words are separated by spaces; False: data/words.py finds them

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 2:
            raise UserError(f"hidden_size: expected an even multiple of the {self.num_attention_heads} attention heads, found "
                            f"{self.hidden_size}")

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str = "config.json") -> LanguageModelConfig:
        """Check the content of config.json; unknown keys are ignored.  Errors begin with `where`.  Raises UserError."""
        if (model_type := raw.get("model_type")) != MODEL_TYPE:
            raise UserError(f"{where}: model_type: expected {MODEL_TYPE!r}, found {model_type!r}")
        for item in fields(cls):
            value = raw.get(item.name)
            if not _fits(item.name, str(item.type), value):
                raise UserError(f"{where}: {item.name}: expected {EXPECTED[str(item.type)]}, found {str(value)[:60]}; copy the "
                                "model folder again")
        try:
            return cls(**{item.name: raw[item.name] for item in fields(cls)})
        except UserError as error:
            raise UserError(f"{where}: {error}; copy the model folder again") from None

    def to_json(self) -> dict[str, Any]:
        """Return what from_json reads."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @property
    def languages(self) -> list[str]:
        """Its languages, in the order of its word tables."""
        return list(self.vocabulary_sizes)

    @property
    def layers(self) -> int:
        """L, the layers of states: the normalised input of every block, and the normalised output of the last."""
        return self.num_hidden_layers + 1


EXPECTED = {"int": "a whole number above 0", "float": "a number from 0 to below 1", "bool": "true or false",
            "dict[str, int]": "{language: number of words}"}


def _fits(name: str, kind: str, value: Any) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "dict[str, int]":
        return isinstance(value, dict) and bool(value) and all(type(size) is int and size > SPECIAL for size in value.values())
    if kind == "int":
        return type(value) is int and value > 0
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def word_table(language: str) -> str:
    """Return the name of a language's word table."""
    return f"words.{language}.weight"


def language_model_shapes(config: LanguageModelConfig) -> Shapes:
    """Return parameter name -> shape: the word table of every language, then the blocks of both directions, which all share."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes: Shapes = {word_table(language): (size, hidden) for language, size in config.vocabulary_sizes.items()}
    for direction in DIRECTIONS:
        for i in range(config.num_hidden_layers):
            block = f"{direction}.layer.{i}"
            shapes |= _norm(f"{block}.attention.LayerNorm", hidden)
            for name in ("query", "key", "value", "output"):
                shapes |= _linear(f"{block}.attention.{name}", hidden, hidden)
            shapes |= _norm(f"{block}.LayerNorm", hidden)
            shapes |= _linear(f"{block}.intermediate", inner, hidden) | _linear(f"{block}.output", hidden, inner)
        shapes |= _norm(f"{direction}.LayerNorm", hidden)
    return shapes


def initial_value(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the initial value of a parameter.

    word tables   normal with standard deviation 1/√H, as in the paper's code
    matrices      uniform in ± √(6 / (rows + columns)): Glorot, Bengio 2010
    vectors       0, or 1 for the weights of a LayerNorm
    """
    if name.startswith("words."):
        return rng.normal(0, 1 / sqrt(shape[1]), shape)
    if len(shape) == 2:
        bound = sqrt(6 / sum(shape))
        return rng.uniform(-bound, bound, shape)
    return np.ones(shape) if name.endswith("LayerNorm.weight") else np.zeros(shape)


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
