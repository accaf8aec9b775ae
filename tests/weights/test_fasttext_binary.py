"""fastText .bin files, written here value by value as the format says, against n-gram lookup by string slices.

That the two agree with fastText itself was checked with models that fasttext 0.9.2 trained (n-grams of 3 to 6 and 1 to 2
characters, none, and a supervised model): every vector, of known and unknown words, to 2e-9.
"""
import gzip
import mmap
import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minixl.errors import UserError
from minixl.weights.fasttext_binary import FasttextFile, ngram_hashes
from minixl.weights.word_vectors import read_vectors

WORDS = ["</s>", "Madrid", "niño", "北海道", "a", "команда", "😀", "1999"]
UNKNOWN = ["Madrileño", "札幌", "é", "😀😀", "</s", "x" * 30, "ß<>", "\u00a0"]

# What fastText's own hash gives, as recorded in the tests of gensim (gensim/test/test_fasttext.py, class HashTest).
PUBLISHED = {"команда": 1725507386, "маленьких": 3011324125, "mysterious": 1903186891, "asteroid": 1988297200,
             "北海道": 4096045468, "札幌": 3909947444, "西区": 3653372632}
# The FNV-1a test vectors (draft-eastlake-fnv): fastText's hash is the same for ASCII.
FNV = {"a": 0xE40C292C, "foobar": 0xBF9CF968}


def fasttext_hash(text):
    """With C's types: unsigned 32-bit arithmetic, and the byte as int8 before it is widened."""
    value = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in np.frombuffer(text.encode(), np.int8):
            value = (value ^ byte.astype(np.uint32)) * np.uint32(16777619)
    return int(value)


def expected_ngrams(word, minn, maxn):
    text = f"<{word}>"
    return [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)
            if minn <= j - i <= maxn and (i, j) not in ((0, 1), (len(text) - 1, len(text)))]


def model(words=WORDS, labels=(), *, dim=3, bucket=11, minn=3, maxn=6, model=2, version=12, magic=793712314, pruned=None,
          quantised=0, rows=None, columns=None, matrix=None, entries=None, kind=0):
    """The bytes of a model and its matrix; each argument can hold a wrong value."""
    known = len(words) + (len(pruned) if pruned is not None else bucket if maxn > 0 else 0)
    if matrix is None:
        matrix = np.random.default_rng(5).normal(size=(known, dim)).astype("<f4")
    content = struct.pack("<2i", magic, version)
    content += struct.pack("<12id", dim, 5, 5, 1, 5, 1, 2, model, bucket, minn, maxn, 100, 1e-4)
    content += struct.pack("<3iqq", len(words) + len(labels) if entries is None else entries, len(words), len(labels), 1000,
                           -1 if pruned is None else len(pruned))
    for words_or_labels, type in ((words, kind), (labels, 1)):
        for word in words_or_labels:
            content += (word if isinstance(word, bytes) else word.encode()) + b"\0" + struct.pack("<qb", 10, type)
    for pair in pruned or []:
        content += struct.pack("<2i", *pair)
    content += struct.pack("<B2q", quantised, known if rows is None else rows, dim if columns is None else columns)
    return content + matrix.tobytes() + b"\0" + struct.pack("<2q", 1, dim) + bytes(4 * dim), matrix


@pytest.fixture
def write(tmp_path):
    def write_model(content, name="a.bin"):
        path = tmp_path / name
        path.write_bytes(content)
        return path
    return write_model


def test_the_hash_is_the_published_one():
    for text, value in (FNV | PUBLISHED).items():
        assert fasttext_hash(text) == value, text
        length = len(text)                                 # of the n-grams of <text>, the only one that is the text itself:
        hashes = ngram_hashes(text.encode(), length, length)                   # the second of length, "<..." is the first
        assert hashes[1 if length > 1 else 0] == value, text


@pytest.mark.parametrize("minn, maxn", [(3, 6), (1, 2), (2, 3), (0, 4), (5, 5), (3, 100), (4, 3), (0, 0)])
def test_ngrams(minn, maxn):
    for word in [*WORDS, *UNKNOWN, ""]:
        expected = [fasttext_hash(ngram) for ngram in expected_ngrams(word, minn, maxn)]
        assert ngram_hashes(word.encode(), minn, maxn) == expected, word


