"""Unlabelled text in every layout, and classes that are suspiciously small."""
import gzip
import json

import pytest

from minixl.data.corpus import Corpus, check_class_counts, read_corpus, read_unlabelled
from minixl.data.examples import Document
from minixl.errors import UserError

WORDS = [("Anna", "vive", "en", "París", "."), ("Ben",)]
CONLL = ["Anna\tB-PER", "vive\tO", "en\tO", "París\tB-LOC", ".\tO", "", "Ben\tB-PER"]
POS = ["Anna\tPROPN", "vive\tVERB", "en\tADP", "París\tPROPN", ".\tPUNCT", "", "Ben\tPROPN"]


def read(tmp_path, text, task="ner", name="es.txt", **options):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else "\n".join(text) + "\n", encoding="utf-8")
    return read_unlabelled(task, "es", path, **options)


def words(corpus):
    assert all(sentence.tags is None for sentence in corpus.inputs)
    return [sentence.words for sentence in corpus.inputs]


@pytest.mark.parametrize("content", [
    ["Anna vive en París.", "", "  ", "Ben"],
    CONLL,
    [line.replace("\t", " ") for line in CONLL],
    ["-DOCSTART- -X- O", "", *(line.replace("\t", " NN ") for line in CONLL)],
    ["# sentence 1: teacher seed-1", *CONLL[:6], "# sentence 2", *CONLL[6:]],
], ids=["raw", "tabs", "spaces", "docstart", "comments"])
def test_a_tagger_reads_words(tmp_path, content):
    assert words(read(tmp_path, content)) == WORDS


@pytest.mark.parametrize("content", [POS, [line.replace("\t", " ") for line in POS], ["Anna vive en París.", "Ben"]])
def test_a_tagger_of_parts_of_speech_reads_words(tmp_path, content):
    assert words(read(tmp_path, content, "pos")) == WORDS


def test_raw_text_that_looks_like_columns_in_part(tmp_path):
    """Lines with the same number of words but no tags are not columns, nor are lines of which only one has a tab."""
    assert words(read(tmp_path, ["Anna vive", "Ben vive"])) == [("Anna", "vive"), ("Ben", "vive")]
    assert words(read(tmp_path, ["Anna vive", "Ben vive"], "pos")) == [("Anna", "vive"), ("Ben", "vive")]
    assert words(read(tmp_path, ["Anna\tvive", "Ben vive en París"])) == [("Anna", "vive"), ("Ben", "vive", "en", "París")]
    assert words(read(tmp_path, ["# Anna"])) == [("#", "Anna")]


@pytest.mark.parametrize("task", ["ner", "pos"])
@pytest.mark.parametrize("label", ["viaje", "1", "two words"])
def test_a_tagger_reads_the_texts_of_a_labelled_file(tmp_path, task, label):
    """Labels are not words, even if a text is a single word, with a header, or in Chinese, which has no spaces."""
    lines = [f"{label}\tAnna vive en París.", f"{label}\tBen"]
    assert words(read(tmp_path, lines, task)) == WORDS
    assert words(read(tmp_path, ["label\ttext", *lines], task, name="es.tsv")) == WORDS
    assert words(read(tmp_path, ["id\ttext\tintent", "1\tAnna vive en París.\thome", "2\tBen\thome"], task)) == WORDS
    assert words(read(tmp_path, [f"{label}\t很好。"], task)) == [("很", "好", "。")]


NUMBERED = ["# text = Anna vive.", "1\tAnna\tAnna\tPROPN\t_", "2\tvive\tvivir\tVERB\tSpaceAfter=No", "3\t.\t.\tPUNCT\t_", ""]


@pytest.mark.parametrize("task", ["ner", "pos"])
def test_numbers_of_words_are_no_words(tmp_path, task):
    """Where the first column numbers the words, the columns of words and tags, taken with cut, are read."""
    message = (f"{tmp_path}/es.txt:2: expected words in the first column, found no letters but entries such as '1'; "
               "keep only the columns of words and tags, for example with cut -f 2,4")
    with pytest.raises(UserError) as error:
        read(tmp_path, NUMBERED, task)
    assert str(error.value) == message
    with pytest.raises(UserError) as error:
        read_corpus("pos", "es", tmp_path / "es.txt")
    assert str(error.value) == message
    cut = ["\t".join(line.split("\t")[1:4:2]) if "\t" in line else line for line in NUMBERED]
    assert words(read(tmp_path, cut, task)) == [("Anna", "vive", ".")]
    assert read_corpus("pos", "es", tmp_path / "es.txt").gold() == [["PROPN", "VERB", "PUNCT"]]


