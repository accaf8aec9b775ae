"""Lexicon: ids, lookup, spellings, singletons, saving, and errors about a damaged file."""
import json

import numpy as np
import pytest

from minixl.data.batching import pack
from minixl.data.encoding import encode_sentences
from minixl.data.examples import Sentence
from minixl.data.lexicon import Coverage, Lexicon
from minixl.errors import UserError

TEXT = [["The", "Cab", "the", "cab", "."], ["the", "cab", "in", "1995", "."]]


def ids_of(lexicon, words):
    return np.array([piece for [piece] in lexicon.pieces_batch([words])[0]])


def test_vocabulary_and_alphabet_by_frequency():
    lexicon = Lexicon.from_sentences(TEXT)
    assert lexicon.vocabulary == (".", "cab", "the", "1995", "Cab", "The", "in")
    assert lexicon.alphabet == tuple("abeh" ".9ct" "15CTin")
    again = Lexicon.from_sentences(TEXT[::-1])
    assert (again.vocabulary, again.alphabet) == (lexicon.vocabulary, lexicon.alphabet)


@pytest.mark.parametrize("word, row", [("Cab", 1), ("CAB", 2), ("A-12", 3), ("a-12", 3), ("٣x", 4), ("dog", 0), ("", 0)])
def test_look_up(word, row):
    """As written, in lower case, with digits (of any script) as 0, unknown; the first form that is found counts."""
    lexicon = Lexicon(["Cab", "cab", "a-00", "0x"], "abc")
    assert lexicon.rows(ids_of(lexicon, [word])).tolist() == [row]


def test_coverage_counts_words_by_what_found_them():
    lexicon = Lexicon(["cab", "a-00"], "abc")
    counted = lexicon.coverage([["cab", "Cab", "cab"], ["A-12", "dog", "a-00"], []])
    assert counted == Coverage(exact=3, lower=1, digits=1, unknown=1) and counted.words == 6


def test_equal_words_have_one_id_and_ids_are_never_given_again():
    lexicon = Lexicon(["cab"], "abc")
    first = ids_of(lexicon, ["cab", "Cab", "dog", "cab"])
    assert first[0] == first[3] and len(set(first.tolist())) == 3      # Cab reads row 1 too, but is spelled otherwise
    later = ids_of(lexicon, ["new", "dog", "cab"])
    assert later[1:].tolist() == [first[2], first[0]] and later[0] not in first
    assert lexicon.rows(first).tolist() == [1, 1, 0, 1]


def test_words_of_ids():
    lexicon = Lexicon(["the"], "th")
    [[[the], [unseen]], [[again]]] = lexicon.pieces_batch([["the", "unseen"], ["the"]])
    assert lexicon.pieces_as_text([unseen, the, again]) == ["unseen", "the", "the"]


def test_every_distinct_word_is_spelled_once():
    lexicon = Lexicon([], "abc")
    spelled = lexicon.spell(ids_of(lexicon, ["cab", "ax", "cab", "", "öb", "ax"]))
    assert spelled.chars.tolist() == [3, 1, 2, 1, 0, 0, 2]             # x and ö are no letters of this alphabet
    assert spelled.starts.tolist() == [0, 3, 5, 5, 7] and spelled.word_of.tolist() == [0, 1, 0, 2, 3, 1]
    assert {field.dtype for field in spelled} == {np.dtype(np.int64)}
    nothing = lexicon.spell(np.zeros(0, np.int64))
    assert nothing.starts.tolist() == [0] and len(nothing.chars) == len(nothing.word_of) == 0


def test_singletons_are_rows_that_training_text_looks_up_once():
    assert [Lexicon.from_sentences(TEXT).vocabulary[row - 1] for row in Lexicon.from_sentences(TEXT).singletons] \
        == ["1995", "Cab", "The", "in"]
    vectors = Lexicon.for_vectors({"en": ["the", "cab", "0000", "elephant", "in"]}, "abc", {"en": TEXT})
    assert vectors.vocabulary == ("the", "cab", "0000", "elephant", "in")
    assert vectors.singletons.tolist() == [3, 5]                       # The and Cab are further uses of the and cab
    assert vectors.is_singleton(np.array([3, 0, 3, 1])).tolist() == [True, False, True, False]
    assert len(Lexicon.for_vectors({"en": ["the"]}, "abc").singletons) == 0
    assert len(Lexicon.for_vectors({"en": ["cab"]}, "abc", {"en": [["dog"]]}).singletons) == 0   # unknown words are none


