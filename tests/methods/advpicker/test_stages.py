"""AdvPicker from its inputs to its folder: stops in every stage, kills between them, changed inputs, several seeds."""
import importlib
import json
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.errors import UserError
from minixl.methods import resolve, train
from minixl.methods.advpicker import files
from minixl.methods.advpicker.labels import independence, score_sentences
from minixl.methods.advpicker.student import student_examples
from minixl.run.prepare import prepare
from minixl.training.progress import Stopped
from tests.methods.advpicker.stored import read_pseudo_labels
from tests.whole_runs import (STUDENT_STEPS, TEACHER_STEPS, Quiet, advpicker, assert_same_pipeline, assert_same_run, inputs, run,
                              stopped)


def modified(out):
    """file -> when it was written, of everything below a folder."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in sorted(out.rglob("*"))
            if path.is_file() and path.name != ".lock"}


def test_what_a_run_leaves(whole):
    assert {"config.toml", "inputs.json", "log.jsonl", "metrics.json", "report.html", "model", "teachers",
            "pseudo-labels"} <= {path.name for path in whole.iterdir()}
    assert not list(whole.rglob("checkpoint"))                         # neither the student's nor a teacher's
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["method"] == "advpicker" and set(metrics["test"]) == {"en", "es"} and metrics["steps"] == STUDENT_STEPS
    for teacher in (whole / "teachers" / "seed-1", whole / "teachers" / "seed-2"):
        assert json.loads((teacher / "metrics.json").read_text())["steps"] == TEACHER_STEPS
        assert any(name.startswith("discriminator.") for name in load_file(teacher / "model" / "model.safetensors"))
    assert not any(name.startswith("discriminator.") for name in load_file(whole / "model" / "model.safetensors"))


def test_the_selected_sentences_are_the_most_language_independent(whole):
    for language, count, selected in (("es", 4, 3), ("fr", 2, 1)):     # int(0.75 N) of each language for itself
        labels = read_pseudo_labels(whole / "pseudo-labels" / f"{language}.safetensors")
        scores = independence(labels.merged.p_bar)
        assert len(scores) == count and labels.selected.sum() == selected == int(0.75 * count)
        assert scores[labels.selected].min() >= scores[~labels.selected].max()
        text = (whole / "pseudo-labels" / f"{language}.conll").read_text()
        numbers = [int(line.split()[2][:-1]) - 1 for line in text.splitlines() if line.startswith("# sentence ")]
        assert numbers == np.flatnonzero(labels.selected).tolist()                 # what was selected, and nothing else


def test_the_student_learns_from_the_selected_sentences(folder, tmp_path):
    run(folder, tmp_path / "run", advpicker(train__keep_checkpoint=True, advpicker__teachers=1))
    assert len(list((tmp_path / "run").rglob("checkpoint"))) == 2      # the teacher's too
    streams = json.loads((tmp_path / "run" / "checkpoint" / "latest.json").read_text())["streams"]
    assert len(streams["source"]["order"]) == 4                        # of the 4 and 2 of the languages, 3 and 1 are selected


@pytest.mark.parametrize("steps", [2, 6, 7, 11, 12, 13, 15])
def test_resume_is_bit_equal_in_every_stage(folder, whole, tmp_path, steps):
    """In teacher 1, in its scoring, in teacher 2, in its scoring, in the student."""
    out = tmp_path / "run"
    stopped(folder, out, advpicker(), steps)
    assert not (out / "metrics.json").exists() and not (out / "model").exists()
    before = modified(out / "teachers" / "seed-1") if steps > TEACHER_STEPS else {}
    reporter = Quiet()
    run(folder, out, advpicker(), resume=True, reporter=reporter)
    assert_same_pipeline(whole, out)
    assert reporter.steps == 2 * TEACHER_STEPS + STUDENT_STEPS - steps         # none is done twice
    if before:                                                                 # a finished teacher is left as it is
        assert modified(out / "teachers" / "seed-1") == before
        assert not any(message.startswith("teacher 1 ") for message in reporter.messages)


@pytest.mark.parametrize(("module", "name", "after"), [
    ("run.job", "begin", 0), ("run.folder", "write_atomically", 1), ("run.folder", "write_atomically", 3),
    ("run.job", "save_model", 0), ("run.job", "save_model", 1), ("run.job", "save_model", 2), ("run.job", "write_report", 1),
    ("run.job", "write_metrics", 0), ("run.job", "write_metrics", 2), ("methods.advpicker.files", "score_sentences", 0),
    ("methods.advpicker.files", "score_sentences", 3), ("run.once", "write", 2), ("methods.advpicker.files", "write_conll", 1),
    ("run.once", "write", 4), ("run.once", "write", 5), ("methods.advpicker.student", "student_examples", 0)])
def test_a_kill_between_stages_loses_nothing(folder, whole, tmp_path, monkeypatch, module, name, after):
    """The process dies in the `after`-th call: what is there then is whole, and the rest is made as if nothing had been."""
    place = importlib.import_module(f"minixl.{module}")
    real, calls = getattr(place, name), []

    def die(*args, **how):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*args, **how)

    out = tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(place, name, die)
        run(folder, out, advpicker())
    assert not (out / "metrics.json").exists()
    before = modified(out)
    run(folder, out, advpicker(), resume=(out / "config.toml").is_file())
    assert_same_pipeline(whole, out)
    kept = [part for part in ("teachers/seed-1", "teachers/seed-2") if f"{part}/metrics.json" in before]
    after_it = modified(out)
    assert all(after_it[file] == time for file, time in before.items() if file.startswith(tuple(kept) or "nothing"))
    scores = [file for file in before if file.startswith("pseudo-labels/") and ".seed-" in file]
    assert all(after_it[file] == before[file] for file in scores)


def test_text_that_changed_is_named(folder, tmp_path):
    """Before a stop, and after the teachers are finished."""
    text = tmp_path / "es.raw"
    text.write_text((folder / "es.raw").read_text())
    given = inputs(folder, unlabelled=[("es", text)])
    for out, steps in ((tmp_path / "early", 2), (tmp_path / "late", 2 * TEACHER_STEPS + 1)):
        stopped(folder, out, advpicker(), steps, inputs=given)
        text.write_text((folder / "es.raw").read_text() + "ben vive en madrid .\n")
        with pytest.raises(UserError, match="--resume: .*es.raw has changed since the run began") as error:
            run(folder, out, advpicker(), resume=True, inputs=given)
        assert "\n" not in str(error.value)
        text.write_text((folder / "es.raw").read_text())
    run(folder, out, advpicker(), resume=True, inputs=given)


def test_labels_of_other_teachers_are_not_used(folder, tmp_path):
    stopped(folder, tmp_path / "run", advpicker(), 2 * TEACHER_STEPS + 1)
    info = tmp_path / "run" / "teachers" / "seed-2" / "model" / "minixl.json"
    info.write_text(info.read_text().replace('"max_length": 32', '"max_length": 31'))
    with pytest.raises(UserError, match="es.safetensors: made from something else: teacher seed-2 has changed; delete the file"):
        run(folder, tmp_path / "run", advpicker(), resume=True)


def test_a_teacher_of_other_settings_is_not_used(folder, tmp_path):
    """As it happens where two runs are pointed at one folder of teachers."""
    stopped(folder, tmp_path / "run", advpicker(), TEACHER_STEPS)
    teacher = tmp_path / "run" / "teachers" / "seed-1" / "config.toml"
    teacher.write_text(teacher.read_text().replace("epochs = 1", "epochs = 7"))
    with pytest.raises(UserError, match="train.epochs was 7 when the run began, now it is 1"):
        run(folder, tmp_path / "run", advpicker(), resume=True)


def test_a_teacher_of_other_text_is_not_used(folder, tmp_path):
    stopped(folder, tmp_path / "run", advpicker(), TEACHER_STEPS)
    digests = tmp_path / "run" / "teachers" / "seed-1" / "inputs.json"
    digests.write_text(json.dumps(json.loads(digests.read_text()) | {str(folder / "en.txt"): "another"}))
    with pytest.raises(UserError, match="en.txt has changed since the run began"):
        run(folder, tmp_path / "run", advpicker(), resume=True)


def test_the_student_learns_the_labels_of_its_own_sentences(folder, whole):
    """Rows of all languages stand in one table: every word must find its sentence's."""
    method, chosen, _ = resolve(advpicker())
    prepared = prepare(method, chosen, inputs(folder), 1)
    labels = {language: read_pseudo_labels(whole / "pseudo-labels" / f"{language}.safetensors") for language in ("es", "fr")}
    examples, targets = student_examples(prepared.unlabelled_targets, labels)
    found = iter(examples)
    for label in labels.values():
        for i in np.flatnonzero(label.selected):
            first, last = label.merged.starts[i:i + 2]
            np.testing.assert_array_equal(targets[next(found).labels], label.merged.probabilities[first:last])
    assert next(found, None) is None


