"""Whole runs: the rounds as in the paper's loop, stop rules, files, the report; stopped anywhere and continued to the same bits."""
from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import minixl
from minixl.building import load_model
from minixl.data.classification import read_classification
from minixl.data.conll import read_conll
from minixl.data.schemes import paths_to_tags
from minixl.errors import UserError
from minixl.methods.self_learning.files import FOLDER
from minixl.methods.self_learning.selection import RULES
from minixl.run.once import read
from tests.whole_runs import Quiet, assert_same_run, inputs, run, settings, stopped, write_data

SMALL = {"method": "self-learning", "self_learning__rounds": 3, "self_learning__count": 1, "self_learning__stop_on": "rounds",
         "train__epochs": 1, "train__eval_every": 2}
TOPICS = {"task": "classification", **SMALL}


@pytest.fixture
def data(tmp_path):
    folder = write_data(tmp_path / "data")
    lines = [f"{label}\t{name} {verb} {place} .\n" for label, verb, name, place in
             [("travel", "visita", "anna", "madrid"), ("home", "vive en", "ben", "paris"), ("travel", "visita", "ben", "paris"),
              ("home", "vive en", "anna", "madrid"), ("travel", "visita", "paris", "anna"), ("home", "vive en", "madrid", "ben")]]
    (folder / "es.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def rounds(out):
    return json.loads((out / "rounds.json").read_text())


def arrays(out, number, language="es"):
    return read(out / FOLDER / f"round-{number}.{language}.safetensors", "pseudo-labels of a round").arrays


def labelled_spanish(data, task="ner"):
    return inputs(data, task, unlabelled=[("es", data / ("es.tsv" if task == "classification" else "es.txt"))])


def test_the_loop_of_the_paper(data, tmp_path):
    """U shrinks by what is selected, L grows by it, and the last training learns from all of it."""
    out = tmp_path / "run"
    run(data, out, settings(**TOPICS, self_learning__audit=True), inputs=labelled_spanish(data, "classification"))
    records = rounds(out)
    source, selected = 12, 0
    for record in records:
        row = record["languages"]["es"]
        assert record["labelled"] == source + selected
        selected += row["new"]
        assert row["selected"] == selected and row["pool"] == 6 - selected and sum(row["classes"].values()) == row["new"]
        assert 0 <= row["pseudo_labels"] <= 1 and (row["agreement"] is None) == (record["round"] == 1)
        predicted = arrays(out, record["round"])["predicted"]
        before = arrays(out, record["round"] - 1)["round"] if record["round"] > 1 else np.zeros(6, int)
        assert row["new"] == len(np.unique(predicted[before == 0]))                  # one for each class that is predicted
        new = arrays(out, record["round"])["round"] == record["round"]
        names = ["home", "travel"]
        gold = np.array([names.index(d.label) for d in read_classification(data / "es.tsv")])
        assert row["pseudo_labels"] == pytest.approx((predicted == gold)[new].mean())
    steps = [json.loads((folder / "metrics.json").read_text())["steps"] for folder in (out / "rounds" / "1", out)]
    assert steps == [3, -(-(source + selected) // 4)]
    written = read_classification(out / FOLDER / "es.tsv")
    assert len(written) == selected and {d.label for d in written} <= {"home", "travel"}
    page = (out / "report.html").read_text()
    assert "Rounds" in page and "pseudo-labels, %" in page and "items selected in each round" in page


@pytest.mark.parametrize("name, chosen", {
    "documents": TOPICS, "sentences": SMALL, "perturbed": {**SMALL, "perturbation__kind": "adversarial"},
    "continued": {**TOPICS, "self_learning__start": "continue", "self_learning__schedule": "linear"},
    "all": {**SMALL, "self_learning__schedule": "all"},
    "drawn": {**SMALL, "self_learning__select": "unbalanced"}}.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_stopped_between_and_inside_rounds(data, tmp_path, name, chosen):
    chosen = settings(**chosen)
    files = inputs(data, chosen["task"])
    reporter = Quiet()
    run(data, tmp_path / "once", chosen, reporter=reporter, inputs=files)
    first = json.loads((tmp_path / "once" / "rounds" / "1" / "metrics.json").read_text())["steps"]
    for count in (1, first, reporter.steps - 1):
        stopped(data, tmp_path / f"twice-{count}", chosen, count, inputs=files)
        run(data, tmp_path / f"twice-{count}", chosen, resume=True, inputs=files)
        for part in (".", "rounds/1", "rounds/2"):
            assert_same_run(tmp_path / "once" / part, tmp_path / f"twice-{count}" / part)
        assert rounds(tmp_path / "once") == rounds(tmp_path / f"twice-{count}")


def test_the_rule_that_selects_reaches_a_run(data, tmp_path):
    """The same first training; surest takes the most confident text, the others do not."""
    chosen = {}
    for rule in RULES:
        run(data, tmp_path / rule, settings(**{**TOPICS, "self_learning__rounds": 1, "self_learning__count": 2,
                                               "self_learning__select": rule}), inputs=labelled_spanish(data, "classification"))
        found = arrays(tmp_path / rule, 1)
        assert len(set(found["predicted"])) == 1, "text of one class, so that every rule takes two"
        chosen[rule] = np.flatnonzero(found["round"] == 1).tolist()
    assert chosen["random"] != chosen["surest"] != chosen["unbalanced"] and {len(rows) for rows in chosen.values()} == {2}


def test_selected_sentences_are_written_in_columns(data, tmp_path):
    run(data, tmp_path / "run", settings(**SMALL), inputs=labelled_spanish(data))
    text = (tmp_path / "run" / FOLDER / "es.conll").read_text()
    last = rounds(tmp_path / "run")[-1]["languages"]["es"]
    assert text.count("# sentence") == last["selected"] > 0 and ", selected for " in text and last["pseudo_labels"] is None
    assert len(read_conll(tmp_path / "run" / FOLDER / "es.conll").sentences) == last["selected"]


def test_a_word_level_tagger_labels_text(data, tmp_path):
    """Its ids of words are those of one process and one lexicon: a loaded model must read the text anew."""
    files = replace(labelled_spanish(data), encoder=None)
    sizes = {f"model__{name}": 6 for name in ("word_size", "word_hidden", "dense_size", "char_size", "char_hidden")}
    run(data, tmp_path / "run", settings(**SMALL, **sizes, model__type="bilstm-crf", self_learning__audit=True), inputs=files)
    assert [record["round"] for record in rounds(tmp_path / "run")] == [1, 2, 3]
    first, labels = arrays(tmp_path / "run", 1), load_model(tmp_path / "run" / "rounds" / "1" / "model")[0].labels
    words = [sentence.words for sentence in read_conll(data / "es.txt").sentences]
    tags = [row.tags for row in minixl.load(tmp_path / "run" / "rounds" / "1" / "model", device="cpu").tag(words)]
    predicted = paths_to_tags(first["predicted"], first["starts"], labels, "IOBES")
    assert predicted == tags


def test_rounds_end_when_no_text_is_left(data, tmp_path):
    reporter = Quiet()
    run(data, tmp_path / "run", settings(**{**TOPICS, "self_learning__rounds": 9, "self_learning__count": 100}), reporter=reporter)
    assert len(rounds(tmp_path / "run")) == 1 and "no further round: no unlabelled text is left" in reporter.messages


def test_rounds_end_when_the_labels_agree(data, tmp_path):
    reporter = Quiet()
    run(data, tmp_path / "run", settings(**{**TOPICS, "self_learning__stop_on": "agreement", "self_learning__agreement": 0.01,
                                            "self_learning__schedule": "all"}), reporter=reporter)
    assert len(rounds(tmp_path / "run")) == 2
    assert any(m.startswith("no further round: ") and m.endswith("% of the labels are those of the round before")
               for m in reporter.messages)


@pytest.mark.parametrize("rule", ["source-dev", "target-dev"])
def test_rounds_end_without_a_better_dev_score_and_the_best_is_repeated(data, tmp_path, rule):
    reporter, out = Quiet(), tmp_path / "run"
    files = inputs(data, "classification")
    run(data, out, settings(**{**TOPICS, "self_learning__stop_on": rule, "self_learning__patience": 1, "optim__lr": 0.0,
                               "optim__head_lr": 1e-30}), reporter=reporter, inputs=files)      # no round is better than the first
    assert [record["round"] for record in rounds(out)] == [1, 2]
    assert "the last training repeats round 1, the best on dev" in reporter.messages
    assert_same_run(out, out / "rounds" / "1")


def test_a_run_without_rounds_is_fine_tuning(data, tmp_path):
    run(data, tmp_path / "none", settings(**{**TOPICS, "self_learning__rounds": 0}))
    run(data, tmp_path / "finetune", settings(task="classification", train__epochs=1, train__eval_every=2))
    assert_same_run(tmp_path / "none", tmp_path / "finetune")


def test_a_changed_file_is_refused_on_resume(data, tmp_path):
    chosen, out = settings(**TOPICS), tmp_path / "run"
    stopped(data, out, chosen, 4)                                      # in the second round
    path = out / FOLDER / "round-1.es.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match=f"^{path}: the file is damaged"):
        run(data, out, chosen, resume=True)


def test_drawing_when_everything_is_selected_is_refused(data, tmp_path):
    chosen = settings(**{**TOPICS, "self_learning__schedule": "all", "self_learning__select": "random"})
    with pytest.raises(UserError, match="^self_learning.select: expected surest with self_learning.schedule=all, .* got random$"):
        run(data, tmp_path / "run", chosen, inputs=labelled_spanish(data, "classification"))


@pytest.mark.parametrize("rule, role", [("source-dev", "a source language"), ("target-dev", "a target language")])
def test_a_stop_rule_needs_its_dev_file(data, tmp_path, rule, role):
    with pytest.raises(UserError, match=f"^self_learning.stop_on: {rule} expected a dev file of {role}"):
        run(data, tmp_path / "run", settings(**{**TOPICS, "self_learning__stop_on": rule}),
            inputs=inputs(data, "classification", dev=[]))
    assert not (tmp_path / "run").exists()


def test_text_is_needed(data, tmp_path):
    with pytest.raises(UserError, match="^--unlabelled: self-learning reads unlabelled text, so it needs text in a language other"):
        run(data, tmp_path / "run", settings(**TOPICS), inputs=inputs(data, "classification", unlabelled=[]))