def expected_vector(word, matrix, minn, maxn, bucket, kept=None):
    ids = [] if word == "</s>" else [fasttext_hash(ngram) % bucket for ngram in expected_ngrams(word, minn, maxn)]
    if kept is not None:
        ids = [kept[id] for id in ids if id in kept]
    rows = ([WORDS.index(word)] if word in WORDS else []) + [len(WORDS) + id for id in ids]
    return matrix[rows].astype(float).mean(axis=0) if rows else None


@pytest.mark.parametrize("minn, maxn, bucket", [(3, 6, 11), (1, 2, 97), (2, 5, 100_003), (0, 0, 7)])
def test_vectors_of_known_and_unknown_words(write, minn, maxn, bucket):
    content, matrix = model(minn=minn, maxn=maxn, bucket=bucket, labels=["__label__a"])
    vectors = read_vectors(write(content))
    assert vectors.words == WORDS and vectors.dim == 3 and vectors.matrix.dtype == np.float32
    for row, word in enumerate(WORDS):
        expected = expected_vector(word, matrix, minn, maxn, bucket)
        np.testing.assert_allclose(vectors.matrix[row], expected, rtol=1e-5, atol=1e-6, err_msg=word)
        np.testing.assert_array_equal(vectors.vector(word), vectors.matrix[row])
        assert vectors.find(word) == (row, "exact")
    for word in UNKNOWN:
        expected = expected_vector(word, matrix, minn, maxn, bucket)
        if expected is None:
            assert vectors.vector(word) is None and vectors.find(word) == (None, "unknown"), word
        else:
            np.testing.assert_allclose(vectors.vector(word), expected, rtol=1e-5, atol=1e-6, err_msg=word)
            assert vectors.find(word) == (None, "subwords"), word


def test_look_up_comes_before_subwords(write):
    vectors = read_vectors(write(model(["the", "0000"], bucket=7)[0]))
    found = [vectors.find(word) for word in ("The", "1984", "Thee", "")]
    assert found == [(0, "lower"), (1, "digits"), (None, "subwords"), (None, "unknown")]
    np.testing.assert_array_equal(vectors.vector("THE"), vectors.matrix[0])
    report = vectors.oov_report(["the", "The", "Thee", ""], "en")
    assert str(report) == ("vectors en: 75.0 % of 4 tokens found (exact 25.0, lower 25.0, digits 0.0, subwords 25.0), "
                           "25.0 % unknown; 75.0 % of 4 distinct words found")


def test_words_of_one_character_without_ngrams(write):
    vectors = read_vectors(write(model(minn=4, maxn=6)[0]))
    assert vectors.vector("é") is None                     # "<é>" has three characters


def test_a_surrogate_is_a_word_too(write):
    assert read_vectors(write(model()[0])).vector("\ud800abc").shape == (3,)


def test_the_first_words_keep_their_own_vectors(write):
    path = write(model(labels=["__label__a"])[0])
    every = read_vectors(path)
    for top in (3, 99):
        some = read_vectors(path, top=top)
        assert some.words == WORDS[:top]
        np.testing.assert_array_equal(some.matrix, every.matrix[:top])
        assert some.matrix.shape == (len(some), 3)
        np.testing.assert_array_equal(some.vector("Madrileño"), every.vector("Madrileño"))


def test_dtype(write):
    vectors = read_vectors(write(model()[0]))
    assert vectors.matrix.dtype == vectors.vector("Madrid").dtype == vectors.vector("unknown").dtype == np.float32


@pytest.mark.parametrize("kept", [{3: 0, 7: 1, 2: 2}, {}], ids=["some", "none"])
def test_a_pruned_model(write, kept):
    content, matrix = model(pruned=list(kept.items()))
    vectors = read_vectors(write(content))
    for word in [*WORDS, *UNKNOWN]:
        expected = expected_vector(word, matrix, 3, 6, 11, kept)
        if expected is None:
            assert vectors.vector(word) is None
        else:
            np.testing.assert_allclose(vectors.vector(word), expected, rtol=1e-5, atol=1e-6, err_msg=word)


def test_version_11_supervised_models_have_no_ngrams(write):
    assert read_vectors(write(model(version=11, model=3)[0])).vector("Madrileño") is None
    assert read_vectors(write(model(version=11, model=2)[0])).vector("Madrileño") is not None
    assert read_vectors(write(model(version=12, model=3)[0])).vector("Madrileño") is not None


def test_the_first_of_two_equal_words_counts(write):
    content, matrix = model(["de", "la", "de"], minn=0, maxn=0)
    vectors = read_vectors(write(content))
    assert vectors.words == ["de", "la"]
    np.testing.assert_array_equal(vectors.matrix, matrix[:2])


