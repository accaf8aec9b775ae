"""minixl weights: output, exit codes."""
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from minixl.cli.weights import weights
from minixl.errors import UserError


def run(*arguments):
    result = CliRunner().invoke(weights, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        raise result.exception                         # the command line as a whole turns it into one line and exit code 1
    return result


@pytest.fixture
def file(tmp_path):
    values = {"a": np.zeros((2, 3), np.float32), "embeddings.LayerNorm.gamma": np.ones(4, np.float16),
              "evil\x1b[2J": np.array(1, np.int64)}
    save_file(values, tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_show(file):
    result = run("show", file)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["name", "shape", "dtype"] and lines[-1] == "3 tensors, 11 weights, 0.0 MB"
    assert {tuple(line.split()) for line in lines[1:-1]} == {
        ("a", "2x3", "F32"), ("embeddings.LayerNorm.gamma", "4", "F16"), (r"'evil\x1b[2J'", "scalar", "I64")}


def test_convert(file, tmp_path):
    result = run("convert", file, tmp_path / "b.safetensors", "--dtype", "float16")
    assert (result.exit_code, result.stdout) == (0, "") and "3 tensors written" in result.stderr
    found = load_file(tmp_path / "b.safetensors")
    assert found["bert.embeddings.LayerNorm.weight"].dtype == found["a"].dtype == np.float16


@pytest.mark.parametrize("config, said", [
    (True, "{source} has no tokenizer (tokenizer.json or vocab.txt), so minixl cannot train with this folder until you copy it "
           "there"),
    (False, "{source} has no config.json and no tokenizer (tokenizer.json or vocab.txt), so minixl cannot train with this folder "
            "until you copy them there")])
def test_convert_says_what_training_lacks(file, tmp_path, config, said):
    source = file.parent if config else file
    if config:
        (tmp_path / "config.json").write_text("{}")
        file.rename(tmp_path / "model.safetensors")
    result = run("convert", source, tmp_path / "new")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [f"{tmp_path / 'new'}: 3 tensors written",
                                          f"{tmp_path / 'new'}: {said.format(source=source)}"]


def test_convert_of_all_that_training_needs(file, tmp_path):
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_text("{}")
    file.rename(tmp_path / "model.safetensors")
    assert run("convert", tmp_path, tmp_path / "new").stderr == f"{tmp_path / 'new'}: 3 tensors written\n"


def test_fetch_prints_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("minixl.weights.e5.fetch_e5_small", lambda out: out)
    result = run("fetch", "e5-small", "--out", tmp_path / "e5")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'e5'}\n")


@pytest.mark.parametrize("arguments", [("fetch", "e6"), ("convert", "a"), ("convert", "a", "b", "--dtype", "int8"),
                                       ("shew",)])
def test_wrong_usage(arguments):
    assert run(*arguments).exit_code == 2


def test_what_went_wrong_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        run("show", tmp_path / "none")


@pytest.mark.parametrize("command", [(), ("show",), ("convert",), ("fetch",)])
def test_help(command):
    result = run(*command, "--help")
    assert result.exit_code == 0 and "Usage" in result.stdout
