"""What a word-level model reads: for every word its row of the word table and its spelling.

A Lexicon stands where a tokenizer stands for an encoder.  A word's id is a running number within this process, given out
when the word is first met, and is never stored.  Stored are vocabulary and alphabet, to which the parameters refer: word i
has row i + 1 of the word table, character i row i + 1 of the character table.  Row 0 of either is the unknown word, the
unknown character.

A word finds its row as it is written, else in lower case, else in lower case with every digit as 0, else it is unknown
(Lample et al. 2016).  Its spelling is that of the text in any case, so a word that is unknown is still told from others.

There is one vocabulary for all languages of a model: word vectors of several languages stand in one table, mapped into
one space beforehand.  Test: tests/data/test_lexicon.py
"""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from minixl.data.lines import shown
from minixl.errors import UserError
from minixl.packing import starts_of

FILE = "lexicon.json"
VERSION = 1
UNKNOWN = 0                    # row of the unknown word, and of the unknown character
DIGIT = re.compile(r"\d")


class Coverage(NamedTuple):
    """How many words of a text were found, by the form that found them; `unknown` were not found (OOV)."""

    exact: int
    lower: int
    digits: int
    unknown: int

    @property
    def words(self) -> int:
        """All of them."""
        return sum(self)


class CharBatch(NamedTuple):
    """The distinct words of a batch, spelled, and which of them every token is."""

    chars: np.ndarray     # (N,)    character ids of the W distinct words, packed
    starts: np.ndarray    # (W+1,)  where each distinct word begins
    word_of: np.ndarray   # (T,)    distinct word of each token


