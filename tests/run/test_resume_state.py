"""What a stopped run must find again: its counters, its early stopping, its checkpoints, its log, the files it began with."""
import json
import time
from pathlib import Path

import pytest

from minixl.data.inputs import ROLES, Inputs
from minixl.errors import UserError
from minixl.training.progress import Stopped
from tests.training.scripted_training import STEP_SECONDS, training
from tests.whole_runs import inputs, records, run, settings, stopped, write_data

PLATEAU = {"en": [0.1, 0.5, 0.4, 0.3, 0.2, 0.1], "es": [0.1, 0.2, 0.3, 0.2, 0.1, 0.0]}     # patience 2 stops after step 4


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances only in a method's steps."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def latest(folder):
    return json.loads((folder / "checkpoint" / "latest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_counters_and_patience_continue(tmp_path, clock, stop_at):
    """Before the plateau, at its beginning, in its middle, and when training is over and the scores are not made yet."""
    how = {"total": 6, "clock": clock, "train__patience": 2}
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = training(tmp_path / "whole", PLATEAU, **how).run()
    assert (whole["steps"], whole["selected_step"], whole["seconds"]) == (4, 2, 4 * STEP_SECONDS)
    assert whole["tokens_per_second"] == (10 + 20 + 30 + 40) / (4 * STEP_SECONDS)
    with pytest.raises(Stopped):
        training(tmp_path / "parts", PLATEAU, stop_at=stop_at, **how).run()
    state = latest(tmp_path / "parts")["run"]
    assert (state["steps"], state["finished"], state["seconds"]) == (stop_at, stop_at == 4, stop_at * STEP_SECONDS)
    resumed = training(tmp_path / "parts", PLATEAU, **how)
    resumed.resume()
    parts = resumed.run()
    assert {**parts, "peak_memory_bytes": 0} == {**whole, "peak_memory_bytes": 0}
    assert latest(tmp_path / "parts") == latest(tmp_path / "whole")
    assert records(tmp_path / "parts") == records(tmp_path / "whole")


def test_the_checkpoint_counts_the_tokens_of_the_log(tmp_path):
    training(tmp_path, PLATEAU, total=5).run()
    tokens = sum(record["tokens"] for record in records(tmp_path) if record["kind"] == "update")
    assert latest(tmp_path)["run"]["tokens"] == tokens == 150


@pytest.mark.parametrize(("every", "eval_every", "expected"), [(2, 100, 4), (3, 100, 3), (0, 3, 3), (2, 5, 5)])
def test_checkpoints_are_written_as_often_as_asked(tmp_path, every, eval_every, expected):
    """A kill after step 5 loses the steps since."""
    how = {"total": 6, "eval_every": eval_every, "train__checkpoint_every": every}
    killed = training(tmp_path, PLATEAU, **how)
    real = killed.objective.step

    def die(step):
        if step == 5:
            raise KeyboardInterrupt
        return real(step)

    killed.objective.step = die
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    resumed = training(tmp_path, PLATEAU, **how)
    resumed.resume()
    assert f"continuing at step {expected} of 6" in resumed.reporter.messages
    assert resumed.run()["steps"] == 6
    assert [record["step"] for record in records(tmp_path) if record["kind"] == "update"] == list(range(6))


def test_the_log_of_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    folder, chosen = write_data(tmp_path / "data"), settings(train__max_steps=3, train__eval_every=100)

    def die():
        if len(records(tmp_path / "run")) == 2:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "run", chosen, stop=die)
    assert len(records(tmp_path / "run")) == 2 and not (tmp_path / "run" / "checkpoint").exists()
    run(folder, tmp_path / "run", chosen, resume=True)
    assert [record["step"] for record in records(tmp_path / "run") if record["kind"] == "update"] == [0, 1, 2]


def test_every_file_that_changed_is_named(tmp_path):
    """Files for training, for scoring, and files that are only named."""
    folder = write_data(tmp_path / "data")
    files = {}
    for role, language, original in (("source", "en", "en.txt"), ("dev", "en", "en.txt"), ("dev", "es", "es.txt"),
                                     ("test", "es", "es.txt"), ("unlabelled", "es", "es.raw")):
        path = tmp_path / f"{role}-{language}.txt"
        path.write_text((folder / original).read_text())
        files.setdefault(role, []).append((language, path))
    given, chosen = inputs(folder, **files), settings(train__max_steps=2)
    stopped(folder, tmp_path / "run", chosen, 1, inputs=given)
    for _, path in [pair for pairs in files.values() for pair in pairs]:
        before = path.read_text()
        path.write_text(before.replace("anna", "ben", 1))
        with pytest.raises(UserError, match=f"--resume: {path} has changed since the run began"):
            run(folder, tmp_path / "run", chosen, inputs=given, resume=True)
        path.write_text(before)
    run(folder, tmp_path / "run", chosen, inputs=given, resume=True)


def test_fingerprints_are_those_of_every_role(tmp_path):
    paths = {role: tmp_path / role for role in ROLES}
    for role, path in paths.items():
        path.write_text(role)
    given = Inputs(None, **{role: [("en", path)] for role, path in paths.items()})
    before = given.fingerprints()
    assert set(before) == {str(path) for path in paths.values()} and len(set(before.values())) == len(ROLES) == 5
    for path in paths.values():
        path.write_text("other")
    assert all(given.fingerprints()[name] != digest for name, digest in before.items())


@pytest.mark.parametrize(("found", "keep"), [(0, None), (7, 7)])
def test_a_log_that_lost_its_end_is_not_continued(tmp_path, found, keep):
    """As after a power cut or an interrupted copy: without the check, NULs inside it would be found only after training."""
    with pytest.raises(Stopped):
        training(tmp_path, PLATEAU, stop_at=3, total=6).run()
    log = tmp_path / "log.jsonl"
    size, text = log.stat().st_size, log.read_bytes()
    log.unlink()
    if keep:
        log.write_bytes(text[:keep])
    with pytest.raises(UserError, match=f"log.jsonl: expected the {size} bytes .* at the last checkpoint, found {found}; "):
        training(tmp_path, PLATEAU, total=6).resume()
    assert not log.exists() or log.read_bytes() == text[:keep]
    log.write_bytes(text + b'{"kind": "upd')                              # what comes after the checkpoint is logged again
    resumed = training(tmp_path, PLATEAU, total=6)
    resumed.resume()
    resumed.run()
    assert [record["step"] for record in records(tmp_path) if record["kind"] == "update"] == list(range(6))


@pytest.mark.parametrize("change", [
    lambda state: state.pop("patience"), lambda state: state["run"].pop("steps"), lambda state: state["patience"].clear(),
    lambda state: state.update(run=[3]), lambda state: state.update(streams=None), lambda state: None])
def test_a_checkpoint_of_another_version_is_one_line(tmp_path, change):
    """The run that continues has a stream that the checkpoint does not know."""
    with pytest.raises(Stopped):
        training(tmp_path, PLATEAU, stop_at=3, total=6).run()
    path, state = tmp_path / "checkpoint" / "latest.json", latest(tmp_path)
    change(state)
    path.write_text(json.dumps(state))
    resumed = training(tmp_path, PLATEAU, total=6)
    resumed.streams = {"source": None}
    with pytest.raises(UserError, match="latest.json: the checkpoint cannot be read .*; start again with a new --out folder"):
        resumed.resume()


def test_a_model_that_learnt_nothing_is_reported(tmp_path):
    for name, scores in (("nothing", [0.0, 0.0]), ("something", [0.0, 0.1])):
        (tmp_path / name).mkdir()
        loop = training(tmp_path / name, {"en": scores}, total=2)
        loop.run()
        told = any("no evaluation had a source dev f1 above 0" in message for message in loop.reporter.messages)
        assert told == (name == "nothing")


def test_a_log_that_cannot_be_written_names_itself_and_the_cure(tmp_path):
    """The system's error for a full disk names no file."""
    loop = training(tmp_path, PLATEAU, total=2)
    loop.log.path = Path("/dev/full")
    with pytest.raises(UserError, match=r"^/dev/full: cannot be written \(No space left on device\); make room and continue with "
                                        f"minixl train --resume --out {tmp_path}$"):
        loop.run()
