"""Labels read under other names."""
from pathlib import Path

import pytest

from minixl.data.corpus import Corpus, check_labels, read_corpus
from minixl.data.examples import Document, Sentence
from minixl.data.label_map import LabelMap
from minixl.errors import UserError
from tests.report.compared import group, read_folder
from tests.report.test_inputs_compared import score_marks, write_run
from tests.whole_runs import inputs, prepared, settings, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def renamed(task, labels, *pairs):
    """The labels of a corpus of one sentence or of one document each, after renaming, and the messages."""
    label_map = LabelMap(task, pairs)
    inputs = [Document(f"text {i}", label, i) for i, label in enumerate(labels, 1)] if task == "classification" else \
        [Sentence(tuple("abcdefgh"[:len(labels)]), tuple(labels), 1)]
    corpus = label_map.apply(Corpus("es", Path("es.txt"), task, inputs))
    gold = corpus.gold()
    return gold if task == "classification" else gold[0], label_map.unused()


@pytest.mark.parametrize(("task", "labels", "pairs", "expected"), [
    ("ner", ["B-MISC", "I-MISC", "O", "B-LOC"], ["MISC=O"], ["O", "O", "O", "B-LOC"]),
    ("ner", ["B-GPE", "B-LOC", "I-LOC"], ["GPE=LOC"], ["B-LOC", "B-LOC", "I-LOC"]),          # two entities stay two
    ("ner", ["B-A", "I-A", "B-B"], ["A=B", " B = A "], ["B-B", "I-B", "B-A"]),
    ("ner", ["B-ORG-GPE", "O"], ["ORG-GPE=ORG"], ["B-ORG", "O"]),
    ("ner", ["B-", "B", "O"], ["X=Y"], ["B-", "B", "O"]),
    ("pos", ["NOUN", "O", "B-X"], ["NOUN=N", "O=X", "X=Y"], ["N", "X", "B-X"]),
    ("classification", ["politics", "spam", "news", "spam", "B-X"], ["politics=news", "spam=", "X=Y"], ["news", "news", "B-X"]),
])
def test_renamed_labels(task, labels, pairs, expected):
    assert renamed(task, labels, *pairs)[0] == expected


def test_labels_that_no_text_has():
    assert renamed("ner", ["B-PER", "B-GPE"], "GEP=LOC", "GPE=LOC", "X=O")[1] == [
        "warning: data.labels: GEP=LOC has no effect: no labelled file has GEP; did you mean GPE?",
        "warning: data.labels: X=O has no effect: no labelled file has X"]
    assert renamed("classification", ["a", "b"], "a=b", "b=a") == (["b", "a"], [])


@pytest.mark.parametrize(("task", "pairs", "said"), [
    ("ner", ["MISC"], "data.labels: expected OLD=NEW for each label to rename, for example MISC=O,GPE=LOC, got 'MISC'"),
    ("ner", ["=O"], "data.labels: expected OLD=NEW for each label to rename, for example MISC=O,GPE=LOC, got '=O'"),
    ("pos", ["A=B=C"], "data.labels: expected OLD=NEW for each label to rename, for example OLD=NEW,OTHER=NEW, got 'A=B=C'"),
    ("pos", ["A=B", "A=C"], "data.labels: A=C: A is given twice; expected each label once"),
    ("ner", ["MISC="], "data.labels: MISC=: expected an entity type or O after the =, as every word needs a tag, found nothing"),
    ("pos", ["X="], "data.labels: X=: expected a tag after the =, as every word needs a tag, found nothing"),
    ("ner", ["GPE=B-LOC"], "data.labels: GPE=B-LOC: expected entity types such as LOC, got the tag B-LOC"),
    ("ner", ["B-MISC=O"], "data.labels: B-MISC=O: expected entity types such as MISC, got the tag B-MISC"),
    ("ner", ["O=LOC"], "data.labels: O=LOC: expected entity types such as PER, got the tag O")])
def test_pairs_that_are_wrong(task, pairs, said):
    with pytest.raises(UserError) as error:
        LabelMap(task, pairs)
    assert str(error.value) == said


def test_leaving_out_all_texts():
    with pytest.raises(UserError, match="^es.txt: data.labels leaves out all 2 texts; expected some with other labels$"):
        renamed("classification", ["spam", "spam"], "spam=")


@pytest.mark.parametrize(("task", "text", "labels", "hint"), [
    ("ner", "anna\tB-GEO\n", ["B-LOC", "I-LOC", "O"], "; --set data.labels=GEO=O reads it as O"),
    ("ner", "anna\tB\n", ["B-LOC", "I-LOC", "O"], "'anna'"),
    ("pos", "anna\tPROPN\n", ["NOUN"], "; --set data.labels=PROPN=TAG reads it as another tag"),
    ("classification", "spam\tanna\n", ["news"], "; --set data.labels=spam= leaves out its texts, --set data.labels=spam=LABEL "
     "renames it"),
    ("classification", "my spam\tanna\n", ["news"], "; --set data.labels='my spam=' leaves out its texts, --set "
     "data.labels='my spam=LABEL' renames it"),
    ("classification", "a, b\tanna\n", ["news"], "; --set data.labels='[\"a, b=\"]' leaves out its texts, --set "
     "data.labels='[\"a, b=LABEL\"]' renames it")])
def test_an_unknown_label_names_the_setting(tmp_path, task, text, labels, hint):
    path = tmp_path / "es.txt"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        check_labels(read_corpus(task, "es", path), labels)
    assert str(error.value).endswith(hint)


def test_the_hint_is_what_the_setting_reads():
    """As a shell passes it on."""
    for pair in ("GEO=O", "my spam=", '["a, b="]'):
        assert settings().override([f"data.labels={pair}"])["data.labels"] == [pair.strip('["]')]


def test_every_labelled_file_is_read_with_the_new_labels(folder, tmp_path):
    (tmp_path / "new.txt").write_text("anna\tB-HUM\nparis\tB-LOC\nx\tB-MISC\n")
    new, en = tmp_path / "new.txt", ("en", folder / "en.txt")
    read = prepared(settings(data__labels=["HUM=PER", "MISC=O", "XYZ=O"]),
                    inputs(folder, source=[en, ("fr", new)], dev=[("en", new)], test=[("es", new)]))
    assert read.labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    corpora = [read.sources[1].corpus, read.evaluation.files["dev"]["en"][0], read.evaluation.files["test"]["es"][0]]
    assert [corpus.gold() for corpus in corpora] == [[["B-PER", "B-LOC", "O"]]] * 3
    assert [message for message in read.messages if "data.labels" in message] == [
        "warning: data.labels: XYZ=O has no effect: no labelled file has XYZ"]


def test_texts_that_are_left_out_are_not_counted_by_a_limit(folder, tmp_path):
    (tmp_path / "new.tsv").write_text("spam\tx\nhome\tanna\nspam\ty\ntravel\tben\ntravel\tanna lives\n")
    read = prepared(settings(task="classification", data__labels=["spam="], data__test_limit=2),
                    inputs(folder, "classification", test=[("es", tmp_path / "new.tsv")]))
    assert [(d.label, d.line) for d in read.evaluation.files["test"]["es"][0].inputs] == [("home", 2), ("travel", 4)]


def test_scores_with_other_labels_are_marked(tmp_path):
    folders = [write_run(tmp_path / "one"), write_run(tmp_path / "two", data__labels=["MISC=O", "GPE=LOC"])]
    assert score_marks(group(map(read_folder, folders))[0])[1] == [
        "* en, es: data.labels is MISC=O,GPE=LOC in two, empty in one"]
