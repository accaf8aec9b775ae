"""AdvPicker with the teachers of another run: the same student, nothing scored twice, and nothing written into that run."""
import hashlib
import json
import shutil
from collections import Counter

import pytest
from safetensors.numpy import load_file

from minixl.errors import UserError
from minixl.methods import train
from tests.methods.advpicker.stored import read_pseudo_labels
from tests.tiny import write_encoder
from tests.whole_runs import STUDENT_STEPS, TEACHER_STEPS, Quiet, advpicker, assert_same_run, inputs, run, stopped


def contents(out):
    """file -> bytes, of everything below a folder."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_student_is_the_same(folder, whole, tmp_path):
    before, reporter = contents(whole), Quiet()
    run(folder, tmp_path / "run", advpicker(advpicker__teachers_from=str(whole)), reporter=reporter)
    assert_same_run(whole, tmp_path / "run")
    assert reporter.steps == STUDENT_STEPS and not reporter.over("labelling")      # nothing is trained or scored again
    assert not (tmp_path / "run" / "teachers").exists() and contents(whole) == before
    assert names(tmp_path / "run" / "pseudo-labels") == ["es.conll", "es.safetensors", "fr.conll", "fr.safetensors"]


def test_one_student_a_language(folder, whole, tmp_path):
    """The labels are those of the teachers of both languages; the student learns from one."""
    reporter = Quiet()
    chosen = advpicker(advpicker__teachers_from=str(whole))
    only = inputs(folder, unlabelled=[("es", folder / "es.raw")])
    run(folder, tmp_path / "es", chosen, inputs=only, reporter=reporter)
    assert names(tmp_path / "es" / "pseudo-labels") == ["es.conll", "es.safetensors"]
    assert (tmp_path / "es" / "pseudo-labels" / "es.conll").read_text() == (whole / "pseudo-labels" / "es.conll").read_text()
    stopped(folder, tmp_path / "again", chosen, 1, inputs=only)
    run(folder, tmp_path / "again", chosen, inputs=only, resume=True)
    assert_same_run(tmp_path / "es", tmp_path / "again")


def test_what_was_made_from_something_else_is_made_again(folder, whole, tmp_path):
    """Other text in Spanish: scored in this run's folder, while the French scores are read in the other run's."""
    (tmp_path / "es.raw").write_text("ben vive en madrid .\nanna\nparis\n")
    before, reporter = contents(whole), Quiet()
    run(folder, tmp_path / "run", advpicker(advpicker__teachers_from=str(whole), advpicker__rho=0.5), reporter=reporter,
        inputs=inputs(folder, unlabelled=[("es", tmp_path / "es.raw"), ("fr", folder / "fr.raw")]))
    assert names(tmp_path / "run" / "pseudo-labels") == [
        "es.conll", "es.safetensors", "es.seed-1.safetensors", "es.seed-2.safetensors", "fr.conll", "fr.safetensors"]
    assert len(reporter.over("labelling")) == 2 and contents(whole) == before
    selected = [read_pseudo_labels(tmp_path / "run" / "pseudo-labels" / f"{language}.safetensors").selected
                for language in ("es", "fr")]
    assert [(len(chosen), chosen.sum()) for chosen in selected] == [(3, 1), (2, 1)]


@pytest.mark.parametrize("variant", ["all-data", "without-kd"])
def test_ablations_train_no_teachers(folder, whole, tmp_path, variant):
    reporter = Quiet()
    metrics = run(folder, tmp_path / "run", advpicker(advpicker__teachers_from=str(whole), advpicker__variant=variant),
                  reporter=reporter)
    assert reporter.steps == metrics["steps"] == (6 if variant == "all-data" else 0)
    assert not (tmp_path / "run" / "teachers").exists()


def test_seeds_use_them_too(folder, whole, tmp_path):
    reporter = Quiet()
    train(advpicker(advpicker__teachers_from=str(whole)), inputs(folder), tmp_path / "runs", seeds=[3], reporter=reporter)
    assert reporter.steps == STUDENT_STEPS
    assert_same_run(whole, tmp_path / "runs" / "seed-3")


def test_a_teacher_that_changed_is_noticed(folder, whole, tmp_path):
    elsewhere = shutil.copytree(whole, tmp_path / "whole")
    chosen = advpicker(advpicker__teachers_from=str(elsewhere))
    stopped(folder, tmp_path / "run", chosen, 1)
    info = elsewhere / "teachers" / "seed-2" / "model" / "minixl.json"
    info.write_text(info.read_text().replace('"max_length": 32', '"max_length": 31'))
    with pytest.raises(UserError, match="es.safetensors: made from something else: teacher seed-2 has changed; delete the file"):
        run(folder, tmp_path / "run", chosen, resume=True)


def test_teachers_and_texts_are_hashed_once_a_run(folder, whole, tmp_path, monkeypatch):
    """They are large, and the digests are asked for at every score that is read or written."""
    seen, real = Counter(), hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: seen.update([file.name]) or real(file, kind))
    run(folder, tmp_path / "run", advpicker(advpicker__teachers_from=str(whole), advpicker__audit=True))
    for path in (folder / "es.raw", folder / "es.txt", folder / "encoder" / "model.safetensors",
                 *(whole / "teachers" / f"seed-{seed}" / "model" / "model.safetensors" for seed in (1, 2))):
        roles = 2 if path.name == "es.txt" else 1                                  # dev and test
        assert seen[str(path)] == roles, path


def test_the_study_needs_every_score(folder, whole, tmp_path):
    """Where the labels are merged already and the other run's scores have been deleted, they are made again."""
    elsewhere = shutil.copytree(whole, tmp_path / "whole")
    chosen = advpicker(advpicker__teachers_from=str(elsewhere), advpicker__audit=True)
    stopped(folder, tmp_path / "run", chosen, 1)
    (elsewhere / "pseudo-labels" / "es.seed-1.safetensors").unlink()
    run(folder, tmp_path / "run", chosen, resume=True)
    made, stored = (load_file(out / "pseudo-labels" / "es.seed-1.safetensors") for out in (tmp_path / "run", whole))
    assert all((made[name] == stored[name]).all() for name in stored) and (tmp_path / "run" / "audit.json").is_file()


