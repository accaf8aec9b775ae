"""Encode words and texts as word pieces: labels on first pieces, long inputs in windows.

A tagger scores the first piece of every word (Devlin et al. 2019, section 5.3).  `on_long` says how to handle an input of
more than `max_length` pieces, [CLS] and [SEP] included:

    window     a sentence: overlapping windows that begin and end at word boundaries; every word is scored once, in the
               window where it has the most context.  A document: adjacent windows without overlap, each trained on the
               document's label; its scores are the mean of the windows' log-probabilities
    truncate   keep only what fits, as the papers do, and count what was cut
    error      raise an error with the line of the first long input

A word with more pieces than fit into a window keeps its first pieces; the others are counted as cut.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from minixl.data.examples import Document, Sentence
from minixl.errors import WARNING, UserError
from minixl.packing import starts_of

IGNORED = -100          # a label that is not scored, as in PyTorch
ON_LONG = ("window", "truncate", "error")
SHORTEST = 8             # the least limit on the length of an input: room for [CLS], [SEP] and a few pieces
LONG_INPUT_FIX = "split it into windows with --set data.on_long=window"      # the fix in the error about a long input


class PieceTokenizer(Protocol):
    """The interface of a tokenizer, such as minixl.weights.tokenizer.Tokenizer."""

    @property
    def cls_id(self) -> int | None:
        """The id of [CLS]; None if there are no special pieces and each word is one piece (data/lexicon.py)."""

    @property
    def sep_id(self) -> int | None:
        """The id of [SEP]; None if cls_id is None."""

    def for_language(self, language: str) -> PieceTokenizer:
        """Return the tokenizer for text in a language, "" if it is not known; ids are those of this one."""

    def pieces_batch(self, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Return the ids of every word's pieces, at least one per word."""

    def pieces_as_text(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces with these ids as text."""

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> int:
        """Count the words that have no entry of their own; 0 for a tokenizer that splits words into pieces."""

    def save(self, folder: Path) -> None:
        """Write the files from which the tokenizer can be loaded again."""

    def encode_texts(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Return ids and character offsets of each text's pieces, without special tokens."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of pieces for the encoder: a sentence, a document, or one window of a long one."""

    input_ids: np.ndarray    # (n,)  with [CLS] and [SEP]
    rows: np.ndarray         # (w,)  positions of the scored words' first pieces; a document's is empty
    labels: np.ndarray       # (w,)  or (1,) for a document; IGNORED where unknown
    source: int              # index of the sentence or document that this is, or is a window of
    first_word: int          # index of the first scored word in its sentence


@dataclass(slots=True)
class Encoded:
    """The examples of a file, and how many inputs were long, truncated or repaired."""

    examples: list[Example]
    sources: int                       # sentences or documents
    long_inputs: int = 0               # how many of them were longer than max_length
    cut_words: int = 0                 # words of sentences lost to truncation
    cut_pieces: int = 0                # pieces lost from truncated documents and from words too long for a window
    pieces: int = 0                    # pieces in all examples
    words: int = 0
    unknown_words: int | None = None   # words outside the vocabulary of a word-level model
    on_long: str = "window"            # how long inputs were handled
    repaired: int = 0                  # tags of the file that violate file_scheme
    file_scheme: str = "none"          # the tag scheme of the file
    hint: str = ""                     # a warning if the file looks misread (minixl/data/hints.py)

    def add_counts(self, other: Encoded) -> None:
        """Add the counts of further inputs, but not their examples."""
        for name in ("sources", "long_inputs", "cut_words", "cut_pieces", "pieces", "words", "repaired"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.unknown_words is not None:
            self.unknown_words = (self.unknown_words or 0) + other.unknown_words

    def report(self, name: str) -> str:
        """Return a line for the log (inputs, long inputs, what was cut, repaired tags), and the hint, if any, on a second line."""
        line = f"{name}: {self.sources} input{'s' * (self.sources != 1)}, {self.pieces} pieces"
        if self.unknown_words is not None:
            line = (f"{name}: {self.sources} input{'s' * (self.sources != 1)}, {self.words:,} words, "
                    f"{100 * self.unknown_words / max(self.words, 1):.1f} % of them unknown")
        if self.long_inputs:
            line += f", {self.long_inputs} longer than the limit" + ", split into windows" * (self.on_long == "window")
            lost = [f"{count} {unit}{'s' * (count != 1)}"
                    for count, unit in ((self.cut_words, "word"), (self.cut_pieces, "word piece")) if count]
            line += f", {' and '.join(lost) or 'nothing'} cut"
        if self.repaired:
            violate, were = ("tag violates", "was") if self.repaired == 1 else ("tags violate", "were")
            line += f", {self.repaired} {violate} {self.file_scheme} and {were} repaired"
        return f"{line}\n{WARNING}{name}: {self.hint}" if self.hint else line


def scored_starts(encoded: Encoded) -> np.ndarray:
    """Return (N+1,): where the scored words of each sentence, from all its windows, begin in one array of all sentences."""
    words = np.zeros(encoded.sources, np.int64)
    for example in encoded.examples:
        words[example.source] += len(example.rows)
    return starts_of(words)


def encode_sentences(sentences: Sequence[Sentence], tokenizer: PieceTokenizer, label_ids: Mapping[str, int] | None, *,
                     max_length: int, on_long: str = "window", path: str = "input", fix: str = LONG_INPUT_FIX) -> Encoded:
    """Encode sentences for a tagger.  label_ids: tag -> class number; None leaves the labels unknown.

    With on_long="error", raises UserError for a long sentence; its message ends with `fix`.
    """
    encoded = Encoded([], len(sentences), on_long=on_long)
    specials, unit = (0, "words") if tokenizer.cls_id is None else (2, "word pieces")
    room = _room(max_length, on_long, specials)
    for index, (sentence, pieces) in enumerate(zip(sentences, tokenizer.pieces_batch([s.words for s in sentences]),
                                                   strict=True)):
        full_lengths = [len(word) for word in pieces]
        lengths = [min(length, room) for length in full_lengths]       # cut a word that is longer than a window
        windows = [(0, len(pieces), 0, len(pieces))]
        if sum(full_lengths) > room:
            encoded.long_inputs += 1
            if on_long == "error":
                raise UserError(f"{sentence.place(path)}: the sentence has {sum(full_lengths) + specials} {unit}, "
                                f"but data.max_length is {max_length}; {fix}")
            windows = word_windows(lengths, room)
            if on_long == "truncate":
                windows = [(0, windows[0][1], 0, windows[0][1])]
                encoded.cut_words += len(pieces) - windows[0][1]
            encoded.cut_pieces += sum(full_lengths[:windows[-1][1]]) - sum(lengths[:windows[-1][1]])
        for first, last, scored_first, scored_last in windows:
            encoded.examples.append(_sentence_window(index, sentence, pieces, lengths, tokenizer, label_ids,
                                                     first, last, scored_first, scored_last))
        encoded.words += len(pieces)
    if not specials:
        encoded.unknown_words = tokenizer.unknown_words(sentence.words for sentence in sentences)
    encoded.pieces = sum(len(example.input_ids) for example in encoded.examples)
    return encoded


def _sentence_window(index: int, sentence: Sentence, pieces: list[list[int]], lengths: list[int],
                     tokenizer: PieceTokenizer, label_ids: Mapping[str, int] | None, first: int, last: int,
                     scored_first: int, scored_last: int) -> Example:
    """Make one example of words first..last-1, the first lengths[i] pieces of word i, scoring scored_first..scored_last-1."""
    ids = [piece for word, length in zip(pieces[first:last], lengths[first:last], strict=True) for piece in word[:length]]
    if tokenizer.cls_id is not None and tokenizer.sep_id is not None:
        ids = [tokenizer.cls_id, *ids, tokenizer.sep_id]
    starts = np.cumsum([tokenizer.cls_id is not None, *lengths[first:last]])       # row of each word's first piece
    labels = np.full(scored_last - scored_first, IGNORED)
    if label_ids is not None and sentence.tags is not None:
        labels[:] = [label_ids[tag] for tag in sentence.tags[scored_first:scored_last]]
    return Example(np.array(ids, dtype=np.int64), starts[scored_first - first:scored_last - first], labels, index, scored_first)


def word_windows(lengths: Sequence[int], room: int) -> list[tuple[int, int, int, int]]:
    """Split words of `lengths` pieces (each at most `room`) into windows of at most `room` pieces.

    Returns (first, last, scored_first, scored_last) for each.  Neighbours share about a quarter of a window, and each scores
    its own half of that.
    """
    ends = starts_of(lengths)                                          # pieces before each word
    bounds = []
    first = 0
    while True:
        last = int(np.searchsorted(ends, ends[first] + room, side="right")) - 1
        bounds.append((first, last))
        if last == len(lengths):
            break
        shared, fits = ends[last] - room // 4, ends[last + 1] - room   # the shared quarter; less, if the next word is long
        first = int(np.searchsorted(ends, max(shared, fits)))
    cuts = [0, *((a[1] + b[0]) // 2 for a, b in zip(bounds, bounds[1:], strict=False)), len(lengths)]
    return [(first, last, cuts[i], cuts[i + 1]) for i, (first, last) in enumerate(bounds)]


def encode_documents(documents: Sequence[Document], tokenizer: PieceTokenizer, label_ids: Mapping[str, int] | None, *,
                     max_length: int, on_long: str = "window", path: str = "input", fix: str = LONG_INPUT_FIX) -> Encoded:
    """Encode documents for a classifier; every window of a long document carries the document's label.

    With on_long="error", raises UserError for a long document; its message ends with `fix`.
    """
    encoded = Encoded([], len(documents), on_long=on_long)
    room = _room(max_length, on_long, 2)
    for index, (document, (ids, offsets)) in enumerate(zip(documents, tokenizer.encode_texts([d.text for d in documents]),
                                                           strict=True)):
        windows = [(0, len(ids))]
        if len(ids) > room:
            encoded.long_inputs += 1
            if on_long == "error":
                raise UserError(f"{document.place(path)}: the text has {len(ids) + 2} word pieces, but data.max_length is "
                                f"{max_length}; {fix}")
            windows = _text_windows(document.text, offsets, room)
            if on_long == "truncate":
                windows = windows[:1]
                encoded.cut_pieces += len(ids) - windows[0][1]
        label = IGNORED if label_ids is None or document.label is None else label_ids[document.label]
        for first, last in windows:
            pieces = np.array([tokenizer.cls_id, *ids[first:last], tokenizer.sep_id])
            encoded.examples.append(Example(pieces, np.zeros(0, int), np.array([label]), index, 0))
        encoded.words += len(document.text.split())
    encoded.pieces = sum(len(example.input_ids) for example in encoded.examples)
    return encoded


def _text_windows(text: str, offsets: Sequence[tuple[int, int]], room: int) -> list[tuple[int, int]]:
    """Split a text into ranges of at most `room` pieces, before a word if the text has spaces, else anywhere."""
    windows, first = [], 0
    while first < len(offsets):
        last = min(first + room, len(offsets))
        if last < len(offsets):
            begins = (i for i in range(last, first + room // 2, -1)
                      if offsets[i][0] > 0 and (text[offsets[i][0] - 1].isspace() or text[offsets[i][0]].isspace()))
            last = next(begins, last)
        windows.append((first, last))
        first = last
    return windows


def _room(max_length: int, on_long: str, specials: int) -> int:
    """Return how many pieces fit beside the special ones."""
    if on_long not in ON_LONG:
        raise UserError(f"data.on_long: expected one of {', '.join(ON_LONG)}, got {on_long!r}")
    if max_length < SHORTEST:
        raise UserError(f"data.max_length: expected at least {SHORTEST} word pieces, got {max_length}")
    return max_length - specials
