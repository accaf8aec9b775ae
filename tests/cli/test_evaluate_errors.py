"""minixl evaluate: the table of classes and tags, and the mistakes that --errors lists."""
import json

import numpy as np
import pytest

from minixl.building.folder import ModelInfo, save_model
from minixl.cli import evaluation_tables
from minixl.data.examples import Document, Sentence
from minixl.evaluation.mistakes import LONGEST, lines_of, wrong_documents, wrong_sentences
from minixl.evaluation.scores import score
from minixl.models.transformer import Transformer
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder

ENTITIES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def write_model(folder, encoder, task, labels, answer):
    """A model folder that always answers `answer`, with the probability 0.88 of two labels."""
    config = read_config(encoder)
    model = Transformer(config, labels, "mean" if task == "classification" else "token")
    load_parameters(encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")})
    model.store["classifier.weight"].value[...] = 0
    model.store["classifier.bias"].value[...] = 2.0 * (np.array(labels) == answer)
    info = ModelInfo(task=task, labels=labels, scheme="IOB2" if task == "ner" else "none", pooling=model.pooling, max_length=32)
    save_model(folder, model, Tokenizer(encoder, config.vocab_size), info, config.raw)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    write_encoder(folder / "encoder")
    write_model(folder / "ner", folder / "encoder", "ner", ENTITIES, "B-LOC")
    write_model(folder / "pos", folder / "encoder", "pos", ["NOUN", "VERB"], "NOUN")
    write_model(folder / "topics", folder / "encoder", "classification", ["home", "travel"], "home")
    (folder / "ner.txt").write_text("paris\tB-LOC\n\nanna\tB-PER\nben\tI-PER\nlives\tO\n\nben\tO\n")
    (folder / "pos.txt").write_text("anna\tNOUN\nlives\tVERB\n\nparis\tNOUN\n\nlives\tVERB\n")
    (folder / "topics.tsv").write_text("travel\tanna \x1b[31mvisited paris .\nhome\tben lives\ntravel\tben visited\n")
    return folder


def test_classes_of_documents(minixl, data):
    code, out, _ = minixl("evaluate", data / "topics", f"en={data}/topics.tsv")
    row = json.loads(minixl("evaluate", data / "topics", f"en={data}/topics.tsv", "--json")[1])["en"]
    assert 0 < row["calibration_error"] < 1
    assert code == 0 and [line.split() for line in out.splitlines()] == [
        ["language", "accuracy", "macro", "f1", "cal.", "error", "items"],
        ["en", "33.3", "25.0", f"{100 * row['calibration_error']:.1f}", "3"], [],
        ["language", "class", "precision", "recall", "f1", "items"],
        ["en", "travel", "0.0", "0.0", "0.0", "2"], ["en", "home", "33.3", "100.0", "50.0", "1"], [],
        ["en:", "gold", "travel", "home", "predicted"], ["travel", "0", "2"], ["home", "0", "1"]]
    assert row["macro_f1"] == 0.25 and row["by_class"]["home"] == pytest.approx(
        {"precision": 1 / 3, "recall": 1.0, "f1": 0.5, "support": 1}) and "errors" not in row


def test_a_matrix_that_is_too_wide_becomes_a_list(minixl, data, monkeypatch):
    monkeypatch.setattr(evaluation_tables, "WIDEST", 20)
    out = minixl("evaluate", data / "topics", f"en={data}/topics.tsv")[1]
    assert [line.split() for line in out.split("\n\n")[2].splitlines()] == [
        ["en:", "gold", "predicted", "items"], ["travel", "home", "2"]]
    row = score("classification", ["a", "b", "b"], ["b", "a", "a"])
    monkeypatch.setattr(evaluation_tables, "SHOWN_CLASSES", 1)
    assert evaluation_tables.confusion_tables({"en": row})[0][0][1:] == [
        f"  {'b':<10}{'a':<10}{2:>8}", "en: 1 less frequent confusion not shown; --json has all"]


def test_tags_of_words(minixl, data, monkeypatch):
    """The most frequent first; those that are left out are counted, and JSON has all."""
    given = ("evaluate", data / "pos", f"en={data}/pos.txt")
    lines = minixl(*given)[1].splitlines()
    assert [line.split() for line in lines[:2]] == [["language", "accuracy", "items"], ["en", "50.0", "4"]]
    assert [line.split() for line in lines[3:]] == [
        ["language", "tag", "precision", "recall", "f1", "items"],
        ["en", "NOUN", "50.0", "100.0", "66.7", "2"], ["en", "VERB", "0.0", "0.0", "0.0", "2"]]
    monkeypatch.setattr(evaluation_tables, "SHOWN_CLASSES", 1)
    assert minixl(*given)[1].splitlines()[4:][1:] == ["en: 1 less frequent tag not shown; --json has all"]
    assert set(json.loads(minixl(*given, "--json")[1])["en"]["by_tag"]) == {"NOUN", "VERB"}


def test_errors_of_entities(minixl, data):
    code, out, _ = minixl("evaluate", data / "ner", f"en={data}/ner.txt", "--errors")
    assert code == 0 and out.split("\n\n")[1].splitlines() == [
        f"en ({data}/ner.txt): 2 of 3 sentences wrong:", "line 3", "  gold       [anna ben PER] lives",
        "  predicted  [anna LOC] [ben LOC] [lives LOC]", "line 7", "  gold       ben", "  predicted  [ben LOC]"]
    out = minixl("evaluate", data / "ner", f"en={data}/ner.txt", "--errors=1")[1]
    assert out.split("\n\n")[1].splitlines()[::3] == [
        f"en ({data}/ner.txt): 2 of 3 sentences wrong; the first 1:", "  predicted  [anna LOC] [ben LOC] [lives LOC]"]
    row = json.loads(minixl("evaluate", data / "ner", f"en={data}/ner.txt", "--json", "--errors=1")[1])["en"]
    assert row["errors"] == [{"line": 3, "words": ["anna", "ben", "lives"], "gold": ["B-PER", "I-PER", "O"],
                              "predicted": ["B-LOC"] * 3}]


def test_errors_of_tags(minixl, data):
    out = minixl("evaluate", data / "pos", f"en={data}/pos.txt", "--errors")[1]
    assert out.split("\n\n")[2].splitlines()[1:] == [
        "line 1", "  gold       anna lives/VERB", "  predicted  anna lives/NOUN",
        "line 6", "  gold       lives/VERB", "  predicted  lives/NOUN"]


def test_errors_of_documents(minixl, data):
    """With the confidence, and without characters that control the terminal."""
    out = minixl("evaluate", data / "topics", f"en={data}/topics.tsv", "--errors")[1]
    assert out.split("\n\n")[3].splitlines()[1:] == [
        "line 1: gold travel, predicted home (0.88)", "  anna \ufffd[31mvisited paris .",
        "line 3: gold travel, predicted home (0.88)", "  ben visited"]


def test_mistakes_that_are_none():
    """Other tags of the same spans; the words of a truncated sentence that were not read.  strict: an I- opens no span."""
    gold = [Sentence(("a", "b"), ("B-PER", "O"), 1), Sentence(("a", "b"), ("O", "B-LOC"), 4)]
    assert wrong_sentences("ner", gold, [["I-PER", "O"], ["O"]]) == []
    assert [row["line"] for row in wrong_sentences("ner", gold, [["I-PER", "O"], ["O"]], strict=True)] == [1]
    mistake, = wrong_documents([Document("a\n b" * LONGEST, "x", 1), Document("a", "x", 2)], ["y", "x"], [0.5, 0.5])
    assert lines_of("classification", mistake)[1] == "  " + ("a b" * LONGEST)[:LONGEST] + "…"


def test_errors_with_nothing_to_list(minixl, data):
    (data / "right.txt").write_text("paris\tB-LOC\n")
    out = minixl("evaluate", data / "ner", f"en={data}/right.txt", "--errors")[1]
    assert out.endswith(f"\nen ({data}/right.txt): 0 of 1 sentences wrong\n")
    (data / "pairs.tsv").write_text("anna\tana\nben\tbenito\n")
    code, _, err = minixl("evaluate", data / "ner", "--translations", f"en-es={data}/pairs.tsv", "--errors")
    assert code == 0 and "--errors has no effect: it lists the mistakes in labelled files\n" in err


@pytest.mark.parametrize("value", ["en=x.txt", "0", "1.5"])
def test_a_number_is_expected_after_errors(minixl, data, value):
    code, _, err = minixl("evaluate", data / "ner", f"--errors={value}", f"en={data}/ner.txt")
    assert code == 2 and f"found {value!r}; write --errors=20, or put --errors last" in err
