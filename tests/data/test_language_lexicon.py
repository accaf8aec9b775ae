"""LanguageLexicon: rows through several word tables, lower case, unknown words, text of an unnamed language, the file."""
import numpy as np
import pytest

from minixl.data.language_lexicon import LanguageLexicon
from minixl.errors import UserError

WORDS = {"en": ["the", "cat"], "es": ["el", "gato", "the"], "de": []}


@pytest.fixture
def lexicon():
    return LanguageLexicon.of_languages(WORDS, "aceht")


def rows_of(lexicon, language, words):
    return lexicon.rows(np.array([word[0] for word in lexicon.for_language(language).pieces_batch([words])[0]])).tolist()


def test_rows_count_through_the_tables(lexicon):
    assert lexicon.vocabulary_size == 11 and lexicon.firsts == {"en": 0, "es": 4, "de": 9}
    assert rows_of(lexicon, "en", ["the", "Cat", "el"]) == [2, 3, 1]       # a word of another language is unknown
    assert rows_of(lexicon, "es", ["THE", "el", "gato", "x"]) == [8, 6, 7, 5]
    assert rows_of(lexicon, "de", ["the"]) == [10]
    assert [lexicon.words_of(language) for language in WORDS] == [tuple(words) for words in WORDS.values()]


def test_the_spelling_is_that_of_the_text(lexicon):
    ids = np.array([word[0] for word in lexicon.for_language("en").pieces_batch([["The", "the", "cat"]])[0]])
    spelled = lexicon.spell(ids)
    assert len(spelled.starts) == 4 and spelled.chars[:3].tolist() == [0, 4, 3]        # T is not in the alphabet


def test_the_language_of_a_sentence_is_guessed(lexicon):
    ids = lexicon.pieces_batch([["the", "cat"], ["the", "gato"], ["x"]])
    assert [lexicon.rows(np.array([word[0] for word in sentence])).tolist() for sentence in ids] == [[2, 3], [8, 7], [1]]
    assert lexicon.unknown_words([["the", "cat", "gato"], ["el"]]) == 1
    assert lexicon.for_language("en").unknown_words([["the", "el"]]) == 1


def test_an_unknown_language_is_an_error(lexicon):
    with pytest.raises(UserError, match="^language fr: expected one of en, es, de, which the language model has read"):
        lexicon.for_language("fr")


def test_the_file_keeps_everything(lexicon, tmp_path):
    lexicon.save(tmp_path)
    loaded = LanguageLexicon.load(tmp_path)
    assert isinstance(loaded, LanguageLexicon) and loaded.languages == lexicon.languages
    assert loaded.vocabulary == lexicon.vocabulary and loaded.alphabet == lexicon.alphabet
    assert rows_of(loaded, "es", ["el", "x"]) == [6, 5]
    assert lexicon.with_alphabet("xy").alphabet == ("x", "y")
