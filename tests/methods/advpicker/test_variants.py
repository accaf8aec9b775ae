"""AdvPicker's ablations, added terms, other tasks, studies, and a user's mistakes, as whole runs."""
import json

import numpy as np
import pytest

from minixl.errors import UserError
from minixl.methods import SCHEMA, resolve, train
from minixl.run.prepare import prepare
from minixl.training.config import read_config
from tests.methods.advpicker.stored import read_pseudo_labels
from tests.whole_runs import (STUDENT_STEPS, TEACHER_STEPS, Quiet, advpicker, assert_same_pipeline, assert_same_run, inputs,
                              records, run, stopped)


@pytest.mark.parametrize("name", ["all-data", "without-kd", "tladv", "ft"])
def test_ablations(folder, whole, tmp_path, name):
    out = tmp_path / "run"
    metrics = run(folder, out, advpicker(advpicker__variant=name))
    assert metrics == json.loads((out / "metrics.json").read_text()) and set(metrics["test"]) == {"en", "es"}
    assert (out / "report.html").is_file()
    if name == "all-data":                                                     # everything is selected, the teachers are the same
        assert read_pseudo_labels(out / "pseudo-labels" / "es.safetensors").selected.all()
        assert metrics["steps"] == 6
        assert_same_run(whole / "teachers" / "seed-1", out / "teachers" / "seed-1")
    elif name == "without-kd":
        assert not (out / "model").exists() and metrics["steps"] == 0
        assert [path.name for path in (out / "pseudo-labels").iterdir()] == ["test"]      # no unlabelled text is scored
        assert_same_run(whole / "teachers" / "seed-2", out / "teachers" / "seed-2")
    else:
        method = {"tladv": "language-adversarial", "ft": "finetune"}[name]
        assert metrics["method"] == method and metrics["steps"] == TEACHER_STEPS and not (out / "teachers").exists()
        losses = {record["loss"] for record in records(out) if record["kind"] == "update"}
        assert losses == ({"task"} if name == "ft" else {"task", "discriminator", "generator"})


def test_one_teacher_tags_alone_as_it_is_scored(folder, tmp_path):
    """Without a student and with one teacher the scores are those of the teacher's own run."""
    metrics = run(folder, tmp_path / "run", advpicker(advpicker__variant="without-kd", advpicker__teachers=1))
    teacher = json.loads((tmp_path / "run" / "teachers" / "seed-1" / "metrics.json").read_text())
    assert metrics["test"] == teacher["test"]


@pytest.mark.parametrize("level", ["token", "sentence"])
def test_a_student_with_an_adversary_of_its_own(folder, tmp_path, level):
    chosen = advpicker(adversary__level=level, linkage__level="sentence")
    run(folder, tmp_path / "whole", chosen)
    losses = [record["loss"] for record in records(tmp_path / "whole") if record["kind"] == "update"]
    assert losses == ["task", "discriminator", "generator", "average linkage"] * STUDENT_STEPS
    stopped(folder, tmp_path / "run", chosen, 2 * TEACHER_STEPS + 1)
    run(folder, tmp_path / "run", chosen, resume=True)
    assert_same_pipeline(tmp_path / "whole", tmp_path / "run")


def test_frozen_layers_are_kept_in_every_stage(folder, tmp_path):
    chosen = advpicker(model__freeze=["bottom:1"], model__keep_frozen=True, train__accumulate=2)
    run(folder, tmp_path / "whole", chosen)
    stopped(folder, tmp_path / "run", chosen, TEACHER_STEPS + 1)
    stopped(folder, tmp_path / "run", chosen, TEACHER_STEPS, resume=True)
    run(folder, tmp_path / "run", chosen, resume=True)
    assert_same_pipeline(tmp_path / "whole", tmp_path / "run")


