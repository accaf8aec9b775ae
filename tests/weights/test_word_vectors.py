"""Word vectors as text: what is kept, reported and rejected, and how words are looked up."""
import gzip
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minixl.errors import UserError
from minixl.weights.word_vectors import OovReport, WordVectors, read_vectors, stream_vectors
from minixl.weights.word_vectors_text import FIRST_ROWS

FASTTEXT = "4 3\nthe 0.5 -1.25 3e-2 \nMadrid 1 2 3 \n0000 .5 +6. 7E1\n10\u00a0000 7 8 9\n"
GLOVE = "the 0.5 -1.25 0.03\n. . . 1 2 3\nname name@domain.com 4 5 6\n"


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="a.vec"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
    return write_file


def read(path, **options):
    """The vectors and the reports, without the path."""
    reports = []
    vectors = read_vectors(path, report=reports.append, **options)
    assert all(report.startswith(f"{path}:") and "\n" not in report for report in reports), reports
    return vectors, [report.removeprefix(f"{path}:") for report in reports]


def refused(path, **options):
    with pytest.raises(UserError) as error:
        read_vectors(path, report=lambda message: None, **options)
    message = str(error.value)
    assert "\n" not in message, message
    return message.replace(f"{path}:", "")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_with_a_header(write, packed):
    content = FASTTEXT.encode()
    vectors, reports = read(write(gzip.compress(content) if packed else content))
    assert vectors.words == ["the", "Madrid", "0000", "10\u00a0000"] and vectors.dim == 3 and not reports
    assert vectors.matrix.dtype == np.float32
    np.testing.assert_array_equal(
        vectors.matrix, np.array([[.5, -1.25, .03], [1, 2, 3], [.5, 6, 70], [7, 8, 9]], np.float32))


def test_a_file_without_a_header_and_words_with_spaces(write):
    vectors, reports = read(write(GLOVE))
    assert vectors.words == ["the", ". . .", "name name@domain.com"] and not reports
    np.testing.assert_array_equal(vectors.matrix, np.array([[.5, -1.25, .03], [1, 2, 3], [4, 5, 6]], np.float32))


def test_a_first_word_that_is_a_number_or_has_spaces(write):
    assert read(write("1999 0.5 2\n5 1 2\n"))[0].words == ["1999", "5"]
    assert read(write(". . 0.5 2\nde 1 2\n"))[0].words == [". .", "de"]


def test_byte_order_mark_carriage_returns_tabs_and_blank_lines(write):
    vectors, reports = read(write(b"\xef\xbb\xbf2 2\r\nde 1 2\r\n\r\nla\t3\t4 \r\n\r\n"))
    assert vectors.words == ["de", "la"] and not reports
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [3, 4]])


@pytest.mark.parametrize("space", ["\u00a0", "\u0085", "\u2028", "\u3000", "\u00a0a", "a\u00a0"], ids=ascii)
def test_unicode_spaces_belong_to_the_word(write, space):
    vectors, reports = read(write(f"2 2\n{space} 1 2\nde 3 4\n"))
    assert vectors.words == [space, "de"] and not reports
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [3, 4]])


def test_more_rows_than_are_allocated_at_first(write, rng):
    values = rng.normal(size=(3 * FIRST_ROWS + 5, 2)).astype(np.float32)
    lines = "".join(f"w{i} {a!r} {b!r}\n" for i, (a, b) in enumerate(values.tolist()))
    vectors, reports = read(write(f"{len(values)} 2\n{lines}"))
    assert vectors.words == [f"w{i}" for i in range(len(values))] and not reports
    np.testing.assert_array_equal(vectors.matrix, values)


def test_the_first_words_only(write):
    path = write(FASTTEXT + "the lines after these are not read")
    vectors, reports = read(path, top=2)
    assert vectors.words == ["the", "Madrid"] and vectors.matrix.shape == (2, 3) and not reports
    assert refused(path).startswith("6: expected 3 finite float32 numbers (as the header on line 1), found 'are' as number 1")
    assert "top" in refused(path, top=-1)


def test_only_what_is_kept_takes_memory(write):
    vectors, _ = read(write("2000 2\n" + "".join(f"w{i} 1 2\n" for i in range(2000))), top=1)
    assert vectors.matrix.base is None and vectors.matrix.nbytes == 8


def test_duplicates_are_reported_and_the_first_counts(write):
    vectors, reports = read(write("5 2\nde 1 2\nla 3 4\nde 5 6\nla 7 8\nel 9 9\n"))
    assert vectors.words == ["de", "la", "el"]
    np.testing.assert_array_equal(vectors.matrix, [[1, 2], [3, 4], [9, 9]])
    assert reports == ["4: a repeated word was left out; the first one counts (2 such lines)"]


