"""Seeds on the command line: one run's seed, several runs', and what continues them after a stop."""
import json
import re

import pytest

from minixl.evaluation.scores import mean_sd
from minixl.methods import SCHEMA
from minixl.training.config import read_config
from minixl.training.progress import Stopped
from tests.whole_runs import settings, stopped, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def train(minixl, folder):
    """minixl train with one step on the data of `folder`."""
    def call(*args):
        return minixl("train", "finetune-ner", "--encoder", folder / "encoder", "--source", f"en={folder}/en.txt",
                      "--set", "train.max_steps=1", "--set", "data.max_length=32", *args)
    return call


def test_seed_zero_is_a_seed(train, tmp_path):
    assert train("--seed", 0, "--out", tmp_path / "run")[0] == 0
    assert "\nseed = 0\n" in "\n" + (tmp_path / "run" / "config.toml").read_text()


def test_one_seed_where_none_is_given(train, tmp_path):
    assert train("--out", tmp_path / "run")[0] == 0 and read_config(tmp_path / "run", SCHEMA)[2] == 1


def test_so_many_seeds_from_one(train, tmp_path):
    assert train("--seeds", 2, "--out", tmp_path / "runs")[0] == 0
    assert sorted(path.name for path in tmp_path.glob("runs/*") if path.is_dir()) == ["seed-1", "seed-2"]
    assert [read_config(tmp_path / "runs" / f"seed-{seed}", SCHEMA)[2] for seed in (1, 2)] == [1, 2]


def test_the_mean_over_the_target_languages(train, folder, tmp_path):
    """In the table of one run and of several, and on the page of a run; metrics.json has languages only."""
    tests = [word for language, file in (("en", "en"), ("es", "es"), ("fr", "en"))
             for word in ("--test", f"{language}={folder}/{file}.txt")]
    code, out, _ = train("--seeds", 2, *tests, "--out", tmp_path / "runs")
    means = []
    for seed in (1, 2):
        scores = json.loads((tmp_path / "runs" / f"seed-{seed}" / "metrics.json").read_text())["test"]
        means.append(50 * (scores["es"]["f1"] + scores["fr"]["f1"]))
        page = (tmp_path / "runs" / f"seed-{seed}" / "report.html").read_text()
        assert list(scores) == ["en", "es", "fr"] and f"<td>target mean</td><td>{means[-1]:.1f}</td>" in page
    mean, sd = mean_sd(means)
    assert code == 0 and out.splitlines()[-1].split()[:4] == ["target", "mean", f"{mean:.1f}", f"±{sd:.1f}"]
    assert train(*tests, "--out", tmp_path / "run")[1].splitlines()[-1].split()[:3] == ["target", "mean", f"{means[0]:.1f}"]


def test_a_run_is_resumed_with_its_own_seed(minixl, folder, tmp_path):
    out = tmp_path / "run"
    stopped(folder, out, settings(train__max_steps=2), 1, seed=7)
    code, _, err = minixl("train", "--resume", "--out", out)
    assert code == 0, err
    assert read_config(out, SCHEMA)[2] == 7 and (out / "metrics.json").is_file()


@pytest.mark.parametrize("damage", [b"\0" * 40, b'{"method": "fine', b"\xff", b"[]"])
def test_damaged_scores_of_an_earlier_seed(train, minixl, tmp_path, damage):
    """One line; and what it says helps."""
    assert train("--seeds", 1, "--out", tmp_path / "runs")[0] == 0
    scores = tmp_path / "runs" / "seed-1" / "metrics.json"
    before = json.loads(scores.read_text())
    scores.write_bytes(damage)
    code, _, err = minixl("train", "--resume", "--out", tmp_path / "runs", "--seeds", 1)
    expected = (rf"Error: {scores}: expected the f1 of one run for test, last, oracle, found .*; delete this file, and --resume "
                "trains the run again, or only scores it if train.keep_checkpoint kept its checkpoint")
    assert code == 1 and re.fullmatch(expected, err.splitlines()[-1])
    scores.unlink()
    assert minixl("train", "--resume", "--out", tmp_path / "runs", "--seeds", 1)[0] == 0
    after = json.loads(scores.read_text())
    measured = dict.fromkeys(("seconds", "tokens_per_second", "peak_memory_bytes"), 0)
    assert {**after, **measured} == {**before, **measured}


def test_a_stop_names_what_continues(train, tmp_path, monkeypatch):
    """Also with several seeds, which --resume does not find by itself."""
    def stop(*args, **how):
        raise Stopped

    monkeypatch.setattr("minixl.methods.train_seeds", stop)
    monkeypatch.setattr("minixl.methods.train_run", stop)
    for given, hint in ((["--seeds", 3], " --seeds 3"), (["--seed", 3], "")):
        code, _, err = train(*given, "--out", tmp_path / "run")
        assert code == 130 and err.endswith(f"stopped; continue with: minixl train --resume --out {tmp_path}/run{hint}\n")