def test_seeds_share_the_teachers(folder, whole, tmp_path):
    reporter = Quiet()
    summary = train(advpicker(), inputs(folder), tmp_path / "runs", seeds=[3, 4], reporter=reporter)
    assert reporter.steps == 2 * TEACHER_STEPS + 2 * STUDENT_STEPS
    labelling = [f"teacher seed-{seed} labels {count} unlabelled sentences in {language}"
                 for seed in (1, 2) for language, count in (("es", 4), ("fr", 2))]
    assert [message for message in reporter.messages if message.startswith("teacher ")] == [
        "teacher 1 of 2", "teacher 2 of 2", *labelling]
    assert not list(tmp_path.glob("runs/seed-*/teachers"))
    assert_same_run(whole, tmp_path / "runs" / "seed-3")                       # as if it had been the only one
    assert len(summary["test"]["es"]["f1"]["runs"]) == 2
    one, two = (load_file(tmp_path / "runs" / f"seed-{seed}" / "model" / "model.safetensors") for seed in (3, 4))
    assert not np.array_equal(one["classifier.weight"], two["classifier.weight"])


def test_labelling_shows_its_progress_and_stops_between_two_batches(folder, tmp_path, monkeypatch):
    """A text is labelled whole or not at all; what was labelled before is not labelled again."""
    monkeypatch.setattr(files, "score_sentences", partial(score_sentences, tokens=8))
    reporter = Quiet()
    with pytest.raises(Stopped):                                               # in the second batch of the second text
        run(folder, tmp_path / "run", advpicker(), reporter=reporter,
            stop=lambda: len(reporter.over("labelling")) == 2 and reporter.over("labelling")[1][1] > 0)
    (whole_text, done), (total, part) = reporter.over("labelling")
    assert done == whole_text and 0 < part < total
    assert sorted(path.name for path in (tmp_path / "run" / "pseudo-labels").iterdir()) == ["es.seed-1.safetensors"]
    reporter = Quiet()
    run(folder, tmp_path / "run", advpicker(), reporter=reporter, resume=True)
    assert [total for total, _ in reporter.over("labelling")] == [total, whole_text, total]
    assert all(total == done for total, done in reporter.over("labelling"))


