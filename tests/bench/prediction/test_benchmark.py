"""minixl bench predict: the same results from every engine, the figures, the table, the errors."""
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from minixl.bench.prediction import worker
from minixl.bench.prediction.benchmark import figures_of, peers_of
from minixl.bench.prediction.engines import Made
from minixl.cli.main import cli
from minixl.errors import UserError
from tests.bench.training.inputs import write_encoder, write_sentences


def installed(*packages: str) -> None:
    for package in packages:
        pytest.importorskip(package, reason=f"{package}, of the extra bench, is not installed")


@pytest.mark.parametrize("family", ["bert", "xlm-r"])
def test_all_engines_compute_the_same(tmp_path, family):
    """In a process of its own: once OpenVINO has computed in a process, it can crash when that gets a signal."""
    installed("onnx", "onnxruntime", "openvino")
    done = subprocess.run([sys.executable, "-m", "tests.bench.prediction.all_engines", family, tmp_path], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


class Fixed:
    """An engine with given results."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.calls = scores, 0

    def predict(self, batches):
        self.calls += 1
        return [self.scores]


def test_engines_that_differ_are_not_timed():
    ours = np.log(np.array([[0.6, 0.4], [0.2, 0.8]]))
    same, coarse, other = Fixed(ours + 1e-6), Fixed(ours[:, ::-1]), Fixed(ours + 0.01)
    engines = {"minixl": Made(Fixed(ours)), "same": Made(same), "coarse": Made(coarse, False)}
    found = worker.measure(engines, [], 3)
    assert same.calls == 4 and found["minixl"]["largest_difference"] == 0 and found["coarse"]["same_tags"] == 0
    with pytest.raises(UserError, match="the same log-probabilities: minixl and other differ by up to 0.01$"):
        worker.measure({**engines, "other": Made(other)}, [], 3)
    assert other.calls == 1
    with pytest.raises(UserError, match="minixl and other differ by up to nan$"):
        worker.measure({**engines, "other": Made(Fixed(ours * np.nan))}, [], 3)


def test_minixl_is_compared_with_the_fastest_in_float32():
    measured = {"minixl": {"seconds": 2.0, "float32": True}, "slow": {"seconds": 6.0, "float32": True},
                "fast": {"seconds": 3.0, "float32": True}, "coarse": {"seconds": 1.0, "float32": False}}
    figures = figures_of([], measured)
    assert (figures["fastest"], figures["ratio"]) == ("fast", 1.5)
    assert "ratio" not in figures_of([], {"minixl": measured["minixl"]})


@pytest.fixture
def arguments(tmp_path):
    return ["bench", "predict", "--encoder", str(write_encoder(tmp_path / "encoder")), "--source",
            f"en={write_sentences(tmp_path / 'en.txt')}", "--pieces", "200", "--repeats", "1", "--threads", "1"]


def test_the_command(arguments, tmp_path):
    file = tmp_path / "figures.json"
    done = CliRunner().invoke(cli, [*arguments, "--against", "transformers", "--json", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "3 layers, 32 wide" in lines[0] and lines[1].startswith("1 thread, the median of 1 time; python ")
    assert [line.split()[0] for line in lines if " on average; " in line] == ["posts", "sentences", "documents"]
    assert sum(line.startswith("transformers ") and " x " in line for line in lines) == 3
    assert sum(line.endswith("times as fast as transformers, the fastest of the others in float32") for line in lines) == 3
    figures = json.loads(file.read_text(encoding="utf-8"))
    for of_length in figures["lengths"].values():
        ours, theirs = of_length["engines"]["minixl"], of_length["engines"]["transformers"]
        assert of_length["ratio"] == pytest.approx(theirs["seconds"] / ours["seconds"]) and theirs["same_tags"] == 1
        assert 0 < theirs["largest_difference"] < 1e-4
        assert ours["tokens_per_second"] == pytest.approx(of_length["tokens"] / ours["seconds"])


def test_alone(arguments):
    done = CliRunner().invoke(cli, [*arguments, "--lengths", "posts"], catch_exceptions=False)
    assert done.exit_code == 0 and "minixl is" in done.stdout and "times as fast" not in done.stdout
    assert "documents" not in done.stdout


def test_engines_that_cannot_be_measured(monkeypatch):
    with pytest.raises(UserError, match="^--against torch: expected transformers, onnxruntime, openvino, with commas between "
                                        "several, found torch$"):
        peers_of("torch")
    assert peers_of("") == () and peers_of(" transformers, transformers") == ("transformers",)
    find = importlib.util.find_spec
    for package in ("onnxruntime", "openvino"):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, missing=package: None if name == missing else find(name))
        with pytest.raises(UserError, match=f"^--against {package}: {package} is not installed; install it with: pip install "
                                            r"'minixl\[bench\]'$"):
            peers_of(package)