def test_part_of_speech_tags(folder, tmp_path):
    for language in ("en", "es"):
        text = (folder / f"{language}.txt").read_text()
        (tmp_path / f"{language}.txt").write_text(text.replace("B-PER", "NOUN").replace("I-PER", "NOUN").replace("B-LOC", "PROPN"))
    en, es = (("en", tmp_path / "en.txt"), ("es", tmp_path / "es.txt"))
    metrics = run(folder, tmp_path / "run", advpicker(task="pos", advpicker__audit=True),
                  inputs=inputs(folder, source=[en], dev=[en], test=[es], unlabelled=[es]))
    assert set(metrics["test"]["es"]) == {"accuracy", "macro_f1", "by_tag", "support"}
    rows = json.loads((tmp_path / "run" / "audit.json").read_text())["languages"]["es"]["pseudo_labels"]
    assert [row["part"] for row in rows] == ["selected", "other", "all"] and 0 <= rows[2]["accuracy"] <= 1


def test_the_studies(folder, tmp_path):
    """Counts and scores are those of the pseudo-labels on disk and of the scores in metrics.json."""
    es, fr = ("es", folder / "es.txt"), ("fr", folder / "fr.raw")
    reporter = Quiet()
    metrics = run(folder, tmp_path / "run", advpicker(advpicker__audit=True), reporter=reporter,
                  inputs=inputs(folder, unlabelled=[es, fr]))
    studies = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert set(studies["languages"]) == {"es", "fr"} and set(studies["test"]) == {"es"}
    rows = studies["languages"]["es"]
    labels = read_pseudo_labels(tmp_path / "run" / "pseudo-labels" / "es.safetensors")
    assert rows["sizes"] == {"selected": 4, "other": 2, "all": 6} and labels.selected.sum() == 4
    assert [row["sentences"] for row in rows["pseudo_labels"]] == [4, 2, 6]
    assert [row["support"] for row in rows["pseudo_labels"]][2] == 10 == sum(r["support"] for r in rows["pseudo_labels"][:2])
    assert sum(row["sentences"] for row in rows["histogram"]) == 6 and sum(row["selected"] for row in rows["histogram"]) == 4
    assert [row["rho"] for row in rows["sweep"]] == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert rows["sweep"][-1]["f1"] == rows["pseudo_labels"][2]["f1"]
    same = rows["sweep"][5]                                                    # int(0.7 · 6) = int(0.75 · 6)
    assert same == {"rho": 0.7, **rows["pseudo_labels"][0]} and same["support"] != rows["pseudo_labels"][1]["support"]
    assert [row["chosen"] for row in rows["teachers"]] == np.bincount(labels.merged.teacher, minlength=2).tolist()
    assert "pseudo_labels" not in studies["languages"]["fr"] and studies["languages"]["fr"]["sizes"]["all"] == 2
    assert f"warning: advpicker.audit: {folder}/fr.raw has no tags to compare pseudo-labels with" in reporter.messages
    test = studies["test"]["es"]
    assert [row["sentences"] for row in test["student"]] == [4, 2, 6] == [row["sentences"] for row in test["teachers"]]
    assert test["student"][2]["f1"] == metrics["test"]["es"]["f1"]             # the selected student, not the last step's
    # es.txt is unlabelled text and test file at once: the teachers' tags are the pseudo-labels
    assert test["teachers"] == rows["pseudo_labels"]


def test_the_teachers_score_test_files_once_for_all_students(folder, tmp_path):
    reporter, out = Quiet(), tmp_path / "runs"
    train(advpicker(advpicker__audit=True), inputs(folder), out, seeds=[1, 2], reporter=reporter)
    labelled = [message for message in reporter.messages if "test sentences" in message]
    assert len(labelled) == len(set(labelled)) == 2 * len(inputs(folder).test)           # two teachers
    assert {path.name for path in (out / "pseudo-labels" / "test").iterdir()} == {
        f"{language}.seed-{seed}.safetensors" for language, _ in inputs(folder).test for seed in (1, 2)}
    one, two = (json.loads((out / f"seed-{seed}" / "audit.json").read_text())["test"] for seed in (1, 2))
    assert one.keys() == two.keys() and all(one[language]["teachers"] == two[language]["teachers"] for language in one)


