"""A new method, and a new term, is one file and one line in a table: with settings, checks, log, plots, report, resume, seeds.

Each toy (tests/methods/toys) is put into a copy of the package, so that nothing but the new file and the table is touched.
"""
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.whole_runs import assert_same_run, records, write_data

ROOT = Path(__file__).resolve().parents[2]
TOYS = Path(__file__).parent / "toys"
SMALL = ["train.epochs=2", "train.batch_size=4", "train.eval_every=3", "data.max_length=32", "optim.lr=1e-3", "optim.head_lr=1e-2",
         "train.checkpoint_every=1", "model.freeze="]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of minixl with both toys; only methods/__init__.py has changed, by an import and an entry for each."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "minixl", folder / "minixl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("kernels", "weights", "cli"):
        shutil.copytree(ROOT / name, folder / "minixl" / name, ignore=shutil.ignore_patterns("__pycache__"))
    methods = folder / "minixl" / "methods"
    for toy in ("born_again.py", "shrinkage.py"):
        assert len((TOYS / toy).read_text().splitlines()) <= 120
        shutil.copy(TOYS / toy, methods)
    text = (methods / "__init__.py").read_text()
    for old, new in (("in (Finetune,", "in (BornAgain, Finetune,"), ("= (Adversary,", "= (Shrinkage, Adversary,"),
                     ("from minixl.methods.finetune", "from minixl.methods.born_again import BornAgain\n"
                      "from minixl.methods.shrinkage import Shrinkage\nfrom minixl.methods.finetune")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (methods / "__init__.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def train(package, data):
    """minixl train of the copy, on tiny data."""
    def call(out, *arguments, method="born-again", task="ner", wait=True):
        suffix = "tsv" if task == "classification" else "txt"
        roles = [word for role in ("source", "dev", "test") for word in (f"--{role}", f"en={data}/en.{suffix}")]
        sets = [word for value in [*SMALL, f"method={method}", f"task={task}"] for word in ("--set", value)]
        command = [sys.executable, "-m", "minixl", "train", "finetune-ner", "--encoder", data / "encoder", *roles, *sets,
                   "--out", out, "--device", "cpu", *arguments]
        process = subprocess.Popen(list(map(str, command)), cwd=package, env={**os.environ, "PYTHONPATH": str(package)}, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return (process.communicate(), process.returncode) if wait else process
    return call


def losses(out):
    return [record["loss"] for record in records(out) if record["kind"] == "update"]


def stop_in(process, log: Path, lines: int) -> None:
    """Ctrl-C once the log has so many lines."""
    while process.poll() is None and not (log.is_file() and log.read_text().count("\n") >= lines):
        pass
    process.send_signal(2)
    process.communicate()
    assert process.returncode == 130


def test_a_method_of_two_stages(train, tmp_path):
    (_, err), code = train(tmp_path / "run")
    assert code == 0, err
    assert set(losses(tmp_path / "run" / "teacher")) == {"task"} and losses(tmp_path / "run") == ["task", "imitation"] * 6
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["method"] == "born-again" and metrics["steps"] == 6 and metrics["test"]["en"]["f1"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "imitation of the teacher" in page and "<h2>Born again</h2>" in page
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run" / "curves.csv").read_text())))
    assert float(rows[0]["loss_imitation"]) > float(rows[-1]["loss_imitation"]) > 0
    for stage, log, lines in (("teacher", "teacher/log.jsonl", 3), ("student", "log.jsonl", 5)):
        out = tmp_path / stage
        stop_in(train(out, wait=False), out / log, lines)
        (_, err), code = train(out, "--resume")
        assert code == 0, err
        for part in ("teacher", "."):
            assert_same_run(tmp_path / "run" / part, out / part)
    labels = tmp_path / "student" / "soft-labels.safetensors"
    (tmp_path / "student" / "metrics.json").unlink()
    info = tmp_path / "student" / "teacher" / "model" / "minixl.json"
    info.write_text(info.read_text().replace('"max_length": 32', '"max_length": 31'))
    (_, err), code = train(tmp_path / "student", "--resume")
    assert code == 1 and f"{labels}: made from something else: teacher has changed; delete the file to have it made again" in err


def test_its_settings_and_checks(train, tmp_path):
    out, err = train(tmp_path / "run", "--show")[0]
    assert "# born again\nborn_again.lr = 0.0001\n    learning rate towards the teacher" in out
    assert "born_again" not in train(tmp_path / "run", "--show", method="finetune")[0][0]
    for arguments, said in ((["--set", "born_again.lr=-1"], "--set: born_again.lr: expected at least 0, got -1.0"),
                            (["--set", "method=born-agian"], "got 'born-agian'; did you mean born-again?"),
                            (["--set", "optim.lr=1e30", "--set", "optim.clip=0"], "optim.lr")):
        (_, err), code = train(tmp_path / "run", *arguments)
        assert code == 1 and said in err.splitlines()[-1]
    (_, err), code = train(tmp_path / "other", task="classification")
    assert code == 1 and err.splitlines()[-1] == "Error: method: born-again is for taggers, got task classification; use finetune"
    assert not (tmp_path / "other").exists()


def test_several_seeds(train, tmp_path):
    (_, err), code = train(tmp_path / "runs", "--seeds", 2)
    assert code == 0, err
    metrics = json.loads((tmp_path / "runs" / "metrics.json").read_text())
    assert len(metrics["test"]["en"]["f1"]["runs"]) == 2
    assert all((tmp_path / "runs" / f"seed-{seed}" / "teacher" / "metrics.json").is_file() for seed in (1, 2))


@pytest.mark.parametrize("method", ["finetune", "born-again"])
def test_a_term(train, tmp_path, method):
    """Added to a method that knows nothing of it, in every stage."""
    chosen = ["--set", "shrinkage.lr=1e-3"]
    (_, err), code = train(tmp_path / "run", *chosen, method=method)
    assert code == 0, err
    own = ["task"] if method == "finetune" else ["task", "imitation"]
    assert losses(tmp_path / "run") == [*own, "shrinkage"] * 6
    if method != "finetune":
        assert set(losses(tmp_path / "run" / "teacher")) == {"task", "shrinkage"}
    values = [record["value"] for record in records(tmp_path / "run") if record.get("loss") == "shrinkage"]
    assert values[-1] < values[0] and "size of the states" in (tmp_path / "run" / "report.html").read_text()
    stop_in(train(tmp_path / "again", *chosen, method=method, wait=False), tmp_path / "again" / "log.jsonl", 4)
    (_, err), code = train(tmp_path / "again", *chosen, "--resume", method=method)
    assert code == 0, err
    assert_same_run(tmp_path / "run", tmp_path / "again")
    assert re.search("# shrinkage\nshrinkage.lr = ", train(tmp_path / "x", "--show", *chosen)[0][0])
