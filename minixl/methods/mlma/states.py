"""The states of a language model for any text, in a file: what the taggers read, for other uses.

    OUT.safetensors    states (T, L, 2H) float32, of every word the layers from the bottom, forward and backward side by side;
                       starts (N+1,), where each line's words begin; words, the T words in UTF-8, one a line (uint8);
                       representations (T, 2H), the weighted sum of the layers, if the folder is a tagger's

Test: tests/methods/mlma/test_states.py
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from minixl.backend import Array, to_numpy
from minixl.building import load_model
from minixl.building.language_model import is_language_model, load_language_model
from minixl.data.batching import TOKENS, Batch, batch_results
from minixl.data.encoding import Example
from minixl.data.language_lexicon import LanguageLexicon
from minixl.data.monolingual import lower_words
from minixl.errors import UserError
from minixl.files import replaced_file
from minixl.models.bidirectional_lm import BidirectionalLm
from minixl.models.mlma_tagger import MlmaTagger, layers_of
from minixl.packing import starts_of


class Reader(NamedTuple):
    """A language model, its vocabularies, and perhaps the tagger that it is part of."""

    model: BidirectionalLm
    lexicon: LanguageLexicon
    tagger: MlmaTagger | None


def load_reader(folder: Path, xp: Any = np) -> Reader:
    """Load the folder of a language model or of a tagger on one.  Raises UserError for another model."""
    if is_language_model(folder):
        return Reader(*load_language_model(folder, xp=xp), None)
    model, _, info = load_model(folder, xp=xp)
    if not isinstance(model, MlmaTagger):
        raise UserError(f"{folder}: expected a language model or a tagger on one, found a {info.family}; `minixl train mlma` "
                        "trains both")
    return Reader(model.language_model, model.lexicon, model)


def states_of(reader: Reader, sentences: Sequence[Sequence[str]], language: str = "",
              progress: Callable[[int], None] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of the file, without the words.  language: of all sentences; "": guess that of each."""
    lexicon, xp = reader.lexicon.for_language(language), reader.model.store.xp
    examples = [Example(np.array([word for [word] in words], dtype=np.int64), np.arange(len(words)), np.zeros(0, int), i, 0)
                for i, words in enumerate(lexicon.pieces_batch(sentences))]
    starts = starts_of(map(len, sentences))
    config = reader.model.config
    states = {"states": np.empty((int(starts[-1]), config.layers, 2 * config.hidden_size), np.float32)}
    if reader.tagger is not None:
        states["representations"] = np.empty((int(starts[-1]), 2 * config.hidden_size), np.float32)
    full = [example for example in examples if len(example.input_ids)]

    def compute(batch: Batch) -> dict[str, Array]:
        layers = layers_of(reader.model, reader.lexicon, batch.input_ids, batch.starts)
        arrays = {"states": layers.reshape(batch.tokens, config.layers, -1)}
        if reader.tagger is not None:
            arrays["representations"] = reader.tagger.represent(batch._replace(bottom=layers))
        return arrays

    for batch, indices, arrays in batch_results(compute, full, TOKENS, xp, progress):
        for name, array in arrays.items():
            values = to_numpy(array)
            for i, first, last in zip(indices.tolist(), batch.starts[:-1], batch.starts[1:], strict=True):
                place = int(starts[full[i].source])
                states[name][place:place + last - first] = values[first:last]
    return states | {"starts": starts}


def write_states(reader: Reader, lines: Sequence[str], out: Path, language: str = "",
                 progress: Callable[[int], None] | None = None) -> dict[str, tuple[int, ...]]:
    """Write the states of the words of each line; return the shape of every array.  Raises UserError without words."""
    sentences = [lower_words(line, reader.model.config.tokenised, lower=False) for line in lines]
    words = [word for sentence in sentences for word in sentence]
    if not words:
        raise UserError("expected lines of text, found no word")
    arrays = states_of(reader, sentences, language, progress)
    arrays["words"] = np.frombuffer("\n".join(words).encode("utf-8"), np.uint8)
    with replaced_file(out) as fresh:
        save_file(arrays, fresh)
    return {name: array.shape for name, array in arrays.items()}