def test_seeds_resume_in_the_second_student(folder, tmp_path):
    reporter = Quiet()
    how = {"seeds": [3, 4], "reporter": reporter}
    with pytest.raises(Stopped):
        train(advpicker(), inputs(folder), tmp_path / "runs", stop=lambda: reporter.steps >= 2 * TEACHER_STEPS + 6, **how)
    train(advpicker(), inputs(folder), tmp_path / "runs", resume=True, **how)
    assert reporter.steps == 2 * TEACHER_STEPS + 2 * STUDENT_STEPS
    train(advpicker(), inputs(folder), tmp_path / "whole", seeds=[4], reporter=Quiet())
    assert_same_run(tmp_path / "whole" / "seed-4", tmp_path / "runs" / "seed-4")


@pytest.mark.parametrize("chosen", [advpicker(), advpicker(advpicker__variant="ft")], ids=["full", "ft"])
def test_seeds_resume_notices_text_that_changed_after_a_finished_run(folder, tmp_path, chosen):
    text = tmp_path / "es.raw"
    text.write_text((folder / "es.raw").read_text())
    given = inputs(folder, unlabelled=[("es", text)])
    train(chosen, given, tmp_path / "runs", seeds=[1], reporter=Quiet())
    text.write_text("ben vive en madrid .\n" * 4)
    with pytest.raises(UserError, match="es.raw has changed since the run began"):
        train(chosen, given, tmp_path / "runs", seeds=[1, 2], reporter=Quiet(), resume=True)


def test_seeds_of_an_ablation_can_be_resumed(folder, tmp_path):
    """config.toml has the ablation's method, the settings that were asked for have another."""
    how = {"seeds": [1, 2], "reporter": Quiet()}
    first = train(advpicker(advpicker__variant="ft"), inputs(folder), tmp_path / "runs", **how)
    assert train(advpicker(advpicker__variant="ft"), inputs(folder), tmp_path / "runs", resume=True, **how) == first


def test_seeds_that_make_no_difference_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="advpicker.variant=without-kd: expected one seed, found 2; a seed only changes"):
        train(advpicker(advpicker__variant="without-kd"), inputs(folder), tmp_path / "runs", seeds=[1, 2], reporter=Quiet())
    assert not (tmp_path / "runs").exists()
