"""Tables 4, 5 and 7 of hand-made text: every row of audit.json, and every cell that the report shows of it.

All words are gold B-X and are tagged B-X or B-Y, so the F1 of some sentences is the share of their words that is right.
"""
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minixl.data.corpus import Corpus
from minixl.data.examples import Sentence
from minixl.evaluation.files import Evaluation
from minixl.methods.advpicker import audit
from minixl.methods.advpicker.files import PseudoLabels
from minixl.methods.advpicker.labels import Merged, Scored
from minixl.methods.advpicker.page import audit_html
from tests.whole_runs import settings

LABELS = ["O", "B-X", "I-X", "B-Y"]
P_BAR = np.array([0.9, 0.45, 0.6, 0.2])            # independence .6, .95, .9, .7: sentences 1 and 2 are selected
SELECTED = np.array([False, True, True, False])
LENGTHS, STARTS = [4, 2, 3, 1], np.array([0, 4, 6, 9, 10])
BY_TEACHERS = [1, 2, 2, 1]                         # right words of the unlabelled text
TEST_P_BAR = np.array([0.5, 0.05, 0.95, 0.4])      # sentences 0 and 3 are selected
TEST_BY_TEACHERS, TEST_BY_STUDENT = [3, 1, 0, 1], [2, 2, 3, 1]


def tags(right):
    return [["B-X"] * good + ["B-Y"] * (length - good) for length, good in zip(LENGTHS, right, strict=True)]


def merged(right, p_bar):
    """Soft labels of these tags; the teacher of every sentence is the first."""
    named = [LABELS.index(tag) for sentence in tags(right) for tag in sentence]
    return Merged(0.1 + 0.6 * np.eye(4)[named], STARTS, p_bar, np.zeros(4, int))


def corpus(name, tag="B-X"):
    return Corpus("es", Path(name), "ner", [Sentence(("w",) * n, (tag,) * n, 1) for n in LENGTHS])


def write(folder, monkeypatch, **changes):
    """audit.json of one language, and how the student was asked; the dev file's tags are all of another type."""
    asked = []

    def predict(model, encoded, scheme, *, constrained=True, **_):
        asked.append((model, encoded, scheme, constrained))
        return tags(TEST_BY_STUDENT)
    monkeypatch.setattr(audit, "predict_labels", predict)
    monkeypatch.setattr(audit, "read_gold", lambda settings, corpora: {"es": corpus("es.txt").gold()})
    chosen = settings(**{"advpicker__rho": 0.65, **changes.pop("settings", {})})       # of 4 sentences 2.6
    evaluation = Evaluation("ner", "IOB2", chosen, ["en"])
    evaluation.add("dev", corpus("dev.txt", "B-Y"), "dev pieces")
    evaluation.add("test", changes.pop("test", corpus("test.txt")), "test pieces")
    soft = changes.pop("soft", merged(BY_TEACHERS, P_BAR))
    labels = {"es": PseudoLabels(soft, SELECTED, LABELS, ["seed-1", "seed-2"])}
    given = {"scored": {"es": [Scored(soft.probabilities, STARTS, P_BAR, P_BAR)]},
             "tests": {"es": merged(TEST_BY_TEACHERS, TEST_P_BAR)}, "student": SimpleNamespace(), **changes}
    prepared = SimpleNamespace(evaluation=evaluation, unlabelled_targets={})
    audit.write_audit(SimpleNamespace(folder=folder, settings=chosen, prepared=prepared), labels, **given)
    return json.loads((folder / "audit.json").read_text()), given["student"], asked


def rows(found):
    return [(row["part"], row["sentences"], row["support"], pytest.approx(row["f1"])) for row in found]