class Lexicon:
    """Words -> ids that know their row of the word table and their spelling.

    Raises ValueError when a word or a character stands twice, a character is not one, or a singleton is no row.
    """

    cls_id: int | None = None      # no special pieces: a word is one id, a sentence its words
    sep_id: int | None = None

    def __init__(self, vocabulary: Sequence[str], alphabet: Sequence[str], singletons: Iterable[int] = ()) -> None:
        """singletons: rows that the training text looks up once in all."""
        self.vocabulary, self.alphabet = tuple(vocabulary), tuple(alphabet)
        self._row_of = _numbered(self.vocabulary, "vocabulary")
        self._number_of = _numbered(self.alphabet, "alphabet")
        for char in self.alphabet:
            if len(char) != 1:
                raise ValueError(f"alphabet: expected single characters, got {char!r}")
        self.singletons = np.array(sorted(singletons), dtype=np.int64)
        if len(self.singletons) and not 0 < self.singletons[0] <= self.singletons[-1] < self.vocabulary_size:
            raise ValueError(f"singletons: expected rows from 1 to {self.vocabulary_size - 1}, "
                             f"got {self.singletons[0]} to {self.singletons[-1]}")
        self._ids: dict[str, int] = {}
        self._rows: list[int] = []
        self._spellings: list[np.ndarray] = []

    @classmethod
    def from_sentences(cls, sentences: Iterable[Sequence[str]]) -> Lexicon:
        """All words and all characters, most frequent first, ties in code point order."""
        words = Counter(word for sentence in sentences for word in sentence)
        chars: Counter[str] = Counter()
        for word, count in words.items():
            for char in word:
                chars[char] += count
        lexicon = cls(_by_frequency(words), _by_frequency(chars))
        lexicon.singletons = lexicon._found_once(words)
        return lexicon

    @classmethod
    def for_vectors(cls, words: Sequence[str], alphabet: Sequence[str], sentences: Iterable[Sequence[str]] = ()) -> Lexicon:
        """The words of a file of word vectors, in its order; the rows that `sentences` look up once are the singletons."""
        lexicon = cls(words, alphabet)
        lexicon.singletons = lexicon._found_once(Counter(word for sentence in sentences for word in sentence))
        return lexicon

    @property
    def vocabulary_size(self) -> int:
        """Rows of the word table, with the unknown word."""
        return len(self.vocabulary) + 1

    @property
    def alphabet_size(self) -> int:
        """Rows of the character table, with the unknown character."""
        return len(self.alphabet) + 1

    def pieces_batch(self, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """One id for each word of each sentence, in a list of its own; new words get new ids."""
        return [[[self._id(word)] for word in words] for words in sentences]

    def encode_texts(self, texts: Sequence[str]) -> NoReturn:
        """Running text is for classifiers, and a word-level model is none.  Raises UserError."""
        raise UserError("model.type: expected transformer to classify texts, found bilstm-crf, which tags words; "
                        "--set model.type=transformer")

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """ids (T,) -> rows of the word table (T,) int64, 0 for unknown words."""
        return np.array([self._rows[i] for i in ids.tolist()], dtype=np.int64)

    def spell(self, ids: np.ndarray) -> CharBatch:
        """ids (T,) -> the W distinct ones among them as characters, and which of them each of the T is."""
        distinct, word_of = np.unique(ids, return_inverse=True)
        spellings = [self._spellings[i] for i in distinct.tolist()]
        starts = starts_of(map(len, spellings))
        return CharBatch(np.concatenate([np.zeros(0, np.int64), *spellings]), starts, word_of.reshape(-1))

    def once(self, rows: np.ndarray) -> np.ndarray:
        """rows (T,) -> (T,) bool: is it the row of a singleton?"""
        return np.isin(rows, self.singletons)

    def coverage(self, sentences: Iterable[Sequence[str]]) -> Coverage:
        """How the words of a text find their rows; no ids are given out."""
        steps = Counter(self._look_up(word)[1] for words in sentences for word in words)
        return Coverage(*(steps[step] for step in range(4)))

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> int:
        """How many words of a text do not find a row."""
        return self.coverage(sentences).unknown

    def save(self, folder: str | Path) -> None:
        """lexicon.json."""
        content = {"version": VERSION, "vocabulary": self.vocabulary, "alphabet": self.alphabet,
                   "singletons": self.singletons.tolist()}
        (Path(folder) / FILE).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Lexicon:
        """What `save` wrote.  Raises UserError when it is missing or damaged."""
        path = Path(folder) / FILE
        content = _read(path)
        for key, kind, what in (("vocabulary", str, "words"), ("alphabet", str, "characters"), ("singletons", int, "rows")):
            value = content.get(key)
            if not isinstance(value, list) or not all(type(item) is kind for item in value):
                raise UserError(f"{path}: {key}: expected a list of {what}, found {shown(str(value))}; "
                                "copy the model folder again")
        try:
            return cls(content["vocabulary"], content["alphabet"], content["singletons"])
        except ValueError as error:
            raise UserError(f"{path}: {error}; copy the model folder again") from None

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = len(self._rows)
            self._rows.append(self._look_up(word)[0])
            self._spellings.append(np.array([self._number_of.get(char, UNKNOWN) for char in word], dtype=np.int64))
        return self._ids[word]

    def _look_up(self, word: str) -> tuple[int, int]:
        """The row of a word, and the step of the chain that found it: an index into Coverage."""
        for step, form in enumerate(look_up_forms(word)):
            if form in self._row_of:
                return self._row_of[form], step
        return UNKNOWN, 3

    def _found_once(self, words: Counter[str]) -> np.ndarray:
        """Rows that these words, with their counts, look up once in all."""
        found: Counter[int] = Counter()
        for word, count in words.items():
            found[self._look_up(word)[0]] += count
        return np.array(sorted(row for row, count in found.items() if count == 1 and row != UNKNOWN), dtype=np.int64)


def look_up_forms(word: str) -> tuple[str, str, str]:
    """What a word is looked up by, in this order: as it is, in lower case, and in lower case with every digit as 0."""
    lower = word.lower()
    return word, lower, DIGIT.sub("0", lower)


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda item: (-counts[item], item))


def _numbered(items: Sequence[str], what: str) -> dict[str, int]:
    """item -> its row, from 1."""
    rows = {item: row for row, item in enumerate(items, UNKNOWN + 1)}
    if len(rows) < len(items):
        twice = next(item for item, count in Counter(items).items() if count > 1)
        raise ValueError(f"{what}: expected distinct entries, got {twice!r} more than once")
    return rows


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in lexicon.json, of the version this program writes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected the lexicon of a bilstm-crf model, found none; "
                        "name the folder that `minixl train` wrote") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}; copy the model folder again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object {{...}}, found {shown(str(content))}; copy the model folder again")
    if content.get("version") != VERSION:
        raise UserError(f"{path}: version: expected {VERSION}, found {content.get('version')!r}; "
                        "the model was saved by another version of minixl")
    return content
