"""The warnings about files that look misread, and that no other file gets one."""
import pytest

from minixl.data.corpus import check_class_counts, encode_corpus, read_corpus, read_unlabelled
from minixl.data.hints import MIN_LINES, columns_hint, looks_like_labels, mostly_one_word
from minixl.errors import UserError
from tests.data.piece_tokenizer import LetterTokenizer

COLUMN = ["Anna", "vive", "en", "París", ".", "B-PER", "O", "3.5", "état-major", "NOUN"] * 2
HINT = ("nearly every line is a single word; if this is one column of a labelled file, give the whole file (its labels are not "
        "read)")


def written(tmp_path, lines, name="es.txt"):
    path = tmp_path / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(("lines", "expected"), [
    (COLUMN, True), (COLUMN[1:], False), (COLUMN + ["dos palabras"] * 2, True), (COLUMN + ["dos palabras"] * 3, False),
    (["Anna vive en París."] * 50, False), (["Anna vive."] * 50, False), ([], False),
    (["我爱北京。"] * 30, False), (["北京"] * 30, False), (["ありがとう"] * 30, False), (["สวัสดีครับ"] * 30, False),
    (["ສະບາຍດີ"] * 30, False), (["မင်္ဂလာပါ"] * 30, False), (["ជំរាបសួរ"] * 30, False), (["नमस्ते"] * 30, True)])
def test_lines_of_one_word(lines, expected):
    assert len(COLUMN) == MIN_LINES and mostly_one_word(lines) == expected


@pytest.mark.parametrize("task", ["ner", "pos", "classification"])
@pytest.mark.parametrize("lines", [
    ["Anna", "vive", ".", ""] * 10, ["B-PER", "O", "O", ""] * 10, ["NOUN", "VERB", ""] * 15, ["travel", "home"] * 10],
    ids=["words", "entity tags", "parts of speech", "labels"])
def test_one_column_is_said_with_the_report(tmp_path, task, lines):
    corpus = read_unlabelled(task, "es", written(tmp_path, lines))
    assert corpus.hint == HINT
    encoded = encode_corpus(corpus.limited(3), LetterTokenizer(), None, max_length=30, on_long="window")
    first, second = encoded.report("unlabelled es").splitlines()
    assert first.startswith("unlabelled es: 3 inputs, ") and second == f"warning: unlabelled es: {HINT}"


@pytest.mark.parametrize("lines", [["Anna vive."] * 30, ["Anna\tB-PER", "vive\tO", ""] * 15, ["viaje\tAnna vive."] * 30,
                                   ["viaje\tavión"] * 30])
def test_nothing_is_said_of_texts_and_labelled_files(tmp_path, lines):
    corpus = read_unlabelled("ner", "es", written(tmp_path, lines))
    assert corpus.hint == ""
    assert "\n" not in encode_corpus(corpus, LetterTokenizer(), None, max_length=30, on_long="window").report("es")


@pytest.mark.parametrize(("tags", "expected"), [
    (["B-PER", "I-PER", "O"], True), (["B-PER", "E-PER", "S-LOC"], True), (["I-ORG", "O"], True), (["NOUN", "O"], False),
    (["B", "I", "O"], False),
    (["B-PER", "NOUN"], False), (["NOUN-X"], False)])
def test_entity_tags_read_as_parts_of_speech(tmp_path, tags, expected):
    path = written(tmp_path, [f"w{i}\t{tag}" for i, tag in enumerate(tags)])
    hint = read_corpus("pos", "es", path).hint
    assert hint == ("these look like entity tags; use the task ner" if expected else "")
    if expected:
        assert read_corpus("ner", "es", path).hint == ""


@pytest.mark.parametrize(("rows", "expected"), [
    ([("I fly", "travel"), ("I live", "home"), ("I go", "travel")], "3 different labels on 3 texts"),       # two texts
    ([(f"text {i}", f"label {i}") for i in range(20)], "20 different labels on 20 texts"),
    ([(f"text {i % 11}", f"label {i}") for i in range(20)], "11 different labels on 20 texts"),
    ([(f"text {i % 10}", f"label {i}") for i in range(20)], ""),
    ([(f"text {i}", f"label {i}") for i in range(19)], ""),
    ([("travel", "I fly"), ("home", "I live"), ("travel", "I fly")], "")])
def test_swapped_columns(tmp_path, rows, expected):
    corpus = read_corpus("classification", "en", written(tmp_path, map("\t".join, rows), "en.tsv"))
    fix = "if the text comes before the label, swap the columns"
    assert corpus.hint == (f"{expected}; {fix}" if expected else "")
    if expected:
        with pytest.raises(UserError, match=rf"en.tsv:\d+: expected at least 2 texts of every class, .*; {corpus.hint}$"):
            check_class_counts([corpus], 2)
    assert read_unlabelled("classification", "en", written(tmp_path, map("\t".join, rows), "en.tsv")).hint == ""


@pytest.mark.parametrize(("labels", "texts", "expected"), [
    (["travel", "home", "food"] * 7, ["I fly out"] * 21, True),
    (["travel", "home", "food"] * 7, ["我爱北京"] * 21, True),
    (["travel", "home", "food"] * 6, ["I fly out"] * 18, False),                         # too few lines
    (["travel", "home", "food", "a", "b"] * 5, ["I fly out"] * 25, False),              # too many labels
    (["to fly", "home", "food"] * 7, ["I fly out"] * 21, False),
    (["yes", "no", "oh"] * 7, ["sí", "no", "oh"] * 7, False)])                           # translations of words
def test_labels_beside_texts(labels, texts, expected):
    assert looks_like_labels(labels, texts) == expected and not looks_like_labels(texts, labels)


@pytest.mark.parametrize(("lines", "suspicious"), [
    (["anna lives here", "ben lives"], True), (["anna lives here", "", "ben is there"], True), (["anna visited paris ."], True),
    (["anna", "ben"], False), ([], False), (["anna lives\tO"], False), (["anna O", "", "ben B-PER"], False),
    (["# a comment of words", "anna NNP  O"], False), (["anna noun", "lives verb"] * 10, False),
    (["anna noun", "lives verb"], True)])
def test_texts_that_are_read_as_columns(lines, suspicious):
    """Lower-case tags need some lines to be told from words."""
    assert columns_hint(lines).startswith("the lines look like texts") == suspicious == bool(columns_hint(lines))
