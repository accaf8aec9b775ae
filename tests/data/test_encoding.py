"""Encoding as word pieces: labels on first pieces; windows lose nothing and score every word once."""
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minixl.data.corpus import encode_corpus, read_corpus, read_unlabelled
from minixl.data.encoding import IGNORED, Encoded, encode_documents, encode_sentences, scored_starts, word_windows
from minixl.data.examples import Document, Sentence
from minixl.data.lexicon import Lexicon
from minixl.errors import UserError
from tests.data.piece_tokenizer import LetterTokenizer

TAGS = {"O": 0, "B-X": 1, "I-X": 2}


def sentence(text: str, tags: str | None = None, line: int = 1) -> Sentence:
    return Sentence(tuple(text.split()), None if tags is None else tuple(tags.split()), line)


def read(example) -> str:
    """The example's pieces as letters, without [CLS] and [SEP]."""
    assert (example.input_ids[0], example.input_ids[-1]) == (1, 2)
    return "".join(map(chr, example.input_ids[1:-1]))


def test_scored_words_are_counted_over_all_windows():
    """Also of sentences without a word, and in a text without sentences."""
    texts = [sentence("a b"), sentence(""), sentence(" ".join("abcdefghijklmnopqrst")), sentence("a")]
    encoded = encode_sentences(texts, LetterTokenizer(), None, max_length=8)
    assert len(encoded.examples) > 6
    assert scored_starts(encoded).tolist() == [0, 2, 2, 22, 23] and scored_starts(Encoded([], 0)).tolist() == [0]


def test_labels_stand_on_first_pieces():
    encoded = encode_sentences([sentence("ab c def", "B-X I-X O"), sentence("x", "O", 5)], LetterTokenizer(), TAGS, max_length=8)
    first, second = encoded.examples
    assert (read(first), read(second)) == ("abcdef", "x")
    np.testing.assert_array_equal(first.rows, [1, 3, 4])
    np.testing.assert_array_equal(first.labels, [1, 2, 0])
    assert (first.source, second.source, first.first_word) == (0, 1, 0)
    assert (encoded.sources, encoded.words, encoded.pieces, encoded.long_inputs, encoded.cut_words) == (2, 4, 11, 0, 0)
    assert encoded.report("train") == "train: 2 inputs, 11 pieces"


@pytest.mark.parametrize("tags, ids", [(None, TAGS), ("O B-X", None)], ids=["no tags", "no label ids"])
def test_unknown_labels(tags, ids):
    encoded = encode_sentences([sentence("ab c", tags)], LetterTokenizer(), ids, max_length=8)
    np.testing.assert_array_equal(encoded.examples[0].labels, [IGNORED, IGNORED])


def test_exactly_as_long_as_the_limit():
    for text, windows in (("ab cdef", 1), ("ab cdefg", 2)):
        encoded = encode_sentences([sentence(text)], LetterTokenizer(), None, max_length=8)
        assert (len(encoded.examples), encoded.long_inputs) == (windows, windows - 1)
    assert encoded.report("test") == "test: 1 input, 11 pieces, 1 longer than the limit, split into windows, nothing cut"


@settings(deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=40), room=st.integers(12, 30))
def test_windows_score_every_word_once_and_fit(lengths, room):
    windows = word_windows(lengths, room)
    scored = [word for _, _, first, last in windows for word in range(first, last)]
    assert scored == list(range(len(lengths)))
    for first, last, scored_first, scored_last in windows:
        assert first <= scored_first < scored_last <= last and sum(lengths[first:last]) <= room
    for before, after in zip(windows, windows[1:], strict=False):
        assert before[0] < after[0] <= before[1] < after[1], "each begins where the one before still reads, and reads further"


@pytest.mark.parametrize("room, count", [(16, 100), (126, 1000)])
def test_every_word_is_scored_where_it_has_the_most_context(room, count):
    windows = word_windows([1] * count, room)

    def context(word: int, window) -> int:
        """Words to the nearer end of the window, where the ends of the sentence do not count."""
        first, last = window[:2]
        return min(word - first if first else count, last - 1 - word if last < count else count)

    for window in windows:
        for word in range(window[2], window[3]):
            best = max(context(word, other) for other in windows if other[0] <= word < other[1])
            assert context(word, window) >= best - 1, "halves of an odd overlap differ by one"
            assert context(word, window) >= room // 8 - 1


