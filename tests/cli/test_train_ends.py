"""What minixl train shows on its way and when it ends: lines of progress, no empty table, and what continues a stopped run."""
import os
import signal
import subprocess
import sys
import time

import pytest

import minixl.run.job
from minixl.cli.train import Terminal
from minixl.training.progress import Stopped
from tests.whole_runs import settings, stopped, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def train(minixl, folder, tmp_path):
    """minixl train with one step on the data of `folder`, into `tmp_path`/run."""
    def call(*args):
        return minixl("train", "finetune-ner", "--encoder", folder / "encoder", "--source", f"en={folder}/en.txt",
                      "--set", "train.max_steps=1", "--set", "data.max_length=32", "--out", tmp_path / "run", *args)
    return call


def test_no_table_without_a_test_file(train, tmp_path):
    code, text, err = train()
    assert (code, text) == (0, "") and err.splitlines()[-2:] == [
        "no --test file was given, so nothing was scored",
        f"{tmp_path}/run/metrics.json has all figures, {tmp_path}/run/model the model"]


def at_first_step(monkeypatch, *numbers):
    """Signals that arrive in the first step of training."""
    step = Terminal.step

    def spy(self, *args):
        step(self, *args)
        while numbers_left:
            signal.raise_signal(numbers_left.pop(0))

    numbers_left = list(numbers)
    monkeypatch.setattr(Terminal, "step", spy)


@pytest.fixture(autouse=True)
def sighup_not_ignored():
    """The tests may run under nohup, whose children ignore SIGHUP too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("numbers", "code", "word"), [
    ([signal.SIGINT], 130, "stopped"), ([signal.SIGTERM], 143, "stopped"),
    ([signal.SIGHUP], 129, "stopped"), ([signal.SIGHUP, signal.SIGHUP], 129, "stopped"),
    ([signal.SIGINT, signal.SIGHUP], 130, "stopped"),
    ([signal.SIGINT, signal.SIGINT], 130, "interrupted"), ([signal.SIGTERM, signal.SIGTERM], 143, "interrupted")])
@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]])
def test_every_end_names_what_continues(train, minixl, tmp_path, monkeypatch, numbers, code, word, seeds):
    at_first_step(monkeypatch, *numbers)
    found, _, err = train("--set", "train.max_steps=2", *seeds)
    call = " ".join(["minixl train --resume --out", f"{tmp_path}/run", *seeds])
    assert found == code and err.endswith(f"\n{word}; continue with: {call}\n")
    assert minixl(*call.split()[1:])[0] == 0


def start_and_hang_up(folder, out, steps, *prefix):
    """A run in a process of its own that gets SIGHUP after its first step -> exit code, stderr."""
    call = [*prefix, sys.executable, "-m", "minixl", "train", "finetune-ner", "--encoder", folder / "encoder",
            f"--source=en={folder}/en.txt", "--set=data.max_length=32", f"--set=train.max_steps={steps}", "--set=train.epochs=0",
            "--set=train.eval_every=1000000", "--out", out]
    log = out / "log.jsonl"
    with subprocess.Popen(list(map(str, call)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as process:
        while process.poll() is None and not (log.is_file() and log.stat().st_size):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGHUP)
        _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_a_terminal_that_closes_stops_the_run(minixl, folder, tmp_path):
    code, err = start_and_hang_up(folder, tmp_path / "run", 100000)
    assert code == 129 and err.endswith(f"stopped; continue with: minixl train --resume --out {tmp_path}/run\n")
    assert (tmp_path / "run" / "checkpoint" / "latest.json").is_file()


def test_a_run_under_nohup_goes_on(folder, tmp_path):
    code, err = start_and_hang_up(folder, tmp_path / "run", 100, "nohup")
    assert code == 0 and "stopping" not in err and (tmp_path / "run" / "metrics.json").is_file()


def test_an_end_before_there_is_a_run(train, tmp_path, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(minixl.run.job, "prepare", die)
    code, _, err = train()
    assert code == 130 and err.endswith("interrupted\n") and not (tmp_path / "run").exists()


def test_seeds_are_not_put_into_one_run(minixl, folder, tmp_path):
    stopped(folder, tmp_path / "run", settings(train__max_steps=2), 1)
    for how in (["--resume"], ["finetune-ner", "--encoder", folder / "encoder", "--source", f"en={folder}/en.txt"]):
        code, _, err = minixl("train", *how, "--seeds", 2, "--out", tmp_path / "run")
        assert code == 1
        assert err == f"Error: --seeds: {tmp_path}/run holds one run of seed 3; choose a new --out folder for several seeds\n"


def test_lines_of_progress_where_there_is_no_terminal(capsys, monkeypatch):
    """Once a minute, whatever the number of steps."""
    now = [0.0]
    monkeypatch.setattr("minixl.cli.progress.time.monotonic", lambda: now[0])
    terminal = Terminal()
    terminal.start(753, 100, "training")
    for _ in range(200):
        now[0] += 0.7
        terminal.step(840.2)
    terminal.finish()
    lines = [line for line in capsys.readouterr().err.splitlines() if "/" in line]
    assert lines == ["training 186/753, 840 tokens/s", "training 272/753, 840 tokens/s"]


def test_a_new_bar_does_not_begin_with_the_speed_of_the_one_before(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal.start(2, 0, "training")
    terminal.step(840.0, 2)
    terminal.finish()
    terminal.start(2, 0, "scoring")
    assert terminal.text == "" and terminal.bar.item_show_func(None) is None
    terminal.finish()


@pytest.mark.parametrize(("given", "said"), [
    ("train.score_tests=yes", "train.score_tests: expected true or false, got 'yes'"),
    ("train.epochs=two", "train.epochs: expected a whole number, got 'two'"),
    ("optim.lr=small", "optim.lr: expected a number, got 'small'"), ("data.encoding=8", "data.encoding: expected text, got 8"),
    ("model.freeze=3", "model.freeze: expected names separated by commas, got 3")])
def test_settings_of_another_kind(train, given, said):
    code, _, err = train("--set", given)
    assert code == 1 and err.startswith(f"Error: --set: {said} (")


def test_stopped_by_no_signal(train, monkeypatch):
    def stop(*_, **__):
        raise Stopped

    monkeypatch.setattr("minixl.methods.train_run", stop)
    assert train()[0] == 130
