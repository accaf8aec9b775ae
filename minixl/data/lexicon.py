"""The lexicon of a word-level model: the row of the word table and the spelling of every word.

A Lexicon takes the place of an encoder's tokenizer.  Word ids are numbered in the order in which this process first sees the
words, and are never stored.  Vocabulary and alphabet are stored, as the parameters depend on them: word i has row i + 1 of the
word table, character i row i + 1 of the character table.  Row 0 of each is the unknown word or character.

A word is looked up as written, then in lower case, then in lower case with every digit as 0; otherwise it is unknown
(Lample et al. 2016).  Its spelling is always that of the text, so unknown words still differ from each other.

All languages of a model share one table of word vectors.  If several languages have vectors of their own, a text looks its words
up among those of its language first, then among all: "die" is not the same word in English and in German.
Test: tests/data/test_lexicon.py
"""
from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

import numpy as np

from minixl.data.lines import quoted
from minixl.errors import UserError
from minixl.packing import starts_of

FILE = "lexicon.json"
VERSION = 1
UNKNOWN = 0                    # row of the unknown word, and of the unknown character
DIGIT = re.compile(r"\d")


class Coverage(NamedTuple):
    """How many words of a text were found in each form; `unknown` were not found (OOV)."""

    exact: int
    lower: int
    digits: int
    unknown: int

    @property
    def words(self) -> int:
        """The total."""
        return sum(self)


class CharBatch(NamedTuple):
    """The spelling of each distinct word of a batch, and the distinct word of each token."""

    chars: np.ndarray     # (N,)    character ids of the W distinct words, packed
    starts: np.ndarray    # (W+1,)  where each distinct word starts
    word_of: np.ndarray   # (T,)    distinct word of each token


