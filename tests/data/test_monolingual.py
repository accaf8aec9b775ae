"""Raw text for a language model: words, vocabulary, numbers on disk, buckets, and a stream that continues exactly."""
import gzip
from collections import Counter

import numpy as np
import pytest

from minixl.data.monolingual import (Sentences, SentenceStream, Text, count_words, encode_text, held_out, is_encoded, most_frequent,
                                     open_encoded, pack_sentences, remove_encoded)
from minixl.errors import UserError

LINES = ["The cat sat.", "", "Too short", "the CAT ran , ran", "A dog", "a dog isn't the cat", " ".join(["long"] * 12)]


def text_of(path, *more, **changed) -> Text:
    return Text(**{"language": "en", "paths": (path, *more), "encoding": "utf-8", "tokenised": False, "shortest": 3, "longest": 10,
                   **changed})


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "en.txt"
    file.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return file


def test_words_and_vocabulary(path):
    counts = count_words(text_of(path))
    assert counts == Counter(the=3, cat=3, ran=2, sat=1, a=1, dog=1) + Counter({".": 1, ",": 1, "isn't": 1})
    assert most_frequent(counts, 7) == ["cat", "the", "ran", ",", "."]
    assert count_words(text_of(path, tokenised=True))["sat."] == 1


def test_numbers_on_disk_and_what_is_left_out(path, tmp_path):
    zipped = tmp_path / "more.txt.gz"
    with gzip.open(zipped, "wt", encoding="utf-8") as file:
        file.write("the cat ran again\n")
    text = text_of(path, zipped)
    assert not is_encoded("en", tmp_path)
    count = encode_text(text, ["cat", "the", "ran"], tmp_path)
    assert count == (4, 18, 7, 2, 1)
    assert count.line(text, 5).endswith("4 sentences, 18 words, vocabulary of 5 words, 38.9 % unknown; 2 lines of fewer than 3 "
                                        "words left out, 1 line of more than 10 words left out")
    assert is_encoded("en", tmp_path)
    words, starts = open_encoded("en", tmp_path)
    assert starts.tolist() == [0, 4, 9, 14, 18]
    assert words.tolist() == [3, 2, 1, 1, 3, 2, 4, 1, 4, 1, 1, 1, 3, 2, 3, 2, 4, 1]
    remove_encoded("en", tmp_path)
    assert not is_encoded("en", tmp_path)


def test_a_limit_counts_the_sentences_that_fit(path, tmp_path):
    text = text_of(path, limit=2)
    assert count_words(text) == Counter({"the": 2, "cat": 2, "ran": 2, "sat": 1, ".": 1, ",": 1})
    assert encode_text(text, ["the"], tmp_path).sentences == 2


def test_many_words_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("minixl.data.monolingual.FLUSH", 4)
    file = tmp_path / "en.txt"
    file.write_text("a b c\n" * 50, encoding="utf-8")
    encode_text(text_of(file), ["a", "b", "c"], tmp_path)
    assert open_encoded("en", tmp_path).words.tolist() == [2, 3, 4] * 50


@pytest.mark.parametrize("content, message", [
    ("", "expected lines of 3 to 10 words, found none; is this raw text, one sentence a line"),
    ("this one fits\ntwo words", "expected lines of 3 to 10 words, found only one; is this raw text"),
    ("two words\n\n" + "many " * 11, "expected lines of 3 to 10 words, found none"),
    ("no No nO\nNO no no\n", "expected at least 2 different words, found only 'no'; give real text")])
def test_text_without_a_usable_line_or_a_second_word(tmp_path, content, message):
    file = tmp_path / "es.txt"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"^--unlabelled es={file}: {message}"):
        count_words(text_of(file, language="es"))


def make_stream(tmp_path, lengths, **options) -> SentenceStream:
    file = tmp_path / "en.txt"
    file.write_text("".join(" ".join([f"w{i}"] * length) + "\n" for i, length in enumerate(lengths)), encoding="utf-8")
    encode_text(text_of(file, longest=200), [f"w{i}" for i in range(len(lengths))], tmp_path)
    return SentenceStream(open_encoded("en", tmp_path), **{"tokens": 60, "held": 4, "seed": [1, 2], **options})


def sentences_of(batch: Sentences) -> list[int]:
    """The number of each sentence, which is that of its word."""
    return [int(batch.ids[start]) - 2 for start in batch.starts[:-1]]


LENGTHS = [3, 5, 9, 10, 11, 19, 20, 21, 150, 4, 8, 15, 25, 7, 33, 12, 3, 6, 9, 10, *[7] * 30]


def test_every_sentence_once_an_epoch_in_buckets(tmp_path):
    stream = make_stream(tmp_path, LENGTHS)
    assert len(stream.held_out) == 4
    epochs = []
    for _ in range(2):
        batches = [next(stream) for _ in range(stream.batches_per_epoch)]
        for batch in batches:
            lengths = np.diff(batch.starts)
            assert (np.diff(lengths) >= 0).all() and len(set((lengths - 1) // 10)) == 1
            assert batch.tokens <= 60 or len(lengths) == 1
            assert len(lengths) <= max(1, 60 // (10 * ((int(lengths[0]) - 1) // 10 + 1)))
            for number, length in zip(sentences_of(batch), lengths, strict=True):
                assert length == LENGTHS[number]
        epochs.append([number for batch in batches for number in sentences_of(batch)])
    expected = sorted(set(range(len(LENGTHS))) - set(stream.held_out.tolist()))
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected and epochs[0] != epochs[1]


def test_the_held_out_sentences(tmp_path):
    stream = make_stream(tmp_path, LENGTHS)
    assert sorted(number for batch in stream.dev_batches() for number in sentences_of(batch)) == stream.held_out.tolist()
    assert held_out(1000, 3).tolist() == [249, 499, 749] and held_out(5, 100).tolist() == [2] and not len(held_out(1, 100))


def test_the_state_continues_exactly(tmp_path):
    stream = make_stream(tmp_path, LENGTHS)
    for _ in range(stream.batches_per_epoch + 3):                      # in the second epoch
        next(stream)
    state = stream.state_dict()
    expected = [sentences_of(next(stream)) for _ in range(30)]
    fresh = make_stream(tmp_path, LENGTHS)
    fresh.load_state_dict(state)
    assert [sentences_of(next(fresh)) for _ in range(30)] == expected
    assert [sentences_of(next(make_stream(tmp_path, LENGTHS, seed=[2, 2]))) for _ in range(1)] != expected[:1]
    other = make_stream(tmp_path, LENGTHS[:-1])
    with pytest.raises(ValueError, match="^the checkpoint was made with 46 training sentences, but now there are 45$"):
        other.load_state_dict(state)


def test_sentences_are_packed_shortest_first(tmp_path):
    make_stream(tmp_path, [5, 3, 4])
    batch = pack_sentences(open_encoded("en", tmp_path), np.array([0, 2, 1]))
    assert batch.starts.tolist() == [0, 3, 7, 12] and batch.ids.tolist() == [3] * 3 + [4] * 4 + [2] * 5
    assert batch.ids.dtype == np.int64 and batch.tokens == 12
