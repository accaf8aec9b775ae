"""Raw text for a language model: words, a vocabulary by frequency, the text as numbers on disk, batches by length.

    words        in lower case; found by data/words.py, or separated by spaces (tokenised)
    sentences    the lines of a file; those of fewer than `shortest` or more than `longest` words are left out and counted
    numbers      DIR/LANGUAGE.words, int32, rows of the word table of all sentences, one after another
                 DIR/LANGUAGE.starts, int64, where each sentence begins, and the end
    held out     sentences evenly spaced over the text, on which perplexity is measured; they are not trained on
    batches      of sentences whose lengths are in the same ten (1-10, 11-20, ...), about `tokens` words each, every sentence once
                 an epoch, in an order that depends on seed and epoch only

A corpus may be larger than memory: text is read line by line, twice, and the numbers are mapped from the disk.
Test: tests/data/test_monolingual.py
"""
from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import Array
from minixl.data.language_lexicon import SPECIAL, UNKNOWN
from minixl.data.lines import quoted, read_lines
from minixl.data.words import find_words
from minixl.distributed import on_one_rank
from minixl.errors import UserError
from minixl.files import replaced_file
from minixl.packing import starts_of

BUCKET = 10                            # lengths that share a bucket
FEWEST_WORDS = 2                       # different words of a vocabulary: with one there is nothing to predict
FLUSH = 1 << 20                        # words written at a time


class Text(NamedTuple):
    """The raw text of a language."""

    language: str
    paths: Sequence[Path]
    encoding: str
    tokenised: bool
    shortest: int
    longest: int
    limit: int = 0                     # read on until so many sentences fit; 0: all

    def sentences(self) -> Iterator[list[str]]:
        """Yield the words of every line, in lower case, whatever its length."""
        fitting = 0
        for path in self.paths:
            for line in read_lines(path, self.encoding):
                words = lower_words(line, self.tokenised)
                yield words
                fitting += self.fits(words)
                if fitting == self.limit > 0:
                    return

    def fits(self, words: Sequence[str]) -> bool:
        """Whether a sentence is neither too short nor too long."""
        return self.shortest <= len(words) <= self.longest

    @property
    def names(self) -> str:
        """The files, for messages."""
        return f"--unlabelled {self.language}={' + '.join(map(str, self.paths))}"


def lower_words(line: str, tokenised: bool, *, lower: bool = True) -> list[str]:
    """Return the words of a line, in lower case unless lower=False."""
    line = line.lower() if lower else line
    return line.split() if tokenised else find_words(line)


def count_words(text: Text) -> Counter[str]:
    """Return how often each word occurs in the sentences that fit.

    Raises UserError for fewer than two such sentences, of which one is held out, and for a text of one word.
    """
    counts: Counter[str] = Counter()
    sentences = 0
    for words in text.sentences():
        if text.fits(words):
            counts.update(words)
            sentences += 1
    if sentences < 2:
        raise UserError(f"{text.names}: expected lines of {text.shortest} to {text.longest} words, found "
                        f"{'only one' if sentences else 'none'}; is this raw text, one sentence a line? "
                        "(language_model.shortest and language_model.longest set the limits)")
    if len(counts) < FEWEST_WORDS:
        raise UserError(f"{text.names}: expected at least {FEWEST_WORDS} different words, found only {quoted(next(iter(counts)))}; "
                        "give real text")
    return counts


def most_frequent(counts: Counter[str], size: int) -> list[str]:
    """Return the words of a vocabulary of `size` rows, specials included, the most frequent first, ties in code point order."""
    return sorted(counts, key=lambda word: (-counts[word], word))[:size - SPECIAL]


class Encoded(NamedTuple):
    """A text as numbers, mapped from its files."""

    words: np.ndarray     # (N,)    int32
    starts: np.ndarray    # (S+1,)  int64

    def lengths(self) -> np.ndarray:
        """The words of every sentence, (S,)."""
        return np.diff(self.starts)


class Count(NamedTuple):
    """What encode_text found."""

    sentences: int
    words: int
    unknown: int          # words outside the vocabulary
    short: int            # sentences left out
    long: int

    def line(self, text: Text, vocabulary: int) -> str:
        """Return a line for the user."""
        left_out = ", ".join(f"{count:,} line{'s' * (count != 1)} of {what} words left out" for count, what in (
            (self.short, f"fewer than {text.shortest}"), (self.long, f"more than {text.longest}")) if count)
        return (f"{text.names}: {self.sentences:,} sentences, {self.words:,} words, vocabulary of {vocabulary:,} words, "
                f"{100 * self.unknown / self.words:.1f} % unknown" + (f"; {left_out}" if left_out else ""))