@pytest.mark.parametrize(("lines", "number", "row"), [
    (["viaje\tAnna vive.", "viaje\tBen vive.\tes"], 2, "'viaje TAB Ben vive. TAB es'"),
    (["", "Anna vive.\tviaje", "Ben vive.\tcasa"], 2, "'Anna vive. TAB viaje'"),
    (["Hola\tsaludo", "Anna vive.\tviaje", "Ben vive.\tcasa"], 1, "'Hola TAB saludo'"),
], ids=["three columns", "text first", "text first, one of them a word"])
def test_texts_with_something_else_beside_them_are_an_error(tmp_path, lines, number, row):
    with pytest.raises(UserError) as error:
        read(tmp_path, lines)
    assert str(error.value) == (f"{tmp_path}/es.txt:{number}: expected a word and its tag, or a label, a tab and a text, found "
                                f"{row}; give only the texts, one per line")


def test_columns_with_tabs_may_have_any_tags(tmp_path):
    """Tags of another task, words with spaces, tags with accents, lines of different length."""
    for lines in (POS, ["Anna\tprop", "vive\tverb"], ["Nueva York\tB-LUGAR", "vive\tO"], ["Anna\tx\tB-ÉL", "vive\tO"]):
        for task in ("ner", "pos"):
            assert read(tmp_path, lines, task).inputs[0].words[0] in ("Anna", "Nueva York")


def test_a_classifier_reads_texts(tmp_path):
    texts = ["Anna vive.", "Ben, en París"]
    lines = [json.dumps({"text": text}) for text in texts]

    def read_texts(*args, **options):
        corpus = read(tmp_path, *args, "classification", **options)
        assert all(document.label is None for document in corpus.inputs)
        return [document.text for document in corpus.inputs]
    assert read_texts(texts) == texts
    assert read_texts([f"viaje\t{text}" for text in texts]) == texts
    assert read_texts(["Anna\tB-PER", "vive\tO", ".\tO", "", "Ben\tB-PER"]) == ["Anna vive .", "Ben"]    # tags are no texts
    assert read_texts([f'viaje,"{text}"' for text in texts], name="es.csv") == texts
    assert read_texts(lines, name="es.jsonl") == texts
    (tmp_path / "es.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert [d.text for d in read_unlabelled("classification", "es", tmp_path / "es.jsonl.gz").inputs] == texts


def test_a_tagger_reads_the_texts_of_json_lines(tmp_path):
    content = [json.dumps({"text": "Anna vive en París.", "label": "B"}), json.dumps({"text": "Ben"})]
    assert words(read(tmp_path, content, name="es.jsonl")) == WORDS


@pytest.mark.parametrize("task", ["ner", "classification"])
@pytest.mark.parametrize("content", ["", "\n \n"])
def test_no_text_is_an_error_of_one_line(tmp_path, task, content):
    with pytest.raises(UserError, match="es.txt: expected text in es, found none") as error:
        read(tmp_path, content, task)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", ["ner", "classification"])
def test_a_text_knows_its_line(tmp_path, task):
    assert [item.line for item in read(tmp_path, ["", "Anna vive.", "", "Ben"], task).inputs] == [2, 4]


def test_a_missing_file_and_a_wrong_encoding(tmp_path):
    with pytest.raises(UserError, match="none.txt: expected a file, found nothing"):
        read_unlabelled("ner", "es", tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("París\n".encode("latin-1"))
    with pytest.raises(UserError, match="latin.txt:1: expected utf-8, found byte 0xed"):
        read_unlabelled("ner", "es", tmp_path / "latin.txt")
    assert words(read_unlabelled("ner", "es", tmp_path / "latin.txt", encoding="latin-1")) == [("París",)]


def topics(path, *labels):
    return Corpus("en", path, "classification", [Document("text", label, i + 1) for i, label in enumerate(labels)])


def test_a_class_that_occurs_once(tmp_path):
    one, two = topics(tmp_path / "en.tsv", "home", "travel", "home", "travle"), topics(tmp_path / "de.tsv", "travel")
    with pytest.raises(UserError) as error:
        check_class_counts([one, two], 2)
    assert str(error.value) == (f"{tmp_path}/en.tsv:4: expected at least 2 texts of every class, found 1 of 'travle'; "
                                "correct the label, or allow it with --set data.min_count=1")
    check_class_counts([one, two], 1)
    check_class_counts([topics(tmp_path / "en.tsv", "home", "travel", "home"), two], 2)       # counted over all files
    with pytest.raises(UserError, match=r"en.tsv:1: expected at least 3 texts of every class, found 2 of 'home'; .*min_count=2$"):
        check_class_counts([one, two], 3)


def test_tags_are_not_counted(tmp_path):
    check_class_counts([read(tmp_path, CONLL)], 100)