def test_a_text_looks_its_words_up_in_its_own_language_first(tmp_path):
    """Then in all languages, where the first with the word counts; text of another language knows only these."""
    text = {"en": [["die", "now", "now"]], "de": [["Die", "die", "Stadt"]]}
    lexicon = Lexicon.for_vectors({"en": ["die", "now", "stadt"], "de": ["die", "stadt"]}, "abc", text)
    lexicon.save(tmp_path)
    for reader in (lexicon, Lexicon.load(tmp_path)):
        found = {language: reader.rows(ids_of(reader.for_language(language), ["die", "Die", "Stadt", "now", "x"])).tolist()
                 for language in ("en", "de", "nl", "")}
        assert found == {"en": [1, 1, 3, 2, 0], "de": [4, 4, 5, 2, 0], "nl": [1, 1, 3, 2, 0], "": [1, 1, 3, 2, 0]}
        assert reader.singletons.tolist() == [1, 5]
    assert lexicon.for_language("de").coverage([["Die", "now", "x"]]) == Coverage(exact=1, lower=1, digits=0, unknown=1)
    ids = ids_of(lexicon.for_language("de"), ["die"]), ids_of(lexicon.for_language("en"), ["die"])
    np.testing.assert_array_equal(*(lexicon.spell(one).chars for one in ids))
    assert ids[0] != ids[1]


def test_it_is_a_tokenizer_without_special_pieces():
    lexicon = Lexicon.from_sentences(TEXT)
    assert lexicon.cls_id is None and lexicon.sep_id is None
    sentences = [Sentence(tuple(words), ("O",) * len(words), 1) for words in TEXT]
    batch = pack(encode_sentences(sentences, lexicon, {"O": 0}, max_length=8).examples)
    assert batch.rows.tolist() == list(range(10)) and batch.starts.tolist() == [0, 5, 10]
    assert lexicon.rows(batch.input_ids).tolist() == [lexicon.vocabulary.index(word) + 1 for words in TEXT for word in words]
    with pytest.raises(UserError, match="expected transformer to classify texts, found bilstm-crf"):
        lexicon.encode_texts(["The cab."])


def test_saved_and_loaded(tmp_path):
    lexicon = Lexicon.from_sentences([["Ärger", "日本", "\u2028", "Ärger"]])
    ids_of(lexicon, ["not", "stored"])
    lexicon.save(tmp_path)
    loaded = Lexicon.load(tmp_path)
    assert (loaded.vocabulary, loaded.alphabet) == (lexicon.vocabulary, lexicon.alphabet)
    np.testing.assert_array_equal(loaded.singletons, lexicon.singletons)
    ids = ids_of(loaded, ["unseen", "Ärger", "gÄ日"])                   # unseen words are spelled as well as they can be
    assert loaded.rows(ids).tolist() == [0, lexicon.vocabulary.index("Ärger") + 1, 0]
    number = {char: i for i, char in enumerate(lexicon.alphabet, 1)}
    assert loaded.spell(ids[2:]).chars.tolist() == [number["g"], number["Ä"], number["日"]]
    assert loaded.spell(ids[:1]).chars.tolist() == [0, 0, 0, number["e"], number["e"], 0]
    assert [path.name for path in tmp_path.iterdir()] == ["lexicon.json"]


GOOD = {"version": 1, "vocabulary": ["a", "b"], "alphabet": ["a"], "singletons": [1]}
DAMAGED = {
    "no JSON": ("{", "not valid JSON: "),
    "not UTF-8": (b"\xff\xfe{}", "not valid JSON: "),
    "list": ("[1]", "expected a JSON object {...}, found '[1]'"),
    "version": (GOOD | {"version": 2}, "version: expected 1, found 2"),
    "no vocabulary": ({"version": 1, "alphabet": [], "singletons": []}, "vocabulary: expected a list of words, found 'None'"),
    "number": (GOOD | {"vocabulary": ["a", 7]}, "vocabulary: expected a list of words, found"),
    "text": (GOOD | {"alphabet": "abc"}, "alphabet: expected a list of characters, found 'abc'"),
    "boolean": (GOOD | {"singletons": [True]}, "singletons: expected a list of rows, found"),
    "twice": (GOOD | {"vocabulary": ["a", "a"]}, "vocabulary: expected distinct entries, got 'a' more than once"),
    "not one character": (GOOD | {"alphabet": ["ab"]}, "alphabet: expected single characters, got 'ab'"),
    "empty character": (GOOD | {"alphabet": ["a", ""]}, "alphabet: expected single characters, got ''"),
    "sizes": (GOOD | {"languages": {"en": 1, "es": 2}}, "languages: expected sizes that add up to 2 words, got 3"),
    "no sizes": (GOOD | {"languages": {"en": "2"}}, "languages: expected the number of words of each language, found"),
    "twice in a language": (GOOD | {"vocabulary": ["a", "a"], "languages": {"en": 2}}, "vocabulary: expected distinct entries"),
    "no row": (GOOD | {"singletons": [1, 3]}, "singletons: expected rows from 1 to 2, got 1 to 3"),
    "unknown row": (GOOD | {"singletons": [0]}, "singletons: expected rows from 1 to 2, got 0 to 0"),
}


@pytest.mark.parametrize("content, text", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files(tmp_path, content, text):
    content = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (tmp_path / "lexicon.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        Lexicon.load(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'lexicon.json'}: {text}") and "\n" not in str(error.value)


def test_a_missing_file_and_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="lexicon.json: expected the lexicon of a bilstm-crf model, found none"):
        Lexicon.load(tmp_path)
    (tmp_path / "lexicon.json").mkdir()
    with pytest.raises(UserError, match="lexicon.json: cannot be read"):
        Lexicon.load(tmp_path)