@settings(deadline=None, derandomize=True)
@given(words=st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=30))
def test_windows_of_a_sentence_join_to_all_its_labels(words):
    labels = {"O": 0, "B": 1, "C": 2}
    tags = tuple({"a": "O", "b": "B", "c": "C"}[word[0]] for word in words)
    encoded = encode_sentences([Sentence(tuple(words), tags, 1)], LetterTokenizer(), labels, max_length=10)
    assert [label for e in encoded.examples for label in e.labels] == [labels[tag] for tag in tags]
    assert [chr(e.input_ids[row]) for e in encoded.examples for row in e.rows] == [word[0] for word in words]
    assert all(len(e.input_ids) <= 10 and e.source == 0 for e in encoded.examples)
    starts = np.cumsum([0, *(len(e.rows) for e in encoded.examples)])
    assert [e.first_word for e in encoded.examples] == starts[:-1].tolist()


def test_truncation_counts_what_it_cuts():
    encoded = encode_sentences([sentence("ab cd ef gh", "O B-X O I-X"), sentence("a", "O")], LetterTokenizer(), TAGS, max_length=9,
                               on_long="truncate")
    assert [read(e) for e in encoded.examples] == ["abcdef", "a"]
    np.testing.assert_array_equal(encoded.examples[0].labels, [0, 1, 0])
    assert encoded.report("dev") == "dev: 2 inputs, 11 pieces, 1 longer than the limit, 1 word cut"


def test_a_word_longer_than_a_window_is_cut_and_keeps_its_label():
    encoded = encode_sentences([sentence("a bbbbbbbbbb c", "O B-X O")], LetterTokenizer(), TAGS, max_length=8)
    assert [read(e) for e in encoded.examples] == ["a", "bbbbbb", "c"]
    assert [e.labels.tolist() for e in encoded.examples] == [[0], [1], [0]]
    assert encoded.report("dev") == "dev: 1 input, 14 pieces, 1 longer than the limit, split into windows, 4 word pieces cut"


def test_words_too_long_for_a_window_are_counted_where_sentences_are_truncated():
    """Counts the pieces of the words that are kept; the report does not mention windows."""
    rows = [sentence("bbbbbbb"), sentence("bbbbbbbbb c bbbbbbbbbb"), sentence("abc")]
    encoded = encode_sentences(rows, LetterTokenizer(), None, max_length=8, on_long="truncate")
    assert [read(e) for e in encoded.examples] == ["bbbbbb", "bbbbbb", "abc"]
    assert (encoded.long_inputs, encoded.cut_words, encoded.cut_pieces) == (2, 2, 1 + 3)
    assert encoded.report("dev") == "dev: 3 inputs, 21 pieces, 2 longer than the limit, 2 words and 4 word pieces cut"
    alone = encode_sentences(rows[:1], LetterTokenizer(), None, max_length=8, on_long="truncate")
    assert alone.report("dev") == "dev: 1 input, 8 pieces, 1 longer than the limit, 1 word piece cut"


@pytest.mark.parametrize(("scheme", "tags", "ending"), [
    ("auto", "B-PER I-PER O", ""), ("auto", "B-PER O I-PER", ", 1 tag violates IOB2 and was repaired"),
    ("auto", "B-PER O I-LOC I-PER", ", 2 tags violate IOB2 and were repaired"),
    ("IOBES", "I-PER S-LOC O", ", 2 tags violate IOBES and were repaired")])
def test_repaired_tags_are_reported(tmp_path, scheme, tags, ending):
    """Counts those of the full file, even if only part of it is used; none if the tags are not read."""
    path = tmp_path / "es.txt"
    path.write_text("x B-PER\n\n" + "".join(f"w {tag}\n" for tag in tags.split()))
    corpus, text = read_corpus("ner", "es", path, scheme=scheme), read_unlabelled("ner", "es", path)
    for read_as, end in ((corpus, ending), (corpus.limited(1), ending), (text, "")):
        labels = None if read_as is text else ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
        encoded = encode_corpus(read_as, LetterTokenizer(), labels, max_length=30, on_long="window")
        assert encoded.report("es").endswith(f" pieces{end}")


