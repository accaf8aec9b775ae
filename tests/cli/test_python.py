"""minixl.train: what the command line does, from Python."""
import json
import logging

import pytest

from minixl import train
from minixl.errors import UserError
from tests.whole_runs import Quiet, write_data

SETTINGS = {"train.max_steps": 2, "data.max_length": 32, "model.freeze": ["bottom:1"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("api"))


def arguments(folder, **changes):
    return {"encoder": folder / "encoder", "source": {"en": folder / "en.txt"}, "dev": {"en": str(folder / "en.txt")},
            "test": {"es": folder / "es.txt"}, "settings": SETTINGS} | changes


def test_train_returns_metrics_json_and_writes_what_the_command_line_writes(folder, tmp_path, minixl, caplog):
    with caplog.at_level(logging.INFO, "minixl"):
        metrics = train("finetune-ner-cpu", **arguments(folder), out=str(tmp_path / "python"), seed=3)
    assert metrics == json.loads((tmp_path / "python" / "metrics.json").read_text())
    assert "source en" in caplog.text
    changes = [f"--set={name}={','.join(value) if isinstance(value, list) else value}" for name, value in SETTINGS.items()]
    code, _, err = minixl("train", "finetune-ner-cpu", "--encoder", folder / "encoder", "--source", f"en={folder / 'en.txt'}",
                          "--dev", f"en={folder / 'en.txt'}", "--test", f"es={folder / 'es.txt'}", *changes, "--seed", "3",
                          "--out", tmp_path / "line")
    assert code == 0, err
    for name in ("config.toml", "model/model.safetensors"):
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "line" / name).read_bytes()


def test_several_seeds_a_reporter_and_resuming(folder, tmp_path):
    reporter = Quiet()
    metrics = train("finetune-ner-cpu", **arguments(folder), out=tmp_path / "run", seeds=2, reporter=reporter)
    assert (tmp_path / "run" / "seed-2" / "metrics.json").is_file() and reporter.steps == 4
    assert train(out=tmp_path / "run", seeds=2, resume=True) == metrics


def test_several_files_of_a_language(folder, tmp_path):
    files = {"es": [folder / "es.txt", str(folder / "en.txt")], "en": folder / "en.txt"}
    metrics = train("finetune-ner-cpu", **arguments(folder, test=files), out=tmp_path / "run", reporter=Quiet())
    assert metrics["test"]["es"]["support"] == 10 + metrics["test"]["en"]["support"]


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"settings": {"train.epoch": 3}}, UserError, "there is no setting 'train.epoch'"),
    ({"settings": {"train.epochs": "3"}}, UserError, "train.epochs: expected a whole number, got '3'"),
    ({"source": None}, UserError, "--source LANGUAGE=FILE is missing"),
    ({"seed": 1, "seeds": 2}, UserError, "--seed and --seeds exclude each other"),
    ({"seed": -1}, UserError, "--seed: expected a whole number of at least 0, found -1"),
    ({"seeds": 0}, UserError, "--seeds: expected a whole number of at least 1, found 0"),
    ({"device": "gpu"}, UserError, "device: expected auto, cpu or cuda, got 'gpu'"),
    ({"source": "en.txt"}, TypeError, "train: source: expected languages and files such as {\"en\": \"train.txt\"}, got str")])
def test_mistakes_are_one_line(folder, tmp_path, changes, error, message):
    with pytest.raises(error) as caught:
        train("finetune-ner-cpu", **arguments(folder, **changes), out=tmp_path / "run")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
