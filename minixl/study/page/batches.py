"""The batches of a step as text: word pieces, words and gold labels, which name the rows and columns of arrays."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import to_numpy
from minixl.data.batching import Batch

TOKENS, WORDS, SENTENCES, TAGS = "tokens", "words", "sentences", "tags"


INSIDE = "·"                           # what the page writes before a piece inside a word


class BatchText(NamedTuple):
    """A batch of T pieces, W scored words and B sentences."""

    tokens: list[str]                  # (T,)    pieces; one inside a word begins with INSIDE
    words: list[str]                   # (W,)    [] for a classifier
    starts: list[int]                  # (B+1,)  among the pieces
    word_starts: list[int]             # (B+1,)  among the words
    gold: list[str]                    # (W,)    or (B,) for a classifier; "" for a label that is not scored; [] for others

    def sizes(self) -> dict[str, int]:
        """Return how many pieces, words and sentences there are."""
        return {TOKENS: len(self.tokens), WORDS: len(self.words), SENTENCES: len(self.starts) - 1}


def batch_text(batch: Batch, tokenizer: Any, labels: Sequence[str]) -> BatchText:
    """labels: of the model; what is no number of one of them, such as a row of soft labels, has no name."""
    ids, rows, gold = (to_numpy(values).tolist() for values in (batch.input_ids, batch.rows, batch.labels))
    special, raw, starts = (tokenizer.cls_id, tokenizer.sep_id), tokenizer.pieces_as_text(ids), batch.starts.tolist()
    marked = any(piece.startswith("▁") for piece in raw)
    tokens = [piece if number in special else piece_name(piece, marked) for piece, number in zip(raw, ids, strict=True)]
    words = []
    for row, following in zip(rows, [*rows, len(ids)][1:], strict=True):
        end = min([following, *(start for start in starts if start > row)])
        pieces = [token for token, number in zip(tokens[row:end], ids[row:end], strict=True) if number not in special]
        words.append("".join(piece.removeprefix(INSIDE).removeprefix("▁") for piece in pieces))
    known = all(label < len(labels) for label in gold)
    names = [labels[label] if label >= 0 else "" for label in gold] if known else []
    return BatchText(tokens, words, starts, np.searchsorted(rows, starts).tolist(), names)


def piece_name(piece: str, marked: bool) -> str:
    """Return a piece as the page writes it.  marked: a ▁ marks pieces that begin a word, not a ## those that do not."""
    if marked:
        return piece.removeprefix("▁") or piece if piece.startswith("▁") else INSIDE + piece
    return INSIDE + piece.removeprefix("##") if piece.startswith("##") else piece


def axes_of(value: np.ndarray, text: BatchText | None, labels: Sequence[str], *, parameter: bool) -> tuple[str, str]:
    """Return what the rows and the columns of an array, shown as rows of its last axis, are; "" for numbers.

    parameter: it is one, or the gradient of one, so that a size that equals that of the batch does so by chance.
    """
    sizes = {} if parameter or text is None else {kind: size for kind, size in text.sizes().items() if size > 1}
    named = {**dict.fromkeys([len(labels)], TAGS), **{size: kind for kind, size in reversed(list(sizes.items()))}}
    names = [named.get(size, "") for size in value.shape]
    if value.ndim == 1:
        return "", names[0]
    return (names[0], TAGS if value.shape[1] == len(labels) else "") if value.ndim == 2 else ("", "")