def test_mistakes_are_one_line_and_leave_nothing(folder, whole, tmp_path):
    unfinished, other = tmp_path / "unfinished", tmp_path / "other"
    stopped(folder, unfinished, advpicker(), TEACHER_STEPS + 1)
    write_encoder(other / "encoder")
    config = json.loads((other / "encoder" / "config.json").read_text())
    (other / "encoder" / "config.json").write_text(json.dumps(config | {"another": 1}))
    (other / "per.txt").write_text("anna\tB-PER\nvive\tO\n\nben\tB-PER\n")
    per = ("en", other / "per.txt")
    elsewhere = inputs(folder)
    elsewhere.encoder = other / "encoder"
    none, pos = tmp_path / "none", inputs(folder)
    cases = [
        (none, {}, pos, f"expected a finished teacher in {none}/teachers/seed-1, found none; name the folder that holds "),
        (whole, {"advpicker__teachers": 3}, pos, f"{whole}/teachers/seed-3, found none; .* or lower advpicker.teachers=3$"),
        (unfinished, {}, pos, f"{unfinished}/teachers/seed-2, found an unfinished one; finish that run with --resume$"),
        (whole, {"task": "pos"}, pos, f"{whole}/teachers/seed-1: expected a teacher with the task pos, found ner; give "),
        (whole, {}, inputs(folder, source=[per], dev=[], test=[]), "expected a teacher with the labels .*, found .*B-LOC"),
        (whole, {}, elsewhere, f"expected a teacher with the encoder {other}/encoder, found another; give that run's --source"),
    ]
    for teachers, changes, files, message in cases:
        with pytest.raises(UserError, match=message) as error:
            run(folder, tmp_path / "run", advpicker(advpicker__teachers_from=str(teachers), **changes), inputs=files)
        assert "\n" not in str(error.value) and str(error.value).startswith("advpicker.teachers_from: ")
        assert not (tmp_path / "run").exists()