def test_the_tags_of_unlabelled_files_change_no_training(folder, whole, tmp_path):
    """Wrong tags in the file: the same model bit by bit, with and without the study."""
    files = []
    for language in ("es", "fr"):
        words = [line.replace(".", " .").split() for line in (folder / f"{language}.raw").read_text().splitlines()]
        path = tmp_path / f"{language}.txt"
        path.write_text("\n\n".join("\n".join(f"{word}\tB-LOC" for word in sentence) for sentence in words) + "\n")
        files.append((language, path))
    run(folder, tmp_path / "run", advpicker(advpicker__audit=True), inputs=inputs(folder, unlabelled=files))
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize(("changes", "found"), [
    ({}, ["one student learns all 2 target languages; the paper (Chen et al. 2021) trains one for each (advpicker.teachers_from)"]),
    ({"advpicker__variant": "without-kd"}, []),
    *[({"advpicker__variant": variant}, []) for variant in ("tladv", "ft")],
    *[({"advpicker__variant": variant, "advpicker__audit": True},
       [f"warning: advpicker.audit has no effect: advpicker.variant={variant} makes no pseudo-labels"])
      for variant in ("tladv", "ft")]])
def test_messages_about_a_variant(folder, changes, found):
    method, chosen, messages = resolve(advpicker(**changes))
    messages += prepare(method, chosen, inputs(folder), 1).messages
    assert [message for message in messages if message.startswith(("one student", "warning: advpicker.audit"))] == found


def test_input_messages_appear_once_for_all_stages(folder, tmp_path):
    reporter = Quiet()
    run(folder, tmp_path / "run", advpicker(), reporter=reporter)
    for said in ("source en:", "unlabelled es:", "dev en:", "test es:"):
        assert sum(message.startswith(said) for message in reporter.messages) == 1, said
    assert {"teacher 1 of 2", "teacher 2 of 2"} <= set(reporter.messages)


@pytest.mark.parametrize("variant", ["tladv", "ft"])
def test_the_limit_of_steps_holds_for_a_run_of_one_stage(folder, tmp_path, variant):
    metrics = run(folder, tmp_path / "run", advpicker(advpicker__variant=variant, train__max_steps=2))
    assert metrics["steps"] == 2 and read_config(tmp_path / "run", SCHEMA)[0]["train.max_steps"] == 2


MISTAKES = {
    "nothing to tag": ({"advpicker__variant": "without-kd"}, {"test": []}, "--test: advpicker.variant=without-kd needs a test"),
    "empty": ({}, {"unlabelled": [("es", "empty")]}, "empty: expected text in es, found none; is this the right file?"),
    "no text": ({}, {"unlabelled": []}, "--unlabelled: advpicker reads unlabelled text, so it needs text in a language other "
                                        "than en, for example --unlabelled es=es.txt; found none"),
    "source text": ({}, {"unlabelled": [("en", "es.raw")]}, "needs text in a language other than en, .*; found en$"),
    "nothing selected": ({"advpicker__rho": 0.4}, {}, "advpicker.rho: 0.4 selects none of the 2 sentences of .*fr.raw; expected "),
    "classification": ({"task": "classification"}, {}, "method: advpicker trains taggers .task ner or pos., got task classific"),
    "bilstm-crf": ({"model__type": "bilstm-crf"}, {}, "model.type: method advpicker compares the hidden states of a transformer"),
    "all frozen": ({"model__freeze": ["bert.*"]}, {}, "model.freeze: all parameters of the encoder are frozen"),
    "nothing to keep": ({"model__keep_frozen": True}, {}, "model.keep_frozen: expected frozen embeddings, found trainable ones"),
    "broken tags": ({"advpicker__audit": True}, {"unlabelled": [("es", "broken")]}, "broken:2: expected"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(folder, tmp_path, name):
    changes, roles, message = MISTAKES[name]
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "broken").write_text("anna\tB-PER\nvive\t\n\nben\tB-PER\n" + "\nparis\tB-LOC\n")
    roles = {role: [(language, (tmp_path if file in ("empty", "broken") else folder) / file) for language, file in pairs]
             for role, pairs in roles.items()}
    chosen = advpicker(**changes)
    with pytest.raises(UserError, match=message) as error:
        run(folder, tmp_path / "run", chosen, inputs=inputs(folder, chosen["task"], **roles))
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
