"""The sizes of a BERT or XLM-R encoder, read from config.json of a Hugging Face folder, and the shapes of its parameters.

Devlin et al. 2019, "BERT", section 3; Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale".
Parameter names are those of published BERT checkpoints, always under `bert.`, also for XLM-R (weights/names.py).
The file itself is read by minixl.weights.folder.read_config.  Test: tests/models/test_bert_config.py
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from minixl.errors import UserError

MODEL_TYPES = ("bert", "xlm-roberta")
MEAN_POOLED = "minixl-mean-"           # before the model type in config.json of a mean-pooled classifier of minixl


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes and rates of one encoder.  `raw` is the whole config.json, so that saving loses nothing."""

    hidden_size: int                                   # H
    num_hidden_layers: int                             # L
    num_attention_heads: int                           # A, a divisor of H
    intermediate_size: int                             # I
    vocab_size: int                                    # V
    max_position_embeddings: int = 512                 # rows of the position table; see max_pieces
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02                    # standard deviation of new weights
    pad_token_id: int = 0
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    model_type: str = "bert"
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def first_position(self) -> int:
        """Return the position of a sentence's first piece; XLM-R does not use the rows up to pad_token_id."""
        return self.pad_token_id + 1 if self.model_type == "xlm-roberta" else 0

    @property
    def max_pieces(self) -> int:
        """Return how many pieces a sentence may have, [CLS] and [SEP] included."""
        return self.max_position_embeddings - self.first_position

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str = "config.json") -> BertConfig:
        """Check the content of config.json.  Errors begin with `where`.  Raises UserError."""
        model_type = _check_architecture(raw, where)
        values = {item.name: _number(raw, item.name, item.type == "int", where)
                  for item in fields(cls) if item.type in ("int", "float") and raw.get(item.name) is not None}
        for name in REQUIRED:
            if name not in values:
                raise UserError(f"{where}: {name} is missing; expected a whole number")
        if model_type == "xlm-roberta":
            values.setdefault("pad_token_id", 1)       # the default of transformers
        config = cls(**values, model_type=model_type, raw=dict(raw))   # type: ignore[arg-type]
        config._check_ranges(where)
        return config

    def _check_ranges(self, where: str) -> None:
        for name in (*REQUIRED, "max_position_embeddings", "type_vocab_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{where}: {name}: expected at least 1, found {getattr(self, name)}")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(f"{where}: hidden_size {self.hidden_size} is not divisible by "
                            f"num_attention_heads {self.num_attention_heads}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{where}: {name}: expected 0 <= p < 1, found {getattr(self, name)}")
        if not self.layer_norm_eps > 0:
            raise UserError(f"{where}: layer_norm_eps: expected more than 0, found {self.layer_norm_eps}")
        if not 0 <= self.pad_token_id < self.vocab_size:
            raise UserError(f"{where}: pad_token_id: expected 0 to {self.vocab_size - 1} (vocab_size - 1), "
                            f"found {self.pad_token_id}")
        if self.max_pieces < 1:
            raise UserError(f"{where}: max_position_embeddings: expected more than {self.first_position} (pad_token_id + 1, the "
                            f"first position of an XLM-R), found {self.max_position_embeddings}")


REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


def _number(raw: Mapping[str, Any], name: str, integer: bool, where: str) -> int | float:
    value = raw[name]
    valid = isinstance(value, int if integer else (int, float))
    if not valid or isinstance(value, bool):
        raise UserError(f"{where}: {name}: expected a {'whole ' if integer else ''}number, found {value!r}")
    return value


def _check_architecture(raw: Mapping[str, Any], where: str) -> str:
    """Return the model type.  Refuse models with the same parameter shapes but another forward pass: they would be wrong."""
    model_type = raw.get("model_type", "bert")
    if isinstance(model_type, str):
        model_type = model_type.removeprefix(MEAN_POOLED)
    if model_type not in MODEL_TYPES:
        raise UserError(f"{where}: model_type: expected {' or '.join(map(repr, MODEL_TYPES))}, found {model_type!r}; use a "
                        "multilingual BERT or XLM-R, for example google-bert/bert-base-multilingual-cased or "
                        "FacebookAI/xlm-roberta-base")
    for name, supported in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if (value := raw.get(name) or supported) != supported:
            raise UserError(f"{where}: {name}: expected {supported!r}, found {value!r}")
    for name in ("is_decoder", "add_cross_attention"):
        if raw.get(name):
            raise UserError(f"{where}: {name}: expected false (an encoder), found {raw[name]!r}")
    return str(model_type)


def encoder_axes(config: BertConfig, pooler: bool = True) -> dict[str, tuple[str, ...]]:
    """Return parameter name -> the config.json key for the length of each axis, in the order of the forward pass."""
    hidden, inner = "hidden_size", "intermediate_size"
    axes: dict[str, tuple[str, ...]] = {
        "bert.embeddings.word_embeddings.weight": ("vocab_size", hidden),
        "bert.embeddings.position_embeddings.weight": ("max_position_embeddings", hidden),
        "bert.embeddings.token_type_embeddings.weight": ("type_vocab_size", hidden),
        "bert.embeddings.LayerNorm.weight": (hidden,),
        "bert.embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(config.num_hidden_layers):
        name = f"bert.encoder.layer.{layer}"
        for projection in ("query", "key", "value"):
            axes |= _linear(f"{name}.attention.self.{projection}", hidden, hidden)
        axes |= _linear(f"{name}.attention.output.dense", hidden, hidden)
        axes |= _layernorm(f"{name}.attention.output.LayerNorm")
        axes |= _linear(f"{name}.intermediate.dense", inner, hidden)
        axes |= _linear(f"{name}.output.dense", hidden, inner)
        axes |= _layernorm(f"{name}.output.LayerNorm")
    if pooler:
        axes |= _linear("bert.pooler.dense", hidden, hidden)
    return axes


def encoder_shapes(config: BertConfig, pooler: bool = True) -> dict[str, tuple[int, ...]]:
    """Return parameter name -> shape, in the order of the forward pass.  Weights of linear layers are (outputs, inputs)."""
    return {name: tuple(getattr(config, key) for key in keys) for name, keys in encoder_axes(config, pooler).items()}


def _linear(name: str, outputs: str, inputs: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _layernorm(name: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.weight": ("hidden_size",), f"{name}.bias": ("hidden_size",)}