def test_empty_and_undecodable_words_are_reported(write):
    vectors, reports = read(write(b"5 2\n 1 2\nde 3 4\n\xff\xfe 5 6\n  7 8\nsi\xc3 9 9\n"))
    assert vectors.words == ["de"]
    assert reports == ["2: a line without a word was left out (2 such lines)",
                       "4: a word that is not UTF-8 was left out (2 such lines)"]


@pytest.mark.parametrize("promised, hint", [(9, "; it may be truncated, download it again"), (1, "")])
def test_another_number_of_words_than_promised(write, promised, hint):
    vectors, reports = read(write(f"{promised} 2\nde 1 2\nla 3 4\n"))
    assert len(vectors) == 2
    assert reports == [f" the header promises {promised} words, but the file has 2{hint}"]


WRONG = {
    "short": ("2 3\nde 1 2 3\nla 1 2\n", "3: expected 3 numbers (as the header on line 1), found 2; the file is damaged"),
    "long": ("2 3\nde 1 2 3\nla 1 2 3 4\n", "3: expected 3 numbers (as the header on line 1), found 4; the file is damaged"),
    "header": ("2 4\nde 1 2 3\nla 1 2 3\n", "2: expected 4 numbers (as the header on line 1), found 3"),
    "no header": ("de 1 2 3\nla 1 2\n", "2: expected 3 numbers (as on line 1), found 2"),
    "no header, long": ("de 1 2 3\nla 1 2 3 4\n", "2: expected 3 numbers (as on line 1), found 4"),
    "word only": ("1 2\nde\n", "2: expected 2 numbers (as the header on line 1), found 0"),
    "text": ("1 2\nde 1 x\n", "2: expected 2 finite float32 numbers (as the header on line 1), found 'x' as number 2"),
    "gap": ("1 3\nde 1  3\n", "found '' as number 2"),
    "nan": ("1 2\nde nan 1\n", "found 'nan' as number 1"),
    "infinite": ("1 2\nde 1 -inf\n", "found '-inf' as number 2"),
    "too large": ("1 2\nde 1 1e39\n", "found '1e39' as number 2"),
    "underscore": ("1 2\nde 1_0 1\n", "found '1_0' as number 1"),
    "hexadecimal": ("1 2\nde 0x10 1\n", "found '0x10' as number 1"),
    "decimal comma": ("1 2\nde 0,5 1\n", "found '0,5' as number 1"),
    "empty": ("", "expected word vectors, found an empty file"),
    "blank": ("\n \n", "expected word vectors, found an empty file"),
    "header only": ("2,5 3\n".replace(",", ""), "expected 25 word vectors, found only a header"),
    "dimension 0": ("2 0\nde\n", "1: expected a header 'words dimension' or a word and its numbers, found '2 0'"),
    "no vectors": ("<!doctype html>\n<p>404\n", "1: expected a header 'words dimension'"),
    "git lfs": ("version https://git-lfs.github.com/spec/v1\nsize 3\n", "1: expected a header 'words dimension'"),
    "huge header": (f"{'9' * 5000} 3\nde 1 2 3\n", "2: expected 1 numbers (as on line 1), found 3"),
    "huge dimension": ("1 999999999999999\nde 1\n", "2: expected 999999999999999 numbers (as the header on line 1), found 1"),
    "zero byte": ("1 2\nde\0 1 2\n", "2: expected text, found a zero byte"),
}


