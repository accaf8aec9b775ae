"""--quiet and --verbose, and the same from Python through the logger "minixl"."""
import logging

import pytest

import minixl as package
from minixl.training.progress import Logged
from tests.whole_runs import write_data

SETTINGS = ["--set", "train.max_steps=1", "--set", "data.max_length=32", "--set", "model.freeze=bottom:1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def train(minixl, folder, tmp_path):
    def call(*args):
        return minixl("train", "finetune-ner", "--encoder", folder / "encoder", "--source", f"en={folder}/en.txt",
                      "--test", f"es={folder}/es.txt", *SETTINGS, "--out", tmp_path / "run", *args)
    return call


def test_quiet_prints_only_results_and_warnings(minixl, train, folder, tmp_path):
    code, out, err = train("-q", "--dev", f"fr={folder}/es.txt")
    assert code == 0 and out.startswith("test f1") and err == (
        "warning: --dev fr has no effect: it is neither a source language (en) nor a test language\n")
    run = tmp_path / "run"
    code, out, err = minixl("evaluate", run / "model", f"es={folder}/es.txt", "--quiet")
    assert (code, err) == (0, "") and out.startswith("language")
    code, out, err = minixl("predict", run / "model", "--quiet", stdin="house\tanna visited paris\n" * 3)
    assert code == 0 and len(out.splitlines()) == 3
    assert err.startswith("standard input: the lines look like labels and texts") and len(err.splitlines()) == 1
    code, out, err = minixl("report", run, "--out", tmp_path / "page.html", "--quiet")
    assert (code, err) == (0, "") and out.startswith("test f1")


def test_an_error_is_printed_with_quiet(minixl, tmp_path):
    code, out, err = minixl("evaluate", tmp_path, "es=es.txt", "-q")
    assert (code, out) == (1, "") and err.startswith("Error: ")


def test_verbose_adds_what_is_read_and_the_time_it_takes(minixl, train, folder, tmp_path):
    code, _, err = train("-v")
    assert code == 0
    lines = err.splitlines()
    text = (folder / "en.txt").read_text().strip()
    rows = text.replace("\n\n", "\n").splitlines()
    assert (f"source en={folder}/en.txt: {len(text.split(chr(10) * 2))} inputs, {len(rows)} words; "
            f"LOC {sum('B-LOC' in row for row in rows)}, PER {sum('B-PER' in row for row in rows)}") in lines
    model = next(line for line in lines if line.startswith("model: "))
    assert model.startswith(f"model: transformer with the encoder {folder}/encoder, ") and model.endswith(" are trained")
    assert "train.max_steps=1" in next(line for line in lines if line.startswith("settings that differ"))
    timed = [line.partition(":")[0] for line in lines if line.endswith(" s")]
    assert timed == ["reading the files", "building the model", "training, with evaluations on dev files",
                     "scoring the test files", "writing the model", "total"]
    code, _, err = minixl("evaluate", tmp_path / "run" / "model", f"es={folder}/es.txt", "--verbose")
    assert code == 0 and f"es={folder}/es.txt: 6 inputs, " in err and "transformer for the task ner with " in err
    code, _, err = minixl("report", tmp_path / "run", "--out", tmp_path / "page.html", "-v")
    assert code == 0 and f"{tmp_path}/run: 1 steps, in the group " in err


def test_verbose_ends_with_the_command(minixl, train):
    logger = logging.getLogger("minixl")
    level = logger.level
    assert train("-v")[0] == 0
    assert (logger.handlers, logger.level) == ([], level)


def test_quiet_and_verbose_exclude_each_other(train):
    for options in (("-q", "-v"), ("--verbose", "--quiet")):
        code, _, err = train(*options)
        assert code == 2 and "--quiet and --verbose exclude each other" in err


def test_python_logs_warnings_messages_and_details(folder, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, "minixl"):
        package.train("finetune-ner", encoder=folder / "encoder", source={"en": folder / "en.txt"},
                      dev={"fr": folder / "es.txt"}, out=tmp_path / "run",
                      settings={"train.max_steps": 1, "data.max_length": 32, "model.freeze": []})
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert levels[next(line for line in levels if line.startswith("warning: --dev fr"))] == "WARNING"
    assert levels[next(line for line in levels if line.startswith("source en: "))] == "INFO"
    assert levels[next(line for line in levels if line.startswith("building the model: "))] == "DEBUG"


def test_every_line_of_a_message_has_its_own_level(caplog):
    with caplog.at_level(logging.INFO, "minixl"):
        Logged().message("source en: 3 inputs\nwarning: source en: few")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "source en: 3 inputs"), ("WARNING", "warning: source en: few")]
