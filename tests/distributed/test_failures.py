"""Only one process prints; a mistake is one line; a process that dies or raises ends all, and another number of them continues."""
from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.distributed.mpiexec import mpiexec
from tests.distributed.runs import write

MINIXL = [sys.executable, "-m", "minixl"]
FAILING = [sys.executable, "-m", "tests.distributed.failing"]
LIMIT = 30                             # seconds in which a run has to end


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"))


def command(data, out, *more):
    """minixl train: 20 steps, a checkpoint every 5."""
    return ["train", "finetune-ner-cpu", "--encoder", data / "encoder", "--source", f"en={data}/en.txt",
            "--dev", f"en={data}/en.txt", "--test", f"es={data}/es.txt", "--set", "train.batch_size=4",
            "--set", "data.max_length=32", "--set", "train.epochs=4", "--out", out, *more]


def run(processes, *arguments, program=None, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*mpiexec(processes), *map(str, [*(program or MINIXL), *arguments])], capture_output=True, text=True,
                          timeout=120, env=environment, **options)


def test_one_process_prints(data, tmp_path):
    """What one process alone prints, and how many there are; also in evaluating and predicting."""
    one, two = (run(processes, *command(data, tmp_path / str(processes), "--set", "optim.lr=0", "--set", "optim.head_lr=0"))
                for processes in (1, 2))
    assert (one.returncode, two.returncode) == (0, 0) and one.stdout == two.stdout
    first, *others = two.stderr.splitlines()
    assert re.fullmatch(r"training with 2 processes over MPICH \S+, 1 thread each", first)
    assert others == [line.replace(f"{tmp_path}/1", f"{tmp_path}/2") for line in one.stderr.splitlines()]
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in "12"]
    assert len(logs[0]) == len(logs[1])
    model, file = tmp_path / "1" / "model", data / "es.txt"
    for arguments in (["evaluate", model, f"es={file}"], ["predict", model, file]):
        one, two = (run(processes, *arguments, "-q") for processes in (1, 2))
        assert one.returncode == two.returncode == 0 and one.stdout and one.stdout == two.stdout
    piped = run(2, "predict", model, input="anna .")
    assert piped.stderr == "Error: standard input: mpiexec gives it to one process only; name a FILE\n"


def test_a_mistake_is_one_line(data, tmp_path):
    ended = run(2, *command(data, tmp_path / "run", "--test", f"fr={data}/nothing.txt"))
    assert ended.returncode == 1 and ended.stdout == ""
    line = rf"Error: {data}/nothing.txt: expected a file, found nothing.*"
    assert re.fullmatch(rf"(training with 2 processes .*\n)?{line}\n", ended.stderr)
    usage = run(2, "train", "--nothing")
    assert usage.returncode == 2 and usage.stderr.count("No such option") == 1


@pytest.mark.parametrize(("where", "rank"), [("forward", 1), ("sum", 3), ("checkpoint", 0)])
def test_a_process_that_is_killed_ends_all(data, tmp_path, where, rank):
    """In the twelfth step, or in writing the checkpoint of the tenth; two processes continue."""
    out, begin = tmp_path / "run", time.monotonic()
    ended = run(4, *command(data, out), program=[*FAILING, where, rank, "kill", 4 if where == "checkpoint" else 12, "--"])
    assert ended.returncode and time.monotonic() - begin < LIMIT
    assert "Killed (signal 9)" in ended.stdout + ended.stderr          # mpiexec says so
    resumed = run(2, "train", "--resume", "--out", out)
    assert resumed.returncode == 0
    assert f"continuing at step {5 if where == 'checkpoint' else 10} of 20" in resumed.stderr
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines() if '"update"' in line]
    assert steps == list(range(20))


@pytest.mark.parametrize(("where", "how", "end"), [
    ("forward", "raise", "RuntimeError: a mistake in the code; the other processes were stopped; --resume continues from the last "
     "checkpoint"),
    ("sum", "diverge", "the gradient became nan; --resume would fail again: choose a new --out folder")])
def test_a_process_that_raises_says_why_and_ends_all(data, tmp_path, where, how, end):
    begin = time.monotonic()
    ended = run(2, *command(data, tmp_path / "run"), program=[*FAILING, where, 1, how, 8, "--"])
    assert ended.returncode == 1 and time.monotonic() - begin < LIMIT
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert line == f"Error: process 2 of 2, on {platform.node()}: {end}"
    assert (tmp_path / "run" / "checkpoint" / "state-5.safetensors").is_file()


def test_a_signal_stops_all_and_one_process_continues(data, tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen([*mpiexec(2), *MINIXL, *map(str, command(data, out, "--set", "train.epochs=60"))], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        while not (out / "checkpoint" / "latest.json").is_file():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGINT
    assert messages.count(f"stopped; continue with: minixl train --resume --out {out}") == 1
    step = json.loads((out / "checkpoint" / "latest.json").read_text())["step"]
    resumed = run(1, "train", "--resume", "--out", out)
    assert f"continuing at step {step} of 300" in resumed.stderr


def test_without_mpiexec_mpi4py_is_not_imported(data, tmp_path):
    program = [sys.executable, "-c", "import sys, minixl.cli.main as cli\n"
               "try:\n    cli.main()\nfinally:\n    assert not [name for name in sys.modules if 'mpi4py' in name]"]
    assert run(1, *command(data, tmp_path / "run"), program=program).returncode == 0
