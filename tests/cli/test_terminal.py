"""Standard streams that are closed, full or in another encoding: one line that names the stream, and no traceback."""
import os
import subprocess
import sys

import pytest

from minixl.methods import train
from tests.whole_runs import Quiet, inputs, settings, write_data

CLOSED = "Error: standard output: cannot be written (it is closed)"
FULL = "Error: standard output: cannot be written (No space left on device)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    train(settings(train__max_steps=1), inputs(folder), folder / "run", reporter=Quiet())
    (folder / "text").write_text("anna visitó 日本\n", encoding="utf-8")
    return folder


def shell(folder, command, **environment):
    """Run `minixl COMMAND` in a shell -> exit code, stdout, stderr."""
    done = subprocess.run(f"{sys.executable} -m minixl {command}", shell=True, cwd=folder, capture_output=True,
                          env={**os.environ, **environment}, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("redirect", "error"), [(">&-", CLOSED), (">/dev/full", FULL)])
@pytest.mark.parametrize("command", ["weights show encoder", "predict run/model text", "evaluate run/model es=es.txt", "--version"])
def test_output_that_cannot_be_written(folder, command, redirect, error, unbuffered):
    code, _, err = shell(folder, f"{command} {redirect}", PYTHONUNBUFFERED=unbuffered)
    assert code == 1 and err.splitlines()[-1] == error and "Traceback" not in err and err.count("Error") == 1


@pytest.mark.parametrize(("redirect", "error"), [(">&-", CLOSED), (">/dev/full", FULL)])
def test_sample_and_run_are_complete_without_output(folder, tmp_path, redirect, error):
    code, _, err = shell(folder, f"data sample {tmp_path}/sample {redirect}")
    assert (code, err) == (1, error + "\n") and (tmp_path / "sample" / "topic").is_dir()
    code, _, err = shell(folder, "train finetune-ner --encoder encoder --source en=en.txt --test es=es.txt --set train.max_steps=1 "
                         f"--set data.max_length=32 --out {tmp_path}/run {redirect}")
    assert code == 1 and err.splitlines()[-2:] == [
        f"{tmp_path}/run/metrics.json has all figures, {tmp_path}/run/model the model", error]


def test_closed_input(folder):
    assert shell(folder, "predict run/model <&-") == (1, b"", "Error: standard input: cannot be read (it is closed)\n")
    code, out, err = shell(folder, "predict run/model text <&-")
    assert (code, err) == (0, "") and out


def test_closed_stderr(folder, tmp_path):
    code, out, _ = shell(folder, "train finetune-ner --encoder encoder --source en=en.txt --test es=es.txt --set train.max_steps=1 "
                         f"--set data.max_length=32 --out {tmp_path}/run 2>&-")
    assert code == 0 and out.startswith(b"test f1") and len(out.splitlines()) == 2


def test_output_in_another_encoding(folder):
    assert shell(folder, "predict run/model text", PYTHONIOENCODING="latin-1") == (
        1, b"", "Error: standard output: its encoding, latin-1, has no '\\u65e5'; set PYTHONIOENCODING=utf-8\n")
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "LANG": "C"}):
        code, out, err = shell(folder, "predict run/model text", **environment)
        assert (code, err) == (0, "") and "日本" in out.decode()


def test_a_run_goes_on_when_nobody_reads_its_messages(folder, tmp_path):
    code, *_ = shell(folder, "train finetune-ner --encoder encoder --source en=en.txt --set train.max_steps=3 "
                     f"--set data.max_length=32 --out {tmp_path}/run 2>/dev/full")
    assert code == 0 and (tmp_path / "run" / "metrics.json").is_file()
