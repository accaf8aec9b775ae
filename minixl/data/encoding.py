"""From words and texts to word pieces: labels on first pieces, long inputs in overlapping windows.

A tagger scores the first piece of every word (Devlin et al. 2019, section 5.3).  An input of more than `max_length`
pieces, [CLS] and [SEP] included, is handled as `on_long` says:

    window     a sentence: overlapping windows that begin and end at word boundaries; every word is scored once, in the
               window where it has the most context.  A document: windows side by side, none of them overlapping, that
               each learn its label; its scores are the mean of the windows' log-probabilities
    truncate   only what fits is kept (what the papers do); what was cut is counted
    error      the first long input is an error that names its line

A single word of more pieces than a window has room for keeps its first pieces; the others are counted as cut.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from minixl.data.examples import Document, Sentence
from minixl.errors import UserError
from minixl.packing import starts_of

IGNORED = -100          # a label that is not scored, as in PyTorch
ON_LONG = ("window", "truncate", "error")
CURE = "--set data.on_long=window reads it in windows"         # of a long input where that is an error


class PieceTokenizer(Protocol):
    """What is needed of a tokenizer; minixl.weights.tokenizer.Tokenizer is one."""

    @property
    def cls_id(self) -> int | None:
        """None: no special pieces, each word is one piece (data/lexicon.py)."""

    @property
    def sep_id(self) -> int | None:
        """None where cls_id is."""

    def pieces_batch(self, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """The ids of every word's pieces, at least one a word."""

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> int:
        """How many words have no entry of their own; 0 for a tokenizer that cuts them into pieces."""

    def save(self, folder: Path) -> None:
        """Write the files that make it again."""

    def encode_texts(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Ids and character offsets of each text's pieces, without special tokens."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of pieces as the encoder reads it: a sentence, a document, or one window of a long one."""

    input_ids: np.ndarray    # (n,)  with [CLS] and [SEP]
    rows: np.ndarray         # (w,)  positions of the scored words' first pieces; a document's is empty
    labels: np.ndarray       # (w,)  or (1,) for a document; IGNORED where unknown
    source: int              # which sentence or document this is (a part of)
    first_word: int          # index of the first scored word in its sentence


@dataclass(slots=True)
class Encoded:
    """All examples of a file and what became of the long inputs."""

    examples: list[Example]
    sources: int                       # sentences or documents
    long: int = 0                      # how many of them were longer than max_length
    cut_words: int = 0                 # words of sentences lost by truncation
    cut_pieces: int = 0                # word pieces of documents lost by it, and of words too long for a window
    pieces: int = 0                    # pieces in all examples
    words: int = 0
    unknown: int | None = None         # words that are not in a word-level model's vocabulary
    on_long: str = "window"            # how the long ones were read
    repaired: int = 0                  # tags of the file that break the scheme it is written in
    scheme: str = "none"               # that scheme
    hint: str = ""                     # what the file may be that was meant otherwise (minixl/data/hints.py)

    def count(self, more: Encoded) -> None:
        """Add the figures of more inputs to these, but not their examples."""
        for name in ("sources", "long", "cut_words", "cut_pieces", "pieces", "words", "repaired"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        if more.unknown is not None:
            self.unknown = (self.unknown or 0) + more.unknown

    def report(self, what: str) -> str:
        """For the log, one line: how many inputs, how many were long, what was cut, what was wrong with the tags; and the hint,
        where there is one, on another."""
        line = f"{what}: {self.sources} input{'s' * (self.sources != 1)}, {self.pieces} pieces"
        if self.unknown is not None:
            line = (f"{what}: {self.sources} input{'s' * (self.sources != 1)}, {self.words:,} words, "
                    f"{100 * self.unknown / max(self.words, 1):.1f} % of them unknown")
        if self.long:
            line += f", {self.long} longer than the limit" + ", read in windows" * (self.on_long == "window")
            lost = [f"{count} {what}{'s' * (count != 1)}"
                    for count, what in ((self.cut_words, "word"), (self.cut_pieces, "word piece")) if count]
            line += f", {' and '.join(lost) or 'nothing'} cut"
        if self.repaired:
            breaks = f"tag breaks {self.scheme} and was" if self.repaired == 1 else f"tags break {self.scheme} and were"
            line += f", {self.repaired} {breaks} repaired"
        return f"{line}\nwarning: {what}: {self.hint}" if self.hint else line


def encode_sentences(sentences: Sequence[Sentence], tokenizer: PieceTokenizer, label_ids: Mapping[str, int] | None, *,
                     max_length: int, on_long: str = "window", path: str = "input", cure: str = CURE) -> Encoded:
    """Sentences for a tagger.  label_ids maps a tag to its class; None leaves the labels unknown.

    Raises UserError for on_long="error" and a long sentence; it ends with the cure.
    """
    encoded = Encoded([], len(sentences), on_long=on_long)
    specials, pieces_are = (0, "words") if tokenizer.cls_id is None else (2, "word pieces")
    room = _room(max_length, on_long, specials)
    for index, (sentence, pieces) in enumerate(zip(sentences, tokenizer.pieces_batch([s.words for s in sentences]),
                                                   strict=True)):
        whole = [len(word) for word in pieces]
        lengths = [min(length, room) for length in whole]              # one word longer than a whole window is cut
        windows = [(0, len(pieces), 0, len(pieces))]
        if sum(whole) > room:
            encoded.long += 1
            if on_long == "error":
                raise UserError(f"{path}:{sentence.line}: the sentence has {sum(whole) + specials} {pieces_are}, "
                                f"data.max_length is {max_length}; {cure}")
            windows = word_windows(lengths, room)
            if on_long == "truncate":
                windows = [(0, windows[0][1], 0, windows[0][1])]
                encoded.cut_words += len(pieces) - windows[0][1]
            encoded.cut_pieces += sum(whole[:windows[-1][1]]) - sum(lengths[:windows[-1][1]])
        for first, last, scored_first, scored_last in windows:
            encoded.examples.append(_sentence_window(index, sentence, pieces, lengths, tokenizer, label_ids,
                                                     first, last, scored_first, scored_last))
        encoded.words += len(pieces)
    if not specials:
        encoded.unknown = tokenizer.unknown_words(sentence.words for sentence in sentences)
    encoded.pieces = sum(len(example.input_ids) for example in encoded.examples)
    return encoded


def _sentence_window(index: int, sentence: Sentence, pieces: list[list[int]], lengths: list[int],
                     tokenizer: PieceTokenizer, label_ids: Mapping[str, int] | None, first: int, last: int,
                     scored_first: int, scored_last: int) -> Example:
    """Words first..last-1 as one example, of which scored_first..scored_last-1 are scored; of word i lengths[i] pieces."""
    ids = [piece for word, length in zip(pieces[first:last], lengths[first:last], strict=True) for piece in word[:length]]
    if tokenizer.cls_id is not None and tokenizer.sep_id is not None:
        ids = [tokenizer.cls_id, *ids, tokenizer.sep_id]
    starts = np.cumsum([tokenizer.cls_id is not None, *lengths[first:last]])       # row of each word's first piece
    labels = np.full(scored_last - scored_first, IGNORED)
    if label_ids is not None and sentence.tags is not None:
        labels[:] = [label_ids[tag] for tag in sentence.tags[scored_first:scored_last]]
    return Example(np.array(ids, dtype=np.int64), starts[scored_first - first:scored_last - first], labels, index, scored_first)


def word_windows(lengths: Sequence[int], room: int) -> list[tuple[int, int, int, int]]:
    """Cut words of `lengths` pieces (each at most `room`) into windows of at most `room` pieces.

    Returns (first, last, scored_first, scored_last) for each: neighbours share about a quarter of a window, and each
    scores its own half of what they share.
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
                     max_length: int, on_long: str = "window", path: str = "input", cure: str = CURE) -> Encoded:
    """Documents for a classifier; every window of a long document carries its label.

    Raises UserError for on_long="error" and a long document; it ends with the cure.
    """
    encoded = Encoded([], len(documents), on_long=on_long)
    room = _room(max_length, on_long, 2)
    for index, (document, (ids, offsets)) in enumerate(zip(documents, tokenizer.encode_texts([d.text for d in documents]),
                                                           strict=True)):
        windows = [(0, len(ids))]
        if len(ids) > room:
            encoded.long += 1
            if on_long == "error":
                raise UserError(f"{path}:{document.line}: the text has {len(ids) + 2} word pieces, data.max_length is "
                                f"{max_length}; {cure}")
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
    """Piece ranges of at most `room` that end before a word where the text has spaces, and anywhere where it has none."""
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
    """Pieces beside [CLS] and [SEP], where there are any."""
    if on_long not in ON_LONG:
        raise UserError(f"data.on_long: expected one of {', '.join(ON_LONG)}, got {on_long!r}")
    if max_length < 8:
        raise UserError(f"data.max_length: expected at least 8 word pieces, got {max_length}")
    return max_length - specials
