"""Texts of three lengths, cut from sentences: what people write in a post, in an article's sentence, in a document."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from minixl.bench.training.work import Examples, pieces
from minixl.data.batching import TOKENS, length_batches
from minixl.data.encoding import Example, PieceTokenizer, encode_sentences
from minixl.data.examples import Sentence
from minixl.errors import UserError

POST, DOCUMENT = 12, 240           # words: of a post at most, of a document about
MOST = 512                         # pieces of a text
LENGTHS = {"posts": f"a sentence's first {POST} words", "sentences": "whole sentences",
           "documents": f"sentences in a row, about {DOCUMENT} words"}

Words = Sequence[str]


def _posts(sentences: Sequence[Words]) -> list[Words]:
    return [words[:POST] for words in sentences]


def _documents(sentences: Sequence[Words]) -> list[Words]:
    documents: list[list[str]] = [[]]
    for words in sentences:
        documents[-1] += words
        if len(documents[-1]) >= DOCUMENT:
            documents.append([])
    return [words for words in documents if words]


CUT: dict[str, Callable[[Sequence[Words]], list[Words]]] = {"posts": _posts, "sentences": list, "documents": _documents}


def texts_of(sentences: Sequence[Words], length: str, tokenizer: PieceTokenizer, most: int, count: int) -> list[Examples]:
    """Return batches of texts of a length, sorted by length, each of about as many pieces as minixl computes together.

    most: pieces of a text; count: pieces in all, at least one text.  Raises UserError without any text.
    """
    rows = [Sentence(tuple(words), None, number) for number, words in enumerate(CUT[length](sentences), 1)]
    encoded = encode_sentences(rows, tokenizer, None, max_length=min(most, MOST)).examples
    chosen: list[Example] = []
    while len(chosen) < len(encoded) and pieces(chosen) < count:
        chosen.append(encoded[len(chosen)])
    if not chosen:
        raise UserError("--source: expected sentences, found none")
    return [[chosen[i] for i in batch] for batch in length_batches(chosen, TOKENS)]
