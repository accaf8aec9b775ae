"""Dictionary files, words without vectors, words that two languages share."""
import re

import numpy as np
import pytest

from minixl.alignment.dictionaries import read_dictionary, shared_words
from minixl.errors import UserError
from minixl.weights.word_vectors import WordVectors


def vectors(words, path="x.vec"):
    return WordVectors(words.split(), np.zeros((len(words.split()), 2), np.float32), path)


@pytest.fixture
def write(tmp_path):
    def write_file(text):
        path = tmp_path / "d.txt"
        path.write_text(text, encoding="utf-8")
        return path
    return write_file


def test_entries_with_vectors_are_kept(write):
    path = write("cat gato\ncat\tgata\n\ndog perro\nCat gato\nbird pajaro\n")
    dictionary = read_dictionary(path, vectors("cat bird dog"), vectors("perro gato gata"))
    assert dictionary.rows.tolist() == [[0, 1], [0, 2], [2, 0]], "a repeated pair counts once; Cat is looked up as cat"
    assert (dictionary.sources, dictionary.known) == (4, 3)


@pytest.mark.parametrize("text, message", [
    ("", "expected lines with a source word and its translation, found an empty file"),
    ("\n \n", "expected lines with a source word and its translation, found an empty file"),
    ("cat gato\nthe big cat\n", ":2: expected a source word and its translation, separated by a space or tab, found 'the big cat'"),
    ("gato cat\nperro dog\n", "none of its 2 source words has an entry with vectors for both words"),
])
def test_bad_dictionaries_are_named(write, text, message):
    path = write(text)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}.*{re.escape(message)}"):
        read_dictionary(path, vectors("cat dog"), vectors("gato perro"))


def test_words_that_two_languages_share():
    source, target = vectors("the 1999 taxi 3.5 2nd"), vectors("taxi el 3.5 2nd 1999")
    assert shared_words(source, target, "all").tolist() == [[1, 4], [2, 0], [3, 2], [4, 3]]
    assert shared_words(source, target, "numerals").tolist() == [[1, 4], [3, 2]]


def test_no_shared_words_is_an_error():
    with pytest.raises(UserError, match="--method identical: a.vec and b.vec have no numerals in common; try --method similarity"):
        shared_words(vectors("a b 1", "a.vec"), vectors("a b 2", "b.vec"), "numerals")