def test_figures_of_several_files_add_up():
    options = {"max_length": 9, "on_long": "truncate"}
    rows = [sentence("ab cd ef gh"), sentence("bbbbbbbbb"), sentence("a")]
    total = Encoded([], 0, on_long="truncate")
    for row in rows:
        total.add_counts(encode_sentences([row], LetterTokenizer(), None, **options))
    together = encode_sentences(rows, LetterTokenizer(), None, **options)
    assert replace(together, examples=[]) == total and together.cut_words and together.cut_pieces
    lexicon = Lexicon(["a"], ["a"])
    for _ in range(2):
        total.add_counts(encode_sentences([sentence("a b")], lexicon, None, **options))
    assert total.unknown_words == 2


def test_one_word_longer_than_a_window_is_long():
    """Even if it is the only word: it is counted, and an error with on_long="error"."""
    word = sentence("bbbbbbbbbb", "B-X")
    encoded = encode_sentences([word], LetterTokenizer(), TAGS, max_length=8)
    assert [read(e) for e in encoded.examples] == ["bbbbbb"] and encoded.long_inputs == 1
    with pytest.raises(UserError, match="has 12 word pieces, but data.max_length is 8"):
        encode_sentences([word], LetterTokenizer(), TAGS, max_length=8, on_long="error")


@pytest.mark.parametrize("encode, item", [(encode_sentences, sentence("abc def gh", line=7)),
                                          (encode_documents, Document("abc def gh", None, 7))], ids=["sentence", "text"])
def test_long_inputs_as_an_error(encode, item):
    what = "sentence" if isinstance(item, Sentence) else "text"
    with pytest.raises(UserError) as error:
        encode([item], LetterTokenizer(), None, max_length=9, on_long="error", path="some.txt")
    assert str(error.value) == (f"some.txt:7: the {what} has 10 word pieces, but data.max_length is 9; "
                                f"split it into windows with --set data.on_long=window")


@pytest.mark.parametrize("encode", [encode_sentences, encode_documents])
def test_impossible_settings(encode):
    with pytest.raises(UserError, match="^data.on_long: expected one of window, truncate, error, got 'cut'$"):
        encode([], LetterTokenizer(), None, max_length=9, on_long="cut")
    with pytest.raises(UserError, match="^data.max_length: expected at least 8 word pieces, got 7$"):
        encode([], LetterTokenizer(), None, max_length=7)


def test_documents():
    documents = [Document("ab cd", "x", 1), Document("", "y", 2), Document("ef", None, 3)]
    encoded = encode_documents(documents, LetterTokenizer(), {"x": 0, "y": 1}, max_length=8)
    assert [read(e) for e in encoded.examples] == ["abcd", "", "ef"]
    assert [e.labels.tolist() for e in encoded.examples] == [[0], [1], [IGNORED]]
    assert all(not len(e.rows) for e in encoded.examples) and encoded.words == 3


def test_a_long_document_is_cut_before_words():
    document = Document("abc defg hij kl mnopqr", "x", 1)
    encoded = encode_documents([document], LetterTokenizer(), {"x": 0}, max_length=10)
    assert [read(e) for e in encoded.examples] == ["abcdefg", "hijkl", "mnopqr"]
    assert [e.labels.tolist() for e in encoded.examples] == [[0]] * 3 and {e.source for e in encoded.examples} == {0}
    cut = encode_documents([document], LetterTokenizer(), {"x": 0}, max_length=10, on_long="truncate")
    assert [read(e) for e in cut.examples] == ["abcdefg"] and (cut.cut_words, cut.cut_pieces) == (0, 11)
    assert cut.report("dev").endswith("1 longer than the limit, 11 word pieces cut")


def test_a_long_document_without_spaces_is_cut_anywhere():
    encoded = encode_documents([Document("x" * 20, None, 1)], LetterTokenizer(), None, max_length=10)
    assert [len(read(e)) for e in encoded.examples] == [8, 8, 4]


@settings(deadline=None, derandomize=True)
@given(text=st.text("ab ", max_size=80), max_length=st.integers(8, 20))
def test_windows_of_a_document_hold_all_its_pieces(text, max_length):
    encoded = encode_documents([Document(text, None, 1)], LetterTokenizer(), None, max_length=max_length)
    assert "".join(map(read, encoded.examples)) == text.replace(" ", "")
    assert encoded.examples and max(len(e.input_ids) for e in encoded.examples) <= max_length