def test_undecodable_words_are_reported(write):
    reports = []
    path = write(model([b"\xff", "de", b"\xc3", "", "la", "de"])[0])
    assert read_vectors(path, report=reports.append).words == ["de", "la"]
    assert reports == [f"{path}: 2 words that are not UTF-8 were left out"]
    assert read_vectors(path, report=reports.append, top=2).words == ["de"] and "1 words" in reports[1]


def test_the_matrix_is_mapped_not_read(write):
    file = FasttextFile(write(model()[0]))
    base = file.matrix
    while not isinstance(base, mmap.mmap):                 # fails at the end of the chain, where there is nothing to ask
        base = base.obj if isinstance(base, memoryview) else base.base
    assert not file.matrix.flags.writeable and not file.matrix.flags.owndata


WRONG = {
    "version": (dict(version=13), "version: expected 11 or 12, found 13"),
    "dim": (dict(dim=0), "dim: expected at least 1, found 0"),
    "minn": (dict(minn=-1), "minn: expected at least 0, found -1"),
    "maxn": (dict(maxn=-1), "maxn: expected at least 0, found -1"),
    "bucket": (dict(bucket=0), "bucket: expected at least 1, found 0"),
    "entries": (dict(entries=9), "entries: expected 8 words and 0 labels, found 9"),
    "kind": (dict(kind=1), "type of entry 0 of the dictionary: expected 0, found 1"),
    "quantised": (dict(quantised=1), "expected a full fastText model, found a quantised one (.ftz); give the .bin it was made"),
    "columns": (dict(columns=4), "columns of the matrix: expected 3, found 4"),
    "rows": (dict(rows=18), "rows of the matrix: expected at least 8 words and 11 n-grams, found 18"),
    "many rows": (dict(rows=1 << 60), "truncated: expected"),
    "pruned row": (dict(pruned=[(1, 5)]), "rows of the matrix: expected at least 8 words and 6 n-grams, found 9"),
    "negative row": (dict(pruned=[(1, -1)]), "row of a pruned n-gram: expected at least 0, found -1"),
}


@pytest.mark.parametrize("lie, text", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line(write, lie, text):
    path = write(model(**lie)[0])
    with pytest.raises(UserError) as error:
        read_vectors(path)
    assert text in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_every_truncation_is_noticed(write):
    content, matrix = model(["de", "la"], pruned=[(1, 0)])
    ends = len(content) - 17 - 4 * matrix.shape[1]         # of the input matrix: the output matrix is not read
    assert read_vectors(write(content[:ends])).words == ["de", "la"]
    for length in range(ends):
        path = write(content[:length])
        with pytest.raises(UserError) as error:
            read_vectors(path)
        assert ("truncated" if length >= 4 else "which begins with the number") in str(error.value), length


def test_other_files(tmp_path, write):
    with pytest.raises(UserError, match="unpack it with gunzip"):
        read_vectors(write(gzip.compress(model()[0]), "a.bin.gz"))
    with pytest.raises(UserError, match="expected a file, found nothing"):
        read_vectors(tmp_path / "none.bin")
    for path in (tmp_path / "none.bin", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            FasttextFile(path)
    with pytest.raises(UserError, match="truncated: expected 8 bytes for the opening number"):
        FasttextFile(write(b""))
    with pytest.raises(UserError, match="opening number of a fastText model: expected 793712314, found 0"):
        FasttextFile(write(bytes(8)))


def test_a_vector_that_is_not_a_number(write):
    values = np.zeros((8 + 11, 3), "<f4")
    values[1, 2] = np.nan
    vectors = read_vectors(write(model(matrix=values)[0]))
    assert vectors.vector("niño") is not None
    for ask in (lambda: vectors.vector("Madrid"), lambda: vectors.matrix):
        with pytest.raises(UserError, match="the vector of 'Madrid': expected finite numbers, found NaN or infinity"):
            ask()


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 30), changes=st.integers(1, 8), pruned=st.booleans())
def test_damaged_bytes_give_vectors_or_a_user_error(tmp_path_factory, seed, changes, pruned):
    draw = random.Random(seed)
    content = bytearray(model(labels=["a"], pruned=[(1, 0), (4, 1)] if pruned else None)[0])
    for _ in range(changes):
        content[draw.randrange(4, len(content))] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(content)
    try:
        vectors = read_vectors(path, report=lambda message: None)
        assert vectors.matrix.shape == (len(vectors), vectors.dim)
        vectors.vector("Madrileño")
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error)