@on_one_rank
def encode_text(text: Text, vocabulary: Sequence[str], folder: Path) -> Count:
    """Write the numbers of a text into the folder, atomically."""
    rows = {word: SPECIAL + i for i, word in enumerate(vocabulary)}
    starts, short, long, unknown = array("q", [0]), 0, 0, 0
    with replaced_file(folder / f"{text.language}.words") as fresh, open(fresh, "wb") as file:
        waiting = array("i")
        for words in text.sentences():
            if not text.fits(words):
                short, long = short + (0 < len(words) < text.shortest), long + (len(words) > text.longest)
                continue
            numbers = [rows.get(word, UNKNOWN) for word in words]
            unknown += numbers.count(UNKNOWN)
            waiting.extend(numbers)
            starts.append(starts[-1] + len(numbers))
            if len(waiting) > FLUSH:
                waiting.tofile(file)
                del waiting[:]
        waiting.tofile(file)
    with replaced_file(folder / f"{text.language}.starts") as fresh, open(fresh, "wb") as file:
        starts.tofile(file)
    return Count(len(starts) - 1, starts[-1], unknown, short, long)


def is_encoded(language: str, folder: Path) -> bool:
    """Whether encode_text has finished this language; the starts are written last."""
    return (folder / f"{language}.starts").is_file()


def open_encoded(language: str, folder: Path) -> Encoded:
    """Map what encode_text wrote."""
    return Encoded(np.memmap(folder / f"{language}.words", np.int32, "r"), np.memmap(folder / f"{language}.starts", np.int64, "r"))


@on_one_rank
def remove_encoded(language: str, folder: Path) -> None:
    """Delete what encode_text wrote."""
    for kind in ("words", "starts"):
        (folder / f"{language}.{kind}").unlink(missing_ok=True)


class Sentences(NamedTuple):
    """A packed batch of sentences of one language, the shortest first."""

    ids: Array             # (T,)    rows of its word table, on the device
    starts: np.ndarray     # (B+1,)

    @property
    def tokens(self) -> int:
        """T."""
        return int(self.starts[-1])


def held_out(sentences: int, count: int) -> np.ndarray:
    """Return the numbers of `count` held-out sentences, evenly spaced; of a small text at most a tenth, but at least one."""
    count = min(count, max(sentences // 10, 1)) if sentences > 1 else 0
    return np.unique(np.linspace(0, sentences - 1, count + 2)[1:-1].astype(np.int64)) if count else np.zeros(0, np.int64)


def pack_sentences(text: Encoded, numbers: np.ndarray, xp: Any = np) -> Sentences:
    """Pack some sentences of a text."""
    lengths = (text.starts[numbers + 1] - text.starts[numbers]).astype(np.int64)
    numbers, lengths = numbers[(order := np.argsort(lengths, kind="stable"))], lengths[order]
    starts = starts_of(lengths)
    rows = np.arange(int(starts[-1])) + np.repeat(text.starts[numbers] - starts[:-1], lengths)
    return Sentences(xp.asarray(text.words[rows].astype(np.int64)), starts)


class SentenceStream:
    """Endless batches of the training sentences of a text; its state continues it exactly."""

    def __init__(self, text: Encoded, tokens: int, held: int, seed: Sequence[int], xp: Any = np) -> None:
        """tokens: about how many words a batch has; held: how many sentences are held out."""
        self.text, self.tokens, self.seed, self.xp = text, tokens, tuple(seed), xp
        lengths = text.lengths()
        self.held_out = held_out(len(lengths), held)
        self.training = np.setdiff1d(np.arange(len(lengths)), self.held_out)
        self.buckets = (lengths[self.training] - 1) // BUCKET
        self.epoch, self.position = 0, 0
        self.batches = self._batches()

    @property
    def batches_per_epoch(self) -> int:
        """How many batches have every sentence once."""
        return len(self.batches)

    def __iter__(self) -> SentenceStream:
        return self

    def __next__(self) -> Sentences:
        if self.position >= len(self.batches):
            self.epoch, self.position = self.epoch + 1, 0
            self.batches = self._batches()
        self.position += 1
        return pack_sentences(self.text, self.batches[self.position - 1], self.xp)

    def dev_batches(self) -> Iterator[Sentences]:
        """Yield the held-out sentences, sorted by length, about `tokens` words at a time."""
        numbers = self.held_out[np.argsort(self.text.lengths()[self.held_out], kind="stable")]
        ends = np.cumsum(self.text.lengths()[numbers])
        for part in np.split(numbers, np.flatnonzero(np.diff(ends // self.tokens)) + 1):
            if len(part):
                yield pack_sentences(self.text, part, self.xp)

    def _batches(self) -> list[np.ndarray]:
        """Return the numbers of the sentences of every batch of this epoch, in order."""
        rng = np.random.default_rng([*self.seed, self.epoch])
        order = rng.permutation(len(self.training))
        batches: list[np.ndarray] = []
        for bucket in np.unique(self.buckets):
            members = self.training[order[self.buckets[order] == bucket]]
            size = max(1, self.tokens // int((bucket + 1) * BUCKET))
            batches += np.split(members, range(size, len(members), size))
        return [batches[i] for i in rng.permutation(len(batches))]

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the position in it, as JSON values."""
        return {"epoch": self.epoch, "position": self.position, "sentences": len(self.training)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a stream's state.  Raises ValueError when that stream had other text."""
        if state["sentences"] != len(self.training):
            raise ValueError(f"the checkpoint was made with {state['sentences']} training sentences, but now there are "
                             f"{len(self.training)}")
        self.epoch, self.position = state["epoch"], state["position"]
        self.batches = self._batches()
