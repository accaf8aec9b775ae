"""How similar a model's vectors of translations are.  Keung et al. 2019 (arXiv:1909.00153), table 3.

    h(x)          mean of the last hidden states of all pieces of x, [CLS] and [SEP] included
    translations  median over the pairs of cos(h(x_i), h(y_i)), the figure of the paper
    random        the same with y_π(i), where π is a permutation without fixed points
    P@1           how often y_i is the nearest of all y to x_i by cosine, and x_i the nearest of all x to y_i

If all vectors are similar, the first figure is high, but so is the second, and the third is near 1/N.
Checked on planted spaces in tests/evaluation/test_translations.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array, to_numpy
from minixl.data.batching import TOKENS, Batch, batch_results
from minixl.data.encoding import Encoded, Example, PieceTokenizer, encode_documents
from minixl.data.examples import Document
from minixl.models.bert import WORD_TABLE, Bert
from minixl.ops.mean_pooling import mean_pooling_forward
from minixl.parameters import ParameterStore
from minixl.weights.folder import check_sizes, load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer

MAX_LENGTH = 128    # pieces per window, whatever limit a model was trained with, so that all models read the same windows
TIE = 1e-6          # cosines closer than this count as equal: the precision of float32 hidden states
ROWS = 1024         # rows of the cosine matrix computed at a time


class TranslationScores(NamedTuple):
    """How similar the vectors of N texts and their translations are."""

    pairs: int                     # N
    translations: float            # median cosine of a text and its translation
    random: float                  # median cosine of a text and the translation of another
    precision_forward: float       # 0..1: how often the nearest target vector of a source text is its translation's
    precision_backward: float      # 0..1: how often the nearest source vector of a target text is its original's


def load_encoder(folder: Path, *, xp: Any = np) -> tuple[Bert, Tokenizer]:
    """Load the encoder of a Hugging Face folder, without a head.  Raises UserError when it is not such a folder."""
    config = read_config(folder)
    check_sizes(folder, config, lambda: Bert.shapes(config))
    store = ParameterStore(Bert.shapes(config), tables=[WORD_TABLE], xp=xp)
    load_parameters(folder, {parameter.name: parameter.value for parameter in store})
    return Bert(config, store), Tokenizer(folder, config.vocab_size)


def encode_texts(documents: Sequence[Document], tokenizer: PieceTokenizer, bert: Bert) -> Encoded:
    """Encode texts in windows of at most MAX_LENGTH pieces; nothing is cut off."""
    limit = min(MAX_LENGTH, bert.config.max_pieces)
    return encode_documents(documents, tokenizer, None, max_length=limit)


def hidden_batches(bert: Bert, examples: Sequence[Example], *, tokens: int = TOKENS,
                   progress: Callable[[int], None] | None = None) -> Iterator[tuple[np.ndarray, Array, np.ndarray]]:
    """Compute last hidden states without dropout, in batches of about `tokens` pieces of examples of similar length.

    Yields the indices of a batch's examples (B,), their states (T, H) and where each begins (B+1,).  progress: called with
    the number of pieces of each batch.
    Raises FloatingPointError when the states are not finite.
    """
    def states(batch: Batch) -> Array:
        return bert.forward(batch.input_ids, batch.position_ids, batch.starts, keep=False)[0]

    for batch, indices, hidden in batch_results(states, examples, tokens, bert.store.xp, progress):
        if not bool(bert.store.xp.isfinite(hidden).all()):
            raise FloatingPointError("the model's hidden states became nan: the learning rate (optim.lr) was too high")
        yield indices, hidden, batch.starts


def sentence_vectors(bert: Bert, encoded: Encoded, *, tokens: int = TOKENS,
                     progress: Callable[[int], None] | None = None) -> np.ndarray:
    """Return the mean hidden state of every text, (N, H) float64, over the pieces of all its windows."""
    sources = np.array([example.source for example in encoded.examples], int)
    total, pieces = np.zeros((encoded.sources, bert.config.hidden_size)), np.zeros(encoded.sources)
    for examples, hidden, starts in hidden_batches(bert, encoded.examples, tokens=tokens, progress=progress):
        means, _ = mean_pooling_forward(hidden, starts)                                # (B, H)
        lengths = np.diff(starts)
        np.add.at(total, sources[examples], to_numpy(means) * lengths[:, None])
        np.add.at(pieces, sources[examples], lengths)
    return total / pieces[:, None]


def translation_scores(source: np.ndarray, target: np.ndarray, seed: int = 0) -> TranslationScores:
    """source (N, H), target (N, H): row i of one is the translation of row i of the other.  Raises ValueError for N < 2."""
    if source.shape != target.shape or len(source) < 2:
        raise ValueError(f"translation_scores: expected two arrays of one shape with at least 2 rows, got {source.shape} and "
                         f"{target.shape}")
    x, y = _unit(source), _unit(target)
    other = derangement(len(x), np.random.default_rng(seed))
    return TranslationScores(len(x), float(np.median((x * y).sum(axis=1))), float(np.median((x * y[other]).sum(axis=1))),
                             precision_at_1(x, y), precision_at_1(y, x))


def derangement(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation (count,) without fixed points: one cycle through all, in random order."""
    cycle = rng.permutation(count)
    other = np.empty(count, int)
    other[cycle] = np.roll(cycle, 1)
    return other


def precision_at_1(queries: np.ndarray, candidates: np.ndarray) -> float:
    """queries (N, H), candidates (N, H), unit rows -> how often candidate i is the nearest to query i, 0..1.

    Where k candidates are equally near, the right one counts 1/k, the expected score of a random choice.
    """
    correct = 0.0
    for first in range(0, len(queries), ROWS):
        cosines = queries[first:first + ROWS] @ candidates.T                           # (rows, N)
        nearest = cosines >= cosines.max(axis=1, keepdims=True) - TIE
        rows = np.arange(len(cosines))
        correct += float((nearest[rows, first + rows] / nearest.sum(axis=1)).sum())
    return correct / len(queries)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1, in float64; a zero row stays zero."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)