class Lexicon:
    """Maps words to ids, and ids to rows of the word table and to spellings.

    Raises ValueError for a duplicate word or character, a character that is not one, a singleton that is not a row, or sizes of
    languages that do not add up.
    """

    cls_id: int | None = None      # no special pieces: a sentence has one id per word
    sep_id: int | None = None

    def __init__(self, vocabulary: Sequence[str], alphabet: Sequence[str], singletons: Iterable[int] = (),
                 languages: Mapping[str, int] | None = None) -> None:
        """singletons: rows that are looked up exactly once in the training text.

        languages: how many words of the vocabulary belong to each language, one language after another; None: all to every one.
        """
        self.vocabulary, self.alphabet = tuple(vocabulary), tuple(alphabet)
        self.languages, self.language = dict(languages or {}), ""
        ends = np.cumsum([0, *self.languages.values()]).tolist()
        if languages and ends[-1] != len(self.vocabulary):
            raise ValueError(f"languages: expected sizes that add up to {len(self.vocabulary)} words, got {ends[-1]}")
        self._own = {language: _numbered(self.vocabulary[first:end], "vocabulary", first)
                     for language, first, end in zip(self.languages, ends[:-1], ends[1:], strict=True)}
        self._row_of: dict[str, int] = {} if self._own else _numbered(self.vocabulary, "vocabulary")
        for rows in self._own.values():
            self._row_of |= {word: row for word, row in rows.items() if word not in self._row_of}
        self._number_of = _numbered(self.alphabet, "alphabet")
        for char in self.alphabet:
            if len(char) != 1:
                raise ValueError(f"alphabet: expected single characters, got {char!r}")
        self.singletons = np.array(sorted(singletons), dtype=np.int64)
        if len(self.singletons) and not 0 < self.singletons[0] <= self.singletons[-1] < self.vocabulary_size:
            raise ValueError(f"singletons: expected rows from 1 to {self.vocabulary_size - 1}, "
                             f"got {self.singletons[0]} to {self.singletons[-1]}")
        self._ids: dict[tuple[str, str], int] = {}
        self._rows: list[int] = []
        self._spellings: list[np.ndarray] = []

    @classmethod
    def from_sentences(cls, sentences: Iterable[Sequence[str]], unlabelled: Iterable[Sequence[str]] = ()) -> Lexicon:
        """Make a lexicon of all words and characters, most frequent first, ties in code point order.

        unlabelled: sentences of which only the characters are counted.
        """
        words = Counter(word for sentence in sentences for word in sentence)
        chars: Counter[str] = Counter()
        for word, count in (words + Counter(word for sentence in unlabelled for word in sentence)).items():
            for char in word:
                chars[char] += count
        lexicon = cls(_by_frequency(words), _by_frequency(chars))
        lexicon.singletons = _once(lexicon._lookups(words))
        return lexicon

    @classmethod
    def for_vectors(cls, words: Mapping[str, Sequence[str]], alphabet: Sequence[str],
                    sentences: Mapping[str, Iterable[Sequence[str]]] | None = None) -> Lexicon:
        """Make a lexicon of each language's words of word vectors; singletons are the rows that `sentences` look up once."""
        lexicon = cls([word for of_language in words.values() for word in of_language], alphabet,
                      languages={language: len(of_language) for language, of_language in words.items()} if len(words) > 1 else None)
        lookups: Counter[int] = Counter()
        for language, text in (sentences or {}).items():
            lookups += lexicon.for_language(language)._lookups(Counter(word for sentence in text for word in sentence))
        lexicon.singletons = _once(lookups)
        return lexicon

    def for_language(self, language: str) -> Lexicon:
        """Return the lexicon for text in a language; ids are those of this lexicon."""
        view = copy.copy(self)
        view.language = language if language in self.languages else ""
        return view

    @property
    def vocabulary_size(self) -> int:
        """Rows of the word table, including the unknown word."""
        return len(self.vocabulary) + 1

    @property
    def alphabet_size(self) -> int:
        """Rows of the character table, including the unknown character."""
        return len(self.alphabet) + 1

    def pieces_batch(self, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        """Return one id for each word of each sentence, in a list of its own; new words get new ids."""
        return [[[self._id(word)] for word in words] for words in sentences]

    def encode_texts(self, texts: Sequence[str]) -> NoReturn:
        """Raises UserError: a word-level model does not classify texts."""
        raise UserError("model.type: expected transformer to classify texts, found bilstm-crf, which tags words; "
                        "use --set model.type=transformer")

    def pieces_as_text(self, ids: Sequence[int]) -> list[str]:
        """Return the words with these ids."""
        words = [word for _, word in self._ids]
        return [words[number] for number in ids]

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """ids (T,) -> rows of the word table (T,) int64, 0 for unknown words."""
        return np.array([self._rows[i] for i in ids.tolist()], dtype=np.int64)

    def spell(self, ids: np.ndarray) -> CharBatch:
        """ids (T,) -> the characters of the W distinct words, and the distinct word of each id."""
        distinct, word_of = np.unique(ids, return_inverse=True)
        spellings = [self._spellings[i] for i in distinct.tolist()]
        starts = starts_of(map(len, spellings))
        return CharBatch(np.concatenate([np.zeros(0, np.int64), *spellings]), starts, word_of.reshape(-1))

    def is_singleton(self, rows: np.ndarray) -> np.ndarray:
        """rows (T,) -> (T,) bool: whether each is a singleton."""
        return np.isin(rows, self.singletons)

    def coverage(self, sentences: Iterable[Sequence[str]]) -> Coverage:
        """Count the words of a text by the form in which they are found, without giving them ids."""
        steps = Counter(self._look_up(word)[1] for words in sentences for word in words)
        return Coverage(*(steps[step] for step in range(4)))

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> int:
        """Count the words of a text that have no row."""
        return self.coverage(sentences).unknown

    def save(self, folder: str | Path) -> None:
        """Write lexicon.json."""
        content = {"version": VERSION, "vocabulary": self.vocabulary, "alphabet": self.alphabet,
                   "singletons": self.singletons.tolist(), **({"languages": self.languages} if self.languages else {})}
        (Path(folder) / FILE).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read lexicon.json.  Raises UserError if it is missing or damaged."""
        path = Path(folder) / FILE
        content = _read(path)
        for key, kind, items in (("vocabulary", str, "words"), ("alphabet", str, "characters"), ("singletons", int, "rows")):
            value = content.get(key)
            if not isinstance(value, list) or not all(type(item) is kind for item in value):
                raise UserError(f"{path}: {key}: expected a list of {items}, found {quoted(str(value))}; "
                                "copy the model folder again")
        languages = content.get("languages", {})
        if not isinstance(languages, dict) or not all(type(size) is int and size >= 0 for size in languages.values()):
            raise UserError(f"{path}: languages: expected the number of words of each language, found {quoted(str(languages))}; "
                            "copy the model folder again")
        try:
            return cls(content["vocabulary"], content["alphabet"], content["singletons"], languages)
        except ValueError as error:
            raise UserError(f"{path}: {error}; copy the model folder again") from None

    def _id(self, word: str) -> int:
        key = (self.language, word)
        if key not in self._ids:
            self._ids[key] = len(self._rows)
            self._rows.append(self._look_up(word)[0])
            self._spellings.append(np.array([self._number_of.get(char, UNKNOWN) for char in word], dtype=np.int64))
        return self._ids[key]

    def _look_up(self, word: str) -> tuple[int, int]:
        """Return the row of a word, and the form that found it as an index into Coverage."""
        for rows in ((self._own[self.language], self._row_of) if self.language else (self._row_of,)):
            for step, form in enumerate(lookup_forms(word)):
                if form in rows:
                    return rows[form], step
        return UNKNOWN, 3

    def _lookups(self, words: Counter[str]) -> Counter[int]:
        """Return row -> how often it is looked up.  words: with their counts."""
        lookups: Counter[int] = Counter()
        for word, count in words.items():
            lookups[self._look_up(word)[0]] += count
        return lookups


def lookup_forms(word: str) -> tuple[str, str, str]:
    """Return the forms in which to look a word up, in order: as written, in lower case, in lower case with every digit as 0."""
    lower = word.lower()
    return word, lower, DIGIT.sub("0", lower)


def _by_frequency(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda item: (-counts[item], item))


def _once(lookups: Mapping[int, int]) -> np.ndarray:
    """Return the rows that are looked up exactly once.  lookups: row -> how often."""
    return np.array(sorted(row for row, count in lookups.items() if count == 1 and row != UNKNOWN), dtype=np.int64)


def _numbered(items: Sequence[str], name: str, before: int = 0) -> dict[str, int]:
    """Map each item to its row, from 1 after the items before."""
    rows = {item: row for row, item in enumerate(items, UNKNOWN + 1 + before)}
    if len(rows) < len(items):
        twice = next(item for item, count in Counter(items).items() if count > 1)
        raise ValueError(f"{name}: expected distinct entries, got {twice!r} more than once")
    return rows


def _read(path: Path) -> dict[str, Any]:
    """Read the JSON object in lexicon.json and check its version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: expected the lexicon of a bilstm-crf model, found none; "
                        "give the folder that `minixl train` wrote") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}; copy the model folder again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object {{...}}, found {quoted(str(content))}; copy the model folder again")
    if content.get("version") != VERSION:
        raise UserError(f"{path}: version: expected {VERSION}, found {content.get('version')!r}; "
                        "the model was saved by another version of minixl")
    return content