def test_pseudo_labels_of_the_selected_sentences_and_the_others(tmp_path, monkeypatch):
    found = write(tmp_path, monkeypatch)[0]["languages"]["es"]
    assert found["sizes"] == {"selected": 2, "other": 2, "all": 4}
    assert rows(found["pseudo_labels"]) == [("selected", 2, 5, 4 / 5), ("other", 2, 5, 2 / 5), ("all", 4, 10, 6 / 10)]
    by_bin = [(row["sentences"], row["selected"]) for row in found["histogram"]]       # of width 1/20
    assert [by_bin.index((1, 1)), by_bin[::-1].index((1, 0))] == [9, 1] and sum(n for n, _ in by_bin) == 4


def test_the_sweep_takes_the_most_independent_first(tmp_path, monkeypatch):
    """1, 2, 3, 0 by independence; by p̄ it would be 0, 2, 1, 3 with F1 1/4, 3/7, 5/9."""
    found = write(tmp_path, monkeypatch)[0]["languages"]["es"]["sweep"]
    of_count = {1: 2 / 2, 2: 4 / 5, 3: 5 / 6, 4: 6 / 10}
    expected = [(share / 10, share * 4 // 10) for share in range(3, 11)]
    assert [(row["rho"], row["sentences"]) for row in found] == expected
    assert [row["f1"] for row in found] == pytest.approx([of_count[count] for _, count in expected])


def test_the_test_file_is_split_as_the_text_is(tmp_path, monkeypatch):
    """Two sentences of 2.6, by the test file's own tags; the student's row has the student's tags."""
    stored, student, asked = write(tmp_path, monkeypatch)
    found = stored["test"]["es"]
    assert rows(found["teachers"]) == [("selected", 2, 5, 4 / 5), ("other", 2, 5, 1 / 5), ("all", 4, 10, 5 / 10)]
    assert rows(found["student"]) == [("selected", 2, 5, 3 / 5), ("other", 2, 5, 5 / 5), ("all", 4, 10, 8 / 10)]
    assert asked == [(student, "test pieces", "IOB2", True)]
    assert "student" not in write(tmp_path, monkeypatch, student=None)[0]["test"]["es"]


def test_of_a_single_sentence_none_is_selected(tmp_path, monkeypatch):
    """0.65 of a sentence is none, and no mistake of the user's."""
    whole = merged(TEST_BY_TEACHERS, TEST_P_BAR)
    one = Merged(whole.probabilities[:4], STARTS[:2], TEST_P_BAR[:1], whole.teacher[:1])
    found = write(tmp_path, monkeypatch, tests={"es": one}, test=corpus("test.txt").limited(1), student=None)[0]["test"]["es"]
    assert rows(found["teachers"]) == [("selected", 0, 0, 0), ("other", 1, 4, 3 / 4), ("all", 1, 4, 3 / 4)]


@pytest.mark.parametrize(("constrained", "right"), [(True, 6), (False, 7)])
def test_tags_may_be_free(tmp_path, monkeypatch, constrained, right):
    """I-X at the beginning of a sentence is not legal in IOB2; scores read it as an entity, a right one here."""
    soft, of_tests = merged(BY_TEACHERS, P_BAR), merged(BY_TEACHERS, TEST_P_BAR)
    assert tags(BY_TEACHERS)[3] == ["B-X"]
    for labels in (soft, of_tests):
        labels.probabilities[0] = [0.05, 0.05, 0.5, 0.4]               # I-X, or else B-Y
        labels.probabilities[1] = [0.05, 0.5, 0.05, 0.4]               # a word that is right either way
        labels.probabilities[2:4] = [0.1, 0.1, 0.1, 0.7]
    stored, _, asked = write(tmp_path, monkeypatch, soft=soft, tests={"es": of_tests},
                             settings={"decode__constrained": constrained})
    assert stored["languages"]["es"]["pseudo_labels"][2]["f1"] == pytest.approx(right / 10)
    assert stored["languages"]["es"]["sweep"][-1]["f1"] == pytest.approx(right / 10)
    assert stored["test"]["es"]["teachers"][2]["f1"] == pytest.approx(right / 10)
    assert [how[3] for how in asked] == [constrained]


def part(name, sentences, f1):
    return {"part": name, "sentences": sentences, "f1": f1}


AUDIT = {
    "languages": {
        "es": {"sizes": {"selected": 31, "other": 32, "all": 63},
               "histogram": [{"from": 0.0, "to": 0.5, "sentences": 40, "selected": 30},
                             {"from": 0.5, "to": 1.0, "sentences": 23, "selected": 1}],
               "teachers": [{"teacher": 0, "chosen": 41, "confidence": 0.81, "agreement": 0.91},
                            {"teacher": 1, "chosen": 22, "confidence": 0.72, "agreement": 0.62}],
               "pseudo_labels": [part("selected", 31, 0.11), part("other", 32, 0.22), part("all", 63, 0.33)],
               "sweep": [{"rho": 0.1, "sentences": 6, "f1": 0.44}, {"rho": 1.0, "sentences": 63, "f1": 0.33}]},
        "fr": {"sizes": {"selected": 2, "other": 1, "all": 3}, "histogram": [],
               "teachers": [{"teacher": 0, "chosen": 3, "confidence": 0.5, "agreement": 1.0}]}},
    "test": {"es": {"teachers": [part("selected", 5, 0.15), part("other", 6, 0.16), part("all", 11, 0.17)],
                    "student": [part("selected", 5, 0.25), part("other", 6, 0.26), part("all", 11, 0.27)]},
             "fr": {"teachers": [part("selected", 2, 0.35), part("other", 1, 0.36), part("all", 3, 0.37)]}}}
NAMES = {"kept": "selected", "left out": "other"}          # as a page may call them


def tables(page):
    """The rows of every table, without its head; what says that there is no figure is empty."""
    return [[[NAMES.get(cell, cell).strip("–") for cell in re.findall("<td>(.*?)</td>", row)]
             for row in re.findall("<tr>(.*?)</tr>", table)[1:]] for table in re.findall("<table>(.*?)</table>", page, re.DOTALL)]


def test_every_row_of_the_report():
    page = audit_html(AUDIT, "f1")
    pseudo_labels, test, teachers, shares, of_fr = tables(page)
    assert pseudo_labels == [["es", "selected", "31", "11.0"], ["es", "other", "32", "22.0"], ["es", "all", "63", "33.0"],
                             ["fr", "selected", "2", ""], ["fr", "other", "1", ""], ["fr", "all", "3", ""]]
    assert test == [["es", "selected", "teachers", "5", "15.0"], ["es", "other", "teachers", "6", "16.0"],
                    ["es", "all", "teachers", "11", "17.0"], ["es", "selected", "student", "5", "25.0"],
                    ["es", "other", "student", "6", "26.0"], ["es", "all", "student", "11", "27.0"],
                    ["fr", "selected", "teachers", "2", "35.0"], ["fr", "other", "teachers", "1", "36.0"],
                    ["fr", "all", "teachers", "3", "37.0"]]
    assert teachers == [["1", "41", "81.0", "91.0"], ["2", "22", "72.0", "62.0"]] and of_fr == [["1", "3", "50.0", "100.0"]]
    assert shares == [["0.1", "6", "44.0"], ["1", "63", "33.0"]]
    heads = [re.findall("<th>(.*?)</th>", row) for row in re.findall("<tr>(.*?)</tr>", page) if "<th>" in row]
    assert "confidence" in heads[2][2] and "as merged" in heads[2][3]


def test_the_bars_are_those_of_the_histogram(monkeypatch):
    import minixl.methods.advpicker.page as report
    drawn = []
    monkeypatch.setattr(report, "bars", lambda *given: drawn.append(given) or "")
    audit_html(AUDIT, "f1")
    heights, (first, last), (whole, kept) = drawn[0]
    assert heights == [(40, 30), (23, 1)] and first.endswith("0") and last.endswith("1")
    assert re.search("selected|kept", kept) and not re.search("selected|kept", whole)
