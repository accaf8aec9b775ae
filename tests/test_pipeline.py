"""AdvPicker from its inputs to its folder: stops in every stage, kills between them, seeds, ablations, studies, mistakes."""
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import minixl.pipeline
import minixl.run_folder
import minixl.runs
from minixl.errors import UserError
from minixl.methods.advpicker import independence
from minixl.pseudo_labels import read_pseudo_labels
from minixl.seeds import train_seeds
from tests.whole_runs import Quiet, assert_same_run, inputs, records, run, settings, stopped, write_data

TEACHER_STEPS, STUDENT_STEPS = 6, 4    # 12 sentences and one epoch; 4 selected sentences and two epochs; batches of 2


def advpicker(**changes):
    return settings(**{"method": "advpicker", "advpicker__teachers": 2, "advpicker__epochs": 1, "advpicker__rho": 0.75,
                       "train__epochs": 2, "train__batch_size": 2, "train__eval_every": 4, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    run(folder, out, advpicker())
    return out


def modified(out):
    """file -> when it was written, of everything below a folder."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in sorted(out.rglob("*"))
            if path.is_file() and path.name != ".lock"}


def assert_same_pipeline(one, two):
    for part in ("teachers/seed-1", "teachers/seed-2", "."):
        assert_same_run(one / part, two / part)
    stored = sorted(path.name for path in (one / "pseudo-labels").iterdir())
    assert stored == sorted(path.name for path in (two / "pseudo-labels").iterdir())       # no .new left either
    for name in stored:
        if name.endswith(".conll"):
            assert (one / "pseudo-labels" / name).read_text() == (two / "pseudo-labels" / name).read_text()
        else:
            theirs = load_file(two / "pseudo-labels" / name)
            for key, value in load_file(one / "pseudo-labels" / name).items():
                np.testing.assert_array_equal(value, theirs[key], err_msg=f"{name} {key}")


def test_what_a_run_leaves(whole):
    assert {"config.toml", "inputs.json", "log.jsonl", "metrics.json", "report.html", "model", "checkpoint", "teachers",
            "pseudo-labels"} <= {path.name for path in whole.iterdir()}
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["method"] == "advpicker" and set(metrics["test"]) == {"en", "es"} and metrics["steps"] == STUDENT_STEPS
    assert [json.loads((whole / "teachers" / f"seed-{k}" / "metrics.json").read_text())["steps"] for k in (1, 2)] == [TEACHER_STEPS] * 2
    assert "discriminator.dense.weight" not in load_file(whole / "model" / "model.safetensors")


def test_the_selected_sentences_are_the_most_language_independent(whole):
    for language, count, selected in (("es", 4, 3), ("fr", 2, 1)):     # int(0.75 N) of each language for itself
        labels = read_pseudo_labels(whole / "pseudo-labels" / f"{language}.safetensors")
        scores = independence(labels.merged.p_bar)
        assert len(scores) == count and labels.selected.sum() == selected == int(0.75 * count)
        assert scores[labels.selected].min() >= scores[~labels.selected].max()
        text = (whole / "pseudo-labels" / f"{language}.conll").read_text()
        assert text.count("# sentence") == count and text.count(", selected") == selected
    streams = json.loads((whole / "checkpoint" / "latest.json").read_text())["streams"]
    assert len(streams["source"]["order"]) == 4                        # what the student learns from


@pytest.mark.parametrize("steps", [2, 6, 7, 11, 12, 13, 15])
def test_resume_is_bit_equal_in_every_stage(folder, whole, tmp_path, steps):
    """In teacher 1, at its end, in teacher 2, at its end, in the student."""
    out = tmp_path / "run"
    stopped(folder, out, advpicker(), steps)
    assert not (out / "metrics.json").exists() and not (out / "model").exists()
    before = modified(out / "teachers" / "seed-1") if steps >= TEACHER_STEPS else {}
    reporter = Quiet()
    run(folder, out, advpicker(), resume=True, reporter=reporter)
    assert_same_pipeline(whole, out)
    assert reporter.steps == 2 * TEACHER_STEPS + STUDENT_STEPS - steps         # none is done twice
    if before:                                                                 # a finished teacher is left as it is
        assert modified(out / "teachers" / "seed-1") == before
        assert not any(message.startswith("teacher 1 ") for message in reporter.messages)


@pytest.mark.parametrize(("module", "name", "after"), [
    ("runs", "begin", 0), ("run_folder", "write_atomically", 1), ("run_folder", "write_atomically", 3),
    ("runs", "save_model", 0), ("runs", "save_model", 1), ("runs", "save_model", 2), ("runs", "write_report", 1),
    ("runs", "write_metrics", 0), ("runs", "write_metrics", 2), ("pipeline", "score_sentences", 0),
    ("pipeline", "score_sentences", 3), ("pipeline", "write_scored", 2), ("pipeline", "write_conll", 1),
    ("pipeline", "write_pseudo_labels", 0), ("pipeline", "write_pseudo_labels", 1), ("runs", "student_examples", 0)])
def test_a_kill_between_stages_loses_nothing(folder, whole, tmp_path, monkeypatch, module, name, after):
    """The process dies in the `after`-th call: what is there then is whole, and the rest is made as if nothing had been."""
    place = getattr(minixl, module)
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
