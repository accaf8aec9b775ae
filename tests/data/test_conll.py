"""Column files: layouts, comments, encodings, tag schemes, the text of every error, and adding a column."""
import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minixl.data.conll import add_column, check_labels, parse_conll, read_conll
from minixl.data.lines import raw_lines
from minixl.errors import UserError

TWO = "Die\tO\nStadt\tO\nKöln\tB-LOC\n\nAnna\tB-PER\nMaria\tI-PER\n"
WORDS = [("Die", "Stadt", "Köln"), ("Anna", "Maria")]
TAGS = [("O", "O", "B-LOC"), ("B-PER", "I-PER")]


@pytest.fixture
def write(tmp_path):
    """Writes text (or bytes) to a file and returns its path."""
    def write(content, name="corpus.txt"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name
    return write


def parse(text, **options):
    return parse_conll(text.split("\n"), "corpus.txt", **options)


def words_of(file):
    return [sentence.words for sentence in file.sentences]


def tags_of(file):
    return [sentence.tags for sentence in file.sentences]


def error_of(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("content", [
    TWO, "\ufeff" + TWO, TWO.replace("\n", "\r\n"), TWO.rstrip("\n"), "\n\n" + TWO.replace("\n\n", "\n \t\n\n"),
    TWO.replace("\t", " "), TWO.replace("\t", "   "),
    TWO.replace("\t", "\tNN\tI-NP\t"), TWO.replace("\t", " NN I-NP "),
    "-DOCSTART-\t-X-\tO\n\n" + TWO, "-DOCSTART- O\n" + TWO, TWO + "\n-DOCSTART-\n",
    "# sent_id = 1\n# text = Die\tStadt\tKöln\n" + TWO, ("# text = Die Stadt Köln\n" + TWO).replace("\t", " "),
    "# text =\tDie\n" + TWO.replace("\t", " "), gzip.compress(TWO.encode(), mtime=0),
], ids=["plain", "mark", "CRLF", "no last line feed", "blank lines", "a space", "spaces", "tab columns", "space columns",
        "docstart", "docstart without blank line", "docstart at the end", "comments", "comment among spaces",
        "comment with the only tab", "gzip"])
def test_reads_the_same_sentences(write, content):
    path = write(content)
    file = read_conll(path)
    assert (words_of(file), tags_of(file)) == (WORDS, TAGS)
    assert (file.scheme, file.file_scheme, file.repaired, file.path) == ("IOB2", "IOB2", 0, str(path))
    unlabelled = read_conll(path, tags=False)
    assert (words_of(unlabelled), tags_of(unlabelled), unlabelled.scheme) == (WORDS, [None, None], "none")


def test_word_i_stands_on_line_plus_i(write):
    content = "# c\n-DOCSTART-\tO\n\n\n" + TWO.replace("\n\n", "\n\n\n# id = 7\n# c\n")
    lines = content.split("\n")
    for sentence in read_conll(write(content)).sentences:
        for i, (word, tag) in enumerate(zip(sentence.words, sentence.tags)):
            assert lines[sentence.line + i - 1] == f"{word}\t{tag}"


@pytest.mark.parametrize("separator", ["\t", " "])
def test_the_word_hash_is_kept(separator):
    file = parse("# B-MISC\n1 O\n# O\n\n#tag O\n# c o m\n\n# c o m\na O".replace(" c o m", " O").replace(" ", separator))
    assert words_of(file) == [("#", "1", "#"), ("#tag", "#"), ("#", "a")]


def test_a_comment_within_a_sentence_is_not_one():
    assert "corpus.txt:2: expected 2 columns" in error_of(lambda: parse("a\tO\n# a comment\nb\tO"))


@pytest.mark.parametrize("word", ["10\xa0000", "a\u2003b", "x\u2028y", "z\x85", "\u3000"])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_unicode_spaces_belong_to_the_word(write, word, separator):
    assert words_of(read_conll(write(f"{word}{separator}O\nb{separator}O\n"))) == [(word, "b")]


def test_a_word_with_a_space_between_tabs():
    assert words_of(parse("New York\tB-LOC\nis \t O ")) == [("New York", "is")]
    assert tags_of(parse("New York\tB-LOC\nis \t O ")) == [("B-LOC", "O")]


def test_further_columns_and_encodings(write):
    file = read_conll(write("Köln NNP x B-LOC\nist V x O\n".encode("latin-1")), encoding="latin-1")
    assert (words_of(file), tags_of(file)) == ([("Köln", "ist")], [("B-LOC", "O")])


def test_words_alone():
    assert words_of(parse("Die\nStadt\n\n# comment or not\nAnna", tags=False)) == [("Die", "Stadt"), ("Anna",)]


def test_tags_that_are_not_read_may_be_missing():
    assert words_of(parse("Die\tO\nStadt\nin\tx\ty", tags=False)) == [("Die", "Stadt", "in")]


@pytest.mark.parametrize("tags, file_scheme, repaired", [
    ("I-PER I-PER B-PER O I-LOC", "IOB1", 0), ("B-PER E-PER S-PER O S-LOC", "IOBES", 0),
    ("B-PER L-PER U-PER O U-LOC", "BIOUL", 0), ("B-PER I-PER B-PER O I-LOC", "IOB2", 1),
])
def test_span_tags_become_iob2(tags, file_scheme, repaired):
    file = parse("\n".join(f"w {tag}" for tag in tags.split()))
    assert tags_of(file) == [("B-PER", "I-PER", "B-PER", "O", "B-LOC")]
    assert (file.scheme, file.file_scheme, file.repaired) == ("IOB2", file_scheme, repaired)


def test_plain_tags_stay():
    file = parse("Hunde NOUN\nbellen VERB\n. PUNCT")
    assert tags_of(file) == [("NOUN", "VERB", "PUNCT")] and (file.scheme, file.file_scheme) == ("none", "none")


def test_a_named_scheme_is_not_detected():
    mixed = "a S-PER\n\nb B-LOC\nc I-LOC"
    assert "corpus.txt:4: expected IOBES tags like S-PER at corpus.txt:1, found 'I-LOC'" \
        in error_of(lambda: parse(mixed))
    file = parse(mixed, scheme="IOBES")
    assert tags_of(file) == [("B-PER",), ("B-LOC", "I-LOC")] and (file.file_scheme, file.repaired) == ("IOBES", 1)
    assert tags_of(parse(mixed, scheme="none")) == [("S-PER",), ("B-LOC", "I-LOC")]
    assert error_of(lambda: parse(mixed, scheme="IOB2")) == \
        "corpus.txt: the sentence on line 1: scheme: expected IOB2 tags (B, I, O), found 'S-PER'"


@pytest.mark.parametrize("text, message", [
    ("a\nb", "1: expected at least 2 columns (word and tag) separated by spaces, found 1 in 'a'; "
     "is this a file of tagged words?"),
    ("a\tO\nb O\nc\tO", "2: expected 2 columns separated by tabs as on line 1, found 1 in 'b O'; "
     "separate its columns by tabs too"),
    ("a\tN\tO\nb\tN\tO\nc\tO", "3: expected 3 columns separated by tabs as on line 1, found 2 in 'c O'; "
     "give every line the same columns"),
    ("a O\nNew York B-LOC\nb O", "2: expected 2 columns separated by spaces as on line 1, found 3 in 'New York B-LOC'; "
     "if words contain spaces, separate the columns by tabs"),
    ("a O\nb\nc O", "2: expected 2 columns separated by spaces as on line 1, found 1 in 'b'; complete the line"),
    ("a\tO\n\tO", "2: expected a word in column 1, found nothing; add the word or make the line blank"),
    ("a\tN\tO\nb\tN\t", "2: expected a tag in column 3, found nothing; add the tag (O outside entities)"),
    ("a\tB-PER\n\nb\tPER", "3: expected a span tag such as B-PER (corpus.txt:1), found 'PER'; "
     "correct it, or use the task pos for plain tags"),
], ids=["one column", "space among tabs", "fewer columns", "space in a word", "no tag", "empty word", "empty tag", "plain"])
def test_a_line_that_is_wrong(text, message):
    assert error_of(lambda: parse(text)) == f"corpus.txt:{message}"


def test_raw_text_is_not_taken_for_words():
    assert "corpus.txt:2: expected 3 columns" in error_of(lambda: parse("It is raw\ntext\nof some sentences", tags=False))


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n\n-DOCSTART- -X- O\n"[18:]])
def test_no_sentence(write, content):
    path = write(content)
    assert error_of(lambda: read_conll(path)) == \
        f"{path}: expected one word per line, found no sentence; is this the right file?"


def test_wrong_encoding_names_the_line(write):
    path = write("a O\nKöln B-LOC\n".encode("latin-1"))
    assert error_of(lambda: read_conll(path)).startswith(f"{path}:2: expected utf-8, found byte 0xf6 after 'K'")


def test_unknown_tag():
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    check_labels(parse(TWO), labels)
    check_labels(parse("a\nb", tags=False), labels)
    assert error_of(lambda: check_labels(parse("a O\n\nb O\nc B-LCO"), labels)) == \
        ("corpus.txt:4: expected one of the tags O, B-PER, I-PER, B-LOC, I-LOC, found 'B-LCO' for the word 'c'; "
         "did you mean B-LOC?")
    assert "found 'B-GEO' (in IOB2; the file is IOB1) for the word 'a'" \
        in error_of(lambda: check_labels(parse("a I-GEO"), labels))


def test_many_known_tags_are_cut_short():
    labels = [f"T{i}" for i in range(30)]
    assert "T10, T11, ... (30 in all), found 'U'" in error_of(lambda: check_labels(parse("a U"), labels))


def test_a_column_is_added_and_all_else_kept(write):
    content = ("\ufeff# id = 1\r\nDie \tO\r\nKöln\tB-LOC\r\n \r\n-DOCSTART-\tO\r\n\r\n# c\r\n#\tO").encode()
    path = write(content)
    lines = list(raw_lines(path))
    out = "".join(add_column(lines, [["O", "B-ORG"], ["X"]])).encode()
    assert out == ("\ufeff# id = 1\r\nDie \tO\tO\r\nKöln\tB-LOC\tB-ORG\r\n \r\n-DOCSTART-\tO\r\n\r\n# c\r\n#\tO\tX").encode()


def test_the_added_column_is_separated_as_the_file_is():
    assert list(add_column(["a  O\n", "b O"], [["X", "Y"]])) == ["a  O X\n", "b O Y"]
    assert list(add_column(["a\n", "\n", "b\n"], [["X"], ["Y"]])) == ["a\tX\n", "\n", "b\tY\n"]
    assert list(add_column([], [])) == []
    assert list(add_column(["a  O\n"], [[("0.9", "X")]])) == ["a  O 0.9 X\n"]            # the tag stays the last column


@pytest.mark.parametrize("predictions, message", [
    ([["X"], ["Y"]], "expected 2 values for the sentence on line 1, found a prediction of 1 values"),
    ([["X", "Y"]], "expected 1 values for the sentence on line 4, found no prediction"),
    ([["X", "Y"], ["Z"], ["Z"]], "expected no more sentences, found a prediction of 1 values"),
])
def test_predictions_that_do_not_fit(predictions, message):
    with pytest.raises(ValueError, match=message):
        list(add_column(["a O\n", "b O\n", "\n", "c O\n"], predictions))


ANY_WORD = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff"), min_size=1) \
    .filter(lambda word: word.strip(" ") == word != "" and not word.startswith(("# ", "-DOCSTART-")))


@settings(deadline=None)                # how long an example takes depends on what else the machine does
@given(st.lists(st.lists(st.tuples(ANY_WORD, st.sampled_from(["NOUN", "VERB", "X"])), min_size=1), min_size=1))
def test_what_is_written_is_read(corpus):
    text = "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in corpus)
    file = parse(text)
    assert [list(zip(sentence.words, sentence.tags)) for sentence in file.sentences] == corpus
    twice = "".join(add_column([line + "\n" for line in text.split("\n")], tags_of(file)))
    assert words_of(parse(twice)) == words_of(file) and tags_of(parse(twice)) == tags_of(file)


def test_real_files(shared):
    """Sentences as the data's README counts them."""
    data = shared / "data"
    for path, count, scheme in [("wikineural/de/dev.txt", 1500, "IOB2"), ("pos/es/test.txt", 427, "none")]:
        file = read_conll(data / path)
        assert (len(file.sentences), file.scheme, file.repaired) == (count, scheme, 0)
        lines = list(raw_lines(data / path))
        assert "".join(add_column(lines, tags_of(file))) == \
            "".join(line if line == "\n" else f"{line[:-1]}\t{line[:-1].split(chr(9))[1]}\n" for line in lines)


def test_one_column_is_no_plural():
    assert error_of(lambda: parse("a\nb\nc d e", tags=False)) == (
        "corpus.txt:3: expected 1 column separated by spaces as on line 1, found 3 in 'c d e'; if words contain spaces, "
        "separate the columns by tabs")
