"""Replace words of labelled text by their translations, to test on mixed language.  Dong et al. 2020, section 3.2.

A word is looked up as it is written, then in lower case; a translation in lower case takes over a capital first letter or
capitals throughout.  Labels and tags stay: a word is replaced by one word.  Each word has one translation, drawn by the
seed, wherever it stands ("word", as in the paper), or each place has one of its own ("occurrence").
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from minixl.data.corpus import Corpus
from minixl.data.examples import TAGGING, Document, Sentence
from minixl.data.words import split_words
from minixl.errors import UserError

WORD, OCCURRENCE = TRANSLATE = ("word", "occurrence")


@dataclass
class CodeSwitch:
    """Replaces words, and counts words and replacements.

    share: the probability, 0 to 1, with which a word that the dictionary has is replaced, drawn for every place.
    """

    translations: Mapping[str, Sequence[str]]
    rng: np.random.Generator
    translate: str = WORD
    share: float = 1.0
    words: int = 0
    replaced: int = 0
    known: int = 0                                                 # words that the dictionary has
    vocabulary: set[str] = field(default_factory=set)              # the different words, in lower case
    replaced_vocabulary: set[str] = field(default_factory=set)
    chosen: dict[str, str] = field(default_factory=dict)           # with "word": entry -> its translation

    def word(self, word: str) -> str:
        """Return the word or its translation."""
        self.words += 1
        self.vocabulary.add(word.lower())
        entry = next((form for form in (word, word.lower()) if form in self.translations), None)
        if entry is None:
            return word
        self.known += 1
        if self.share < 1 and self.rng.random() >= self.share:
            return word
        self.replaced += 1
        self.replaced_vocabulary.add(word.lower())
        if self.translate == OCCURRENCE:
            return _in_case_of(word, self._drawn(entry))
        if entry not in self.chosen:
            self.chosen[entry] = self._drawn(entry)
        return _in_case_of(word, self.chosen[entry])

    def corpus(self, corpus: Corpus) -> Corpus:
        """Return the corpus with words replaced.  Raises UserError if the dictionary has none of its words."""
        if corpus.task in TAGGING:
            switched: list[Sentence] | list[Document] = [replace(sentence, words=tuple(map(self.word, sentence.words)))
                                                         for sentence in corpus.sentences()]
        else:
            switched = [replace(document, text=" ".join(self._text(document.text).split())) for document in corpus.documents()]
        if not self.known:
            raise UserError(f"{corpus.path}: the dictionary has none of its {len(self.vocabulary):,} different words; expected a "
                            f"dictionary with words in {corpus.language} in the first column")
        return replace(corpus, inputs=switched)

    def report(self) -> str:
        """Return the shares that were replaced, of the different words and of all (the paper's Table 4)."""
        shares = [100 * part / max(whole, 1) for part, whole in
                  ((len(self.replaced_vocabulary), len(self.vocabulary)), (self.replaced, self.words))]
        return f"replaced {shares[0]:.1f} % of {len(self.vocabulary):,} different words, {shares[1]:.1f} % of {self.words:,} words"

    def _drawn(self, entry: str) -> str:
        translations = self.translations[entry]
        return translations[int(self.rng.integers(len(translations)))]

    def _text(self, text: str) -> str:
        parts, end = [], 0
        for first, last in split_words(text):
            parts += [text[end:first], self.word(text[first:last])]
            end = last
        return "".join([*parts, text[end:]])


def _in_case_of(word: str, translation: str) -> str:
    """Write a translation in lower case as the word is written."""
    if translation != translation.lower() or word == word.lower():
        return translation
    return translation.upper() if len(word) > 1 and word == word.upper() else translation[:1].upper() + translation[1:]
