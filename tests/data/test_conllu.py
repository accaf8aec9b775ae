"""CoNLL-U: what is recognised and read, the lines of its words, wrong rows, and the column that predictions go into."""
import pytest

from minixl.data.conll import add_column, check_labels, parse_conll
from minixl.data.corpus import read_corpus, read_unlabelled
from minixl.errors import UserError

ROWS = ["# sent_id = 1", "# text = Vámonos al mar", "1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_",
        "1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\tGloss=тест", "2\tnos\tyo\tPRON\t_\t_\t1\tobj\t_\t_",
        "3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_", "3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_", "4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_",
        "4.1\tgran\t_\tADJ\t_\t_\t_\t_\t_\t_", "5\tmar azul\tmar\tNOUN\t_\t_\t1\tobl\t_\tNE=B-X|SpaceAfter=No", "",
        "# sent_id = 2", "1\tSí\tsí\tINTJ\t_\t_\t0\troot\t_\t_", ""]
WORDS = [("Vamos", "nos", "a", "el", "mar azul"), ("Sí",)]
TAGS = [["VERB", "PRON", "ADP", "DET", "NOUN"], ["INTJ"]]


def written(tmp_path, rows, name="es.txt"):
    (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize("name", ["es.txt", "es.conllu"])
def test_words_and_parts_of_speech(tmp_path, name):
    corpus = read_corpus("pos", "es", written(tmp_path, ROWS, name))
    assert [s.words for s in corpus.sentences()] == WORDS and corpus.gold() == TAGS and corpus.hint == ""


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_unlabelled_words(tmp_path, task):
    """Columns that are not read, such as MISC with any text, change nothing."""
    assert [s.words for s in read_unlabelled(task, "es", written(tmp_path, ROWS)).sentences()] == WORDS


def test_unlabelled_texts(tmp_path):
    path = written(tmp_path, ROWS)
    assert [d.text for d in read_unlabelled("classification", "es", path).documents()] == ["Vamos nos a el mar azul", "Sí"]


def test_messages_name_the_line_of_the_word():
    with pytest.raises(UserError, match=r"^es\.conllu:10: expected one of .* found 'NOUN' for the word 'mar azul'"):
        check_labels(parse_conll(ROWS, "es.conllu", scheme="none"), ["VERB", "PRON", "ADP", "DET"])


def test_entities_are_not_read_from_conllu(tmp_path):
    with pytest.raises(UserError, match=r"es\.txt:4: expected entity tags such as B-PER, I-PER and O, found 'VERB'"):
        read_corpus("ner", "es", written(tmp_path, ROWS))


@pytest.mark.parametrize("row, message", [
    ("2\tx\ty\tNOUN", "3: expected the 10 columns of CoNLL-U separated by tabs, found 4; complete the line"),
    ("2 x y NOUN", "3: expected the 10 columns of CoNLL-U separated by tabs, found 1; complete the line"),
    ("b\tx\t_\tNOUN\t_\t_\t_\t_\t_\t_", "3: expected the number of the word in column 1 of CoNLL-U, found 'b'; correct it"),
    ("2\t\t_\tNOUN\t_\t_\t_\t_\t_\t_", "3: expected a word in column 2 (FORM), found nothing; add it"),
    ("2\tx\t_\t_\t_\t_\t_\t_\t_\t_", "3: expected a part of speech in column 4 (UPOS), found _; add it"),
], ids=["columns", "spaces", "number", "word", "tag"])
def test_a_row_that_is_wrong(row, message):
    with pytest.raises(UserError) as error:
        parse_conll([ROWS[12], "", row], "es.conllu", scheme="none")
    assert str(error.value) == f"es.conllu:{message}"


def test_words_without_parts_of_speech_can_be_tagged():
    rows = [row.replace("INTJ", "_") for row in ROWS[11:]]
    assert parse_conll(rows, "x", tags=False).sentences[0].words == ("Sí",)
    assert "".join(add_column([row + "\r\n" for row in rows], [["X"]])) == "\r\n".join(ROWS[11:]).replace("INTJ", "X") + "\r\n"


def test_parts_of_speech_replace_upos():
    lines = [row + "\n" for row in ROWS]
    assert list(add_column(lines, TAGS)) == lines
    assert list(add_column(lines, [["A", "B", "C", "D", "E"], ["F"]]))[3:5] == [
        lines[3].replace("VERB", "A"), lines[4].replace("PRON", "B")]


def test_entities_go_into_misc():
    lines = [row + "\n" for row in ROWS]
    out = list(add_column(lines, [["O", "O", "O", "O", "B-LOC"], ["O"]], entities=True))
    assert out[9].endswith("\tSpaceAfter=No|NE=B-LOC\n") and out[12].endswith("\t_\tNE=O\n")
    assert out[3].endswith("\tGloss=тест|NE=O\n")
    assert [out[i] for i in (0, 1, 2, 5, 8, 10, 11, 13)] == [lines[i] for i in (0, 1, 2, 5, 8, 10, 11, 13)]


def test_ten_columns_that_are_not_conllu():
    """Ten columns, but one row has no number: words come first."""
    rows = ["\t".join([word, *"abcdefgh", tag]) for word, tag in (("1", "NOUN"), ("x", "VERB"))]
    assert parse_conll(rows, "x", scheme="none").sentences[0].words == ("1", "x")


def test_confidences_go_into_misc():
    """Beside the tag, and in place of earlier ones."""
    row = "1\tanna\t_\tX\t_\t_\t_\t_\t_\tA=b|Confidence=0.1|NE=O\n"
    assert list(add_column([row], [[("0.98", "B-PER")]], entities=True)) == [row.replace("0.1|NE=O", "").replace(
        "Confidence=", "NE=B-PER|Confidence=0.98")]
    assert list(add_column([row], [[("0.98", "NOUN")]])) == [row.replace("X", "NOUN").replace("0.1|NE=O", "").replace(
        "Confidence=", "NE=O|Confidence=0.98")]
