"""The lexicon of a model on a language model of several languages: each has a vocabulary and a word table of its own.

It takes the place of an encoder's tokenizer, as any Lexicon does.  A word is looked up in lower case in the vocabulary of its
language only.  Rows count through the word tables of all languages, one after another; every table begins with the end of a
sentence and the unknown word.  Text whose language nobody named is read, sentence by sentence, in the language whose vocabulary has
most of its words.  Test: tests/data/test_language_lexicon.py
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from minixl.data.lexicon import Lexicon
from minixl.errors import UserError

UNKNOWN, SPECIAL = 1, 2                # rows of a word table: the unknown word, and how many come before its first word


class LanguageLexicon(Lexicon):
    """Vocabularies of several languages, without repetition in each, and one alphabet."""

    def __init__(self, vocabulary: Sequence[str], alphabet: Sequence[str], singletons: Iterable[int] = (),
                 languages: Mapping[str, int] | None = None) -> None:
        super().__init__(vocabulary, alphabet, singletons, languages)
        sizes = [size + SPECIAL for size in self.languages.values()]
        self.firsts = dict(zip(self.languages, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))     # first row of each table

    @classmethod
    def of_languages(cls, words: Mapping[str, Sequence[str]], alphabet: Sequence[str] = ()) -> LanguageLexicon:
        """words: language -> its words, the most frequent first."""
        return cls([word for of_language in words.values() for word in of_language], alphabet,
                   languages={language: len(of_language) for language, of_language in words.items()})

    def with_alphabet(self, alphabet: Sequence[str]) -> LanguageLexicon:
        """Return the same vocabularies with another alphabet."""
        return LanguageLexicon(self.vocabulary, alphabet, languages=self.languages)

    def words_of(self, language: str) -> tuple[str, ...]:
        """Return the vocabulary of a language; word i has row SPECIAL + i of its table."""
        first = sum(size for other, size in self.languages.items() if self.firsts[other] < self.firsts[language])
        return self.vocabulary[first:first + self.languages[language]]

    def for_language(self, language: str) -> Lexicon:
        if language and language not in self.languages:
            raise UserError(f"language {language}: expected one of {', '.join(self.languages)}, which the language model has read; "
                            "train one with text in this language too")
        return super().for_language(language)

    @property
    def vocabulary_size(self) -> int:
        """Rows of the word tables of all languages."""
        return len(self.vocabulary) + SPECIAL * len(self.languages)

    def pieces_batch(self, sentences: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        if self.language:
            return super().pieces_batch(sentences)
        return [self.for_language(self.guess(words)).pieces_batch([words])[0] for words in sentences]

    def guess(self, words: Sequence[str]) -> str:
        """Return the language whose vocabulary has most of these words; the first of several."""
        lower = [word.lower() for word in words]
        return max(self.languages, key=lambda language: sum(word in self._own[language] for word in lower))

    def unknown_words(self, sentences: Iterable[Sequence[str]]) -> int:
        if self.language:
            return super().unknown_words(sentences)
        return sum(self.for_language(self.guess(words)).unknown_words([words]) for words in sentences)

    def _look_up(self, word: str) -> tuple[int, int]:
        first, lower = self.firsts[self.language], word.lower()
        row = self._own[self.language].get(lower)
        if row is None:
            return first + UNKNOWN, 3
        begins = next(iter(self._own[self.language].values()))         # of the language's words in Lexicon's own numbers
        return first + SPECIAL + row - begins, 0 if lower == word else 1