@pytest.mark.parametrize("content, text", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_what_is_wrong_is_one_line(write, content, text, packed):
    message = refused(write(gzip.compress(content.encode()) if packed else content))
    assert message.strip().startswith(text) if text[0].isdigit() else text in message, message


def test_the_range_of_float32(write):
    assert "finite float32 numbers (as the header on line 1), found '1e39' as number 1" in refused(write("1 1\nde 1e39\n"))
    assert read(write("1 1\nde 1e38\n"))[0].matrix == np.float32(1e38)


def test_files_that_cannot_be_read(tmp_path, write):
    path = write(FASTTEXT, "es.vec")
    assert "did you mean es.vec?" in refused(tmp_path / "se.vec")
    assert "found a directory; give a file in it, such as" in refused(tmp_path)
    packed = gzip.compress(FASTTEXT.encode())
    assert "expected a complete gzip file, found a damaged one" in refused(write(packed[:-12], "cut.vec.gz"))
    assert "expected a complete gzip file, found a damaged one" in refused(write(packed[:9], "cut.vec.gz"))
    assert "expected a complete gzip file, found a damaged one" in refused(write(packed[:15] + b"??" + packed[17:], "a.gz"))
    assert "which begins with the number 793712314" in refused(write("2 2\nde 1 2\n", "GoogleNews.bin"))
    assert "which begins with the number 793712314" in refused(write("", "a.ftz"))
    assert read(path)[0].words                             # the readable one is


@pytest.fixture
def vectors():
    words = ["the", "The", "madrid", "mar-00", "ñu", "istanbul"]
    return WordVectors(words, np.arange(12, dtype=np.float32).reshape(6, 2), "a.vec")


@pytest.mark.parametrize("word, row, step", [
    ("The", 1, "exact"), ("THE", 0, "lower"), ("Madrid", 2, "lower"), ("madrid", 2, "exact"), ("MAR-12", 3, "digits"),
    ("mar-00", 3, "exact"), ("mar-٣٤", 3, "digits"), ("mar-1", None, "unknown"), ("ÑU", 4, "lower"), ("", None, "unknown")])
def test_look_up(vectors, word, row, step):
    assert vectors.find(word) == (row, step) and vectors.lookup(word) == row
    if row is None:
        assert vectors.vector(word) is None
    else:
        np.testing.assert_array_equal(vectors.vector(word), [2 * row, 2 * row + 1])


def test_an_exact_form_with_digits_comes_before_its_pattern():
    vectors = WordVectors(["0000", "1984"], np.eye(2))
    assert [vectors.find(word) for word in ("1984", "1985")] == [(1, "exact"), (0, "digits")]


def test_words_and_rows_must_agree():
    with pytest.raises(ValueError, match=r"expected shape \(1, D\).* got \(2, 2\)"):
        WordVectors(["a"], np.eye(2))
    with pytest.raises(ValueError, match="expected distinct words, got 1"):
        WordVectors(["a", "a"], np.eye(2))


def test_the_oov_report(vectors):
    text = ["the"] * 1200 + ["Madrid"] * 60 + ["mar-12"] * 10 + ["MAR-13"] * 10 + ["of"] * 20
    report = vectors.oov_report(text, "en")
    assert report == OovReport("en", {"exact": 1200, "lower": 60, "digits": 20, "unknown": 20},
                               {"exact": 1, "lower": 1, "digits": 2, "unknown": 1})
    assert str(report) == ("vectors en: 98.5 % of 1,300 tokens found (exact 92.3, lower 4.6, digits 1.5), 1.5 % unknown; "
                           "80.0 % of 5 distinct words found")
    assert vectors.oov_report(Counter(text), "en") == report == vectors.oov_report(iter(text), "en")
    assert str(vectors.oov_report([], "xx")) == "vectors xx: no words to look up"


def test_reports_go_to_stderr_by_default(write, capsys):
    path = write("3 1\nde 1\n")
    read_vectors(path)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"{path}: the header promises 3 words, but the file has 1") and err.count("\n") == 1


PIECES = st.sampled_from([b"2 2\n", b"de", b" ", b"\n", b"1", b"-.5", b"1e3", b"\xc2\xa0", b"\xff", b"\r", b"\t", b"_", b"nan",
                          b"9" * 30, b"1e999", b"."])


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join),
                         st.binary(max_size=60).map(gzip.compress), st.binary(max_size=60).map(lambda tail: b"\x1f\x8b" + tail)),
       name=st.sampled_from(["a.vec", "a.bin"]))
def test_any_bytes_give_vectors_or_a_user_error(tmp_path_factory, content, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        vectors, _ = read(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert vectors.matrix.shape == (len(vectors.words), vectors.dim) and np.isfinite(vectors.matrix).all()
        assert len(set(vectors.words)) == len(vectors)


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_stream_has_the_same_words_and_vectors(write, rows):
    path = write("6 2\na 1 2\nb 3 4\na 9 9\nc 5 6\nd 7 8\ne 9 10\n")
    reports = []
    blocks = list(stream_vectors(path, rows, report=reports.append))
    whole = read_vectors(path, report=lambda message: None)
    assert [word for words, _ in blocks for word in words] == whole.words == list("abcde")
    np.testing.assert_array_equal(np.concatenate([matrix for _, matrix in blocks]), whole.matrix)
    assert all(len(words) == len(matrix) <= rows for words, matrix in blocks)
    assert reports == []


def test_a_stream_reports_what_its_header_promises(write):
    reports = []
    list(stream_vectors(write("5 2\na 1 2\nb 3 4\n"), report=reports.append))
    assert len(reports) == 1 and "the header promises 5 words, but the file has 2" in reports[0]


def test_strict_reading_refuses_a_header_with_the_wrong_number_of_words(write):
    assert refused(write("5 2\na 1 2\nb 3 4\n"), strict=True).endswith(
        "the header promises 5 words, but the file has 2; it may be truncated, download it again")
    assert refused(write("1 2\na 1 2\nb 3 4\n"), strict=True).endswith("the header promises 1 words, but the file has 2")
    assert len(read(write("5 2\na 1 2\nb 3 4\n"), strict=True, top=1)[0]) == 1
