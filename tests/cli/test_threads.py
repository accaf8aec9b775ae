"""--threads: it wins over OMP_NUM_THREADS, gives the same bits, and is no setting of a run."""
import os
import subprocess
import sys

import pytest

from minixl import backend, blas
from minixl.cli.train import Terminal
from tests.whole_runs import assert_same_run, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def arguments(folder, out, *more):
    return ["train", "finetune-ner", "--encoder", str(folder / "encoder"), "--source", f"en={folder}/en.txt", "--test",
            f"es={folder}/es.txt", "--set", "train.max_steps=2", "--set", "data.max_length=32", "--set", "model.freeze=bottom:1",
            "--out", str(out), *more]


def test_threads_win_over_the_environment_with_the_same_bits(minixl, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen = []
    step = Terminal.step
    monkeypatch.setattr(Terminal, "step", lambda self, *args: seen.append(
        (backend.threads(), blas._openblas()[1]())) or step(self, *args))
    before = blas._openblas()[1]()
    assert minixl(*arguments(folder, tmp_path / "option", "--threads", "2"))[0] == 0
    assert {(2, 2)} <= set(seen) <= {(2, 2), (2, 1)}                   # a product on one thread: batches computed side by side
    assert (backend.threads(), blas._openblas()[1]()) == (1, before)
    subprocess.run([sys.executable, "-m", "minixl", *arguments(folder, tmp_path / "environment")], check=True,
                   capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert_same_run(tmp_path / "option", tmp_path / "environment")
    for name in ("config.toml", "inputs.json"):
        texts = {(tmp_path / run / name).read_text() for run in ("option", "environment")}
        assert len(texts) == 1 and "threads" not in texts.pop()


@pytest.mark.parametrize(("value", "code", "message"), [("0", 2, "0 is not in the range x>=1"),
                                                        ("two", 2, "'two' is not a valid integer range"),
                                                        ("1000000", 1, "Error: threads: expected at most ")])
@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "kernels"])
def test_a_wrong_number_of_threads(minixl, tmp_path, command, value, code, message):
    words = {"train": ["train"], "evaluate": ["evaluate", tmp_path, "es=es.txt"], "predict": ["predict", tmp_path],
             "kernels": ["bench", "kernels"]}[command]
    got, out, err = minixl(*words, "--threads", value)
    assert (got, out) == (code, "") and message in err
