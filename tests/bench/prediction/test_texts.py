"""Texts of three lengths, in batches sorted by length."""
import pytest

from minixl.bench.prediction import texts
from minixl.bench.training.work import pieces
from minixl.errors import UserError
from tests.data.piece_tokenizer import LetterTokenizer

SENTENCES = [["ab"] * n for n in (3, 20, 1, 40, 200, 50, 2, 7)]


def words_of(length: str, count: int = 10**6, most: int = 10**6) -> list[int]:
    batches = texts.texts_of(SENTENCES, length, LetterTokenizer(), most, count)
    return [len(example.rows) for batch in batches for example in batch]


def test_lengths():
    assert words_of("posts") == [1, 2, 3, 7, 12, 12, 12, 12]
    assert words_of("sentences") == [1, 2, 3, 7, 20, 40, 50, 200]
    assert words_of("documents") == [59, 41, 223]     # 264 words in two windows of 512 pieces
    assert set(texts.CUT) == set(texts.LENGTHS)


def test_a_document_ends_after_about_240_words():
    assert [len(words) for words in texts._documents(SENTENCES)] == [264, 59]


def test_the_first_texts_are_taken_until_there_are_enough_pieces():
    found = texts.texts_of(SENTENCES, "posts", LetterTokenizer(), 10**6, 30)
    assert [len(e.rows) for batch in found for e in batch] == [3, 12] and sum(map(pieces, found)) == 34
    assert words_of("posts", count=1) == [3]


def test_long_texts_are_cut_into_windows():
    for batch in texts.texts_of(SENTENCES, "documents", LetterTokenizer(), 100, 10**6):
        assert all(len(example.input_ids) <= 100 for example in batch)


def test_no_text():
    with pytest.raises(UserError, match="^--source: expected sentences, found none$"):
        texts.texts_of([], "documents", LetterTokenizer(), 100, 10)
