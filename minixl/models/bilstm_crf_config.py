"""The sizes of a BiLSTM-CRF tagger, the shapes of its parameters and their initial values.

Lample et al. 2016, "Neural Architectures for Named Entity Recognition".  The cell with four gates and one bias, and no
start and end scores, follow Bari et al. 2020: tests/models/test_bilstm_crf_counts.py compares the numbers of parameters of
the twenty models in their Table 4.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import sqrt
from typing import Any

import numpy as np

from minixl.errors import UserError

MODEL_TYPE = "bilstm-crf"                                # model_type of config.json
WORD_TABLE = "word_embeddings.weight"
CHAR_TABLE = "char_embeddings.weight"
TARGET = "target_"                                       # prefix of the second encoder's modules

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class BilstmCrfConfig:
    """Sizes and rates of one tagger.  The defaults are Lample et al.'s, sections 4 and 5."""

    vocabulary_size: int           # V, rows of the word table; row 0 is the unknown word
    alphabet_size: int             # C, rows of the character table; row 0 is the unknown character
    word_size: int = 100           # a word vector
    char_size: int = 25            # a character vector
    char_hidden: int = 25          # size of the character LSTM, each direction
    word_hidden: int = 100         # H, size of the word LSTM, each direction
    dense_size: int = 100          # the tanh layer before the tags; 0: none
    chars: bool = True             # read the spelling of words, too
    tied: bool = False             # one cell for both directions, in both LSTMs (Bari et al.: Cross-Shared)
    two_biases: bool = False       # a second bias in each cell, as in PyTorch
    start_end: bool = False        # scores for the first and the last tag of a sentence
    train_words: bool = True       # False: the word table is fixed
    variational: bool = False      # dropout with one mask for all words of a sentence
    dropout: float = 0.5           # on the word LSTM's input and output
    word_unknown: float = 0.5      # probability of replacing a singleton by the unknown word in training

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str = "config.json") -> BilstmCrfConfig:
        """Check the content of config.json; unknown keys are ignored.  Errors begin with `where`.  Raises UserError."""
        if (model_type := raw.get("model_type", MODEL_TYPE)) != MODEL_TYPE:
            raise UserError(f"{where}: model_type: expected {MODEL_TYPE!r}, found {model_type!r}")
        for name in REQUIRED:
            if raw.get(name) is None:
                raise UserError(f"{where}: {name} is missing; expected a whole number")
        values = {item.name: _checked(item.name, str(item.type), raw[item.name], where)
                  for item in fields(cls) if raw.get(item.name) is not None}
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Return what from_json reads."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @property
    def input_size(self) -> int:
        """Size of the word LSTM's input: the word vector and the last states of the character LSTM."""
        return self.word_size + 2 * self.char_hidden * self.chars


REQUIRED = ("vocabulary_size", "alphabet_size")


def _checked(name: str, kind: str, value: Any, where: str) -> Any:
    """Return the value.  Raises UserError for a wrong type or a value out of range."""
    if kind == "bool":
        if not isinstance(value, bool):
            raise UserError(f"{where}: {name}: expected true or false, found {value!r}")
        return value
    integer = kind == "int"
    if isinstance(value, bool) or not isinstance(value, int if integer else (int, float)):
        raise UserError(f"{where}: {name}: expected a {'whole ' if integer else ''}number, found {value!r}")
    least = 0 if name == "dense_size" else 1
    if integer and value < least:
        raise UserError(f"{where}: {name}: expected at least {least}, found {value}")
    if not integer and not 0 <= value < 1:
        raise UserError(f"{where}: {name}: expected 0 <= p < 1, found {value}")
    return value


def tagger_shapes(config: BilstmCrfConfig, labels: int) -> Shapes:
    """Return parameter name -> shape for K = labels tags, in the order of the forward pass.

    Linear layers are (outputs, inputs); LSTMs are named and laid out as in torch.nn.LSTM, with one bias unless two_biases.
    """
    shapes: Shapes = {WORD_TABLE: (config.vocabulary_size, config.word_size)}
    if config.chars:
        shapes[CHAR_TABLE] = (config.alphabet_size, config.char_size)
    shapes |= _encoder_shapes(config)
    if config.dense_size:
        shapes |= _linear_shapes("dense", config.dense_size, 2 * config.word_hidden)
    shapes |= _linear_shapes("classifier", labels, config.dense_size or 2 * config.word_hidden)
    shapes["crf.transitions"] = (labels, labels)
    if config.start_end:
        shapes |= {"crf.start_transitions": (labels,), "crf.end_transitions": (labels,)}
    return shapes


def augmented_shapes(config: BilstmCrfConfig, labels: int) -> Shapes:
    """Return the shapes of the tagger of `config` plus the target encoder of Bari et al. 2020 ("Cross-Augmented").

    A second pair of LSTMs reads the same words and, even if `config` does without, their characters, with one cell per
    direction.  target_dense maps [states of the source encoder, states of the target encoder] to the input of `dense`.
    The paper does not say that the directions are untied; the numbers of its Table 4 leave no other choice.
    """
    shapes = tagger_shapes(config, labels)
    target = replace(config, chars=True, tied=False)
    shapes.setdefault(CHAR_TABLE, (config.alphabet_size, config.char_size))
    shapes |= {TARGET + name: shape for name, shape in _encoder_shapes(target).items()}
    return shapes | _linear_shapes(TARGET + "dense", 2 * config.word_hidden, 4 * config.word_hidden)


def initial_value(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the initial value of a parameter.

    matrices   uniform in ± √(6 / (rows + columns)), each gate of an LSTM separately: Glorot, Bengio 2010; Lample et al.'s
               code does so for all matrices, including the transitions
    tables     uniform in ± √(3 / columns), whatever the number of words: Ma, Hovy 2016, section 3
    vectors    zero, but 1 for the forget gate: Jozefowicz et al. 2015; Ma, Hovy 2016.  Lample et al. use zero, but their
               cell has no separate forget gate: it keeps what it does not overwrite
    """
    gates = 4 if "_lstm." in name else 1
    if len(shape) == 2:
        bound = sqrt(3 / shape[1]) if name in (WORD_TABLE, CHAR_TABLE) else sqrt(6 / (shape[0] // gates + shape[1]))
        return rng.uniform(-bound, bound, shape)
    value = np.zeros(shape)
    if ".bias_ih_l0" in name:
        value.reshape(gates, -1)[1] = 1                                   # gates i, f, g, o
    return value


def _encoder_shapes(config: BilstmCrfConfig) -> Shapes:
    chars = _lstm_shapes("char_lstm", config.char_size, config.char_hidden, config) if config.chars else {}
    return chars | _lstm_shapes("word_lstm", config.input_size, config.word_hidden, config)


def _lstm_shapes(name: str, inputs: int, size: int, config: BilstmCrfConfig) -> Shapes:
    shapes: Shapes = {}
    for side in ("",) if config.tied else ("", "_reverse"):
        shapes[f"{name}.weight_ih_l0{side}"] = (4 * size, inputs)
        shapes[f"{name}.weight_hh_l0{side}"] = (4 * size, size)
        shapes[f"{name}.bias_ih_l0{side}"] = (4 * size,)
        if config.two_biases:
            shapes[f"{name}.bias_hh_l0{side}"] = (4 * size,)
    return shapes


def _linear_shapes(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
