"""minixl bench: the table, the JSON, the errors."""
import importlib.util
import json

import pytest
from click.testing import CliRunner

from minixl.cli.main import cli
from minixl.errors import UserError
from tests.bench.training.inputs import write_encoder, write_sentences


@pytest.fixture
def arguments(tmp_path):
    return ["bench", "train", "--encoder", str(write_encoder(tmp_path / "encoder")), "--source",
            f"en={write_sentences(tmp_path / 'en.txt')}", "--batch-size", "4", "--steps", "2", "--repeats", "1",
            "--max-length", "32", "--threads", "1", "--freeze", "bottom:1"]


def run(arguments, **kwargs):
    return CliRunner().invoke(cli, arguments, catch_exceptions=False, **kwargs)


def test_against_torch(arguments, tmp_path):
    file = tmp_path / "figures.json"
    done = run([*arguments, "--against", "torch", "--batches", "random", "--json", str(file)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert "3 layers, 32 wide" in lines[0] and "1 thread," in lines[1] and "transformers " in lines[1]
    header = next(i for i, line in enumerate(lines) if line.startswith("engine"))
    assert lines[header].split("  ")[0] == "engine"
    assert [cell.strip() for cell in lines[header].split("  ") if cell][1:] == [
        "step s", "alone s", "tokens/s", "predict tokens/s", "peak MiB"]
    assert [line.split()[0] for line in lines[header + 1:header + 4]] == ["minixl", "transformers", "minixl"]
    assert lines[header + 3].startswith("minixl is") and lines[header + 3].count(" x") == 2
    assert lines[header + 4].startswith("matrix products: ") and "timing minixl and transformers" in done.stderr
    assert lines[header + 5].startswith("minixl does a training step ") and lines[header + 5].endswith("as fast as transformers")
    check_figures(json.loads(file.read_text(encoding="utf-8")))


def check_figures(result):
    assert result["threads"] == 1 and result["frozen"] == ["bottom:1"] and 0 < result["trained"] < result["weights"]
    assert {"python", "minixl", "numpy", "torch", "transformers"} == set(result["versions"])
    assert list(result["settings"]) == ["random"]
    figures = result["settings"]["random"]
    assert figures["batches"] == 2 and 0 < figures["tokens"] < figures["padded_tokens"]
    ours, theirs = figures["engines"]["minixl"], figures["engines"]["transformers"]
    assert ours["first_loss"] == pytest.approx(theirs["first_loss"], rel=1e-5)
    for engine in (ours, theirs):
        assert set(engine) == {"step_seconds", "train_tokens_per_second", "predict_tokens_per_second",
                               "alone_step_seconds", "peak_memory_bytes", "first_loss", "batch_seconds"}
        assert engine["train_tokens_per_second"] == pytest.approx(figures["tokens"] / sum(engine["batch_seconds"]))
        assert engine["peak_memory_bytes"] > 20 << 20
    assert figures["ratio"]["train"] == pytest.approx(theirs["step_seconds"] / ours["step_seconds"])
    assert figures["ratio"]["peak_memory"] < 1, "minixl's process must not hold PyTorch"
    products = figures["products"]
    assert products["seconds"] == pytest.approx(products["operations_per_step"] / products["operations_per_second"])
    assert products["share_of_step"] == pytest.approx(products["seconds"] / ours["step_seconds"])


def test_bilstm_crf_against_torch(tmp_path):
    file = tmp_path / "figures.json"
    done = run(["bench", "train", "--model", "bilstm-crf", "--source", f"en={write_sentences(tmp_path / 'en.txt')}",
                "--batch-size", "4", "--steps", "2", "--repeats", "1", "--threads", "1", "--batches", "random",
                "--against", "torch", "--json", str(file)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert "states 2 x 100" in lines[0] and "9 tags" in lines[0] and "pytorch-crf " in lines[1]
    header = next(i for i, line in enumerate(lines) if line.startswith("engine"))
    assert "decode tokens/s" in lines[header]
    assert [line.split()[0] for line in lines[header + 1:header + 4]] == ["minixl", "torch", "minixl"]
    assert lines[header + 3].count(" x") == 3
    assert lines[header + 4].startswith("tags: of ") and "clip, SGD, zero" in done.stdout
    assert not any(line.startswith("matrix products") for line in lines)
    figures = json.loads(file.read_text(encoding="utf-8"))["settings"]["random"]
    ours, theirs = figures["engines"]["minixl"], figures["engines"]["torch"]
    assert ours["first_loss"] == pytest.approx(theirs["first_loss"], rel=1e-5)
    ratio = ours["decode_tokens_per_second"] / theirs["decode_tokens_per_second"]
    assert figures["ratio"]["decode"] == pytest.approx(ratio)
    assert lines[header + 5] == (f"minixl does a training step {figures['ratio']['train']:.2f} times as fast as torch, the search "
                                 f"for the best tags (decode) {ratio:.2f} times as fast as pytorch-crf's")
    assert figures["tags"]["differ_decoded"] == 0 < figures["tags"]["words"]


def test_bert_adversarial_against_torch(arguments, tmp_path):
    file = tmp_path / "figures.json"
    done = run([*arguments, "--model", "bert-adversarial", "--target", f"es={write_sentences(tmp_path / 'es.txt', 20)}", "--level",
                "sentence", "--against", "torch", "--batches", "random", "--json", str(file)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("bert-adversarial: 3 layers, 32 wide, a discriminator on every sentence")
    header = next(i for i, line in enumerate(lines) if line.startswith("engine"))
    assert "predict" not in lines[header] and lines[header + 3].count(" x") == 1
    assert [line[:2].strip() for line in lines[header + 5:header + 9]] == ["pa", "T", "D", "G"]
    result = json.loads(file.read_text(encoding="utf-8"))
    figures = result["settings"]["random"]
    ours, theirs = figures["engines"]["minixl"], figures["engines"]["transformers"]
    for loss, value in ours["first_loss"].items():
        assert value == pytest.approx(theirs["first_loss"][loss], rel=1e-5)
    total = sum(second for parts in ours["parts"].values() for second in parts.values())
    assert ours["parts_seconds"] == pytest.approx(total)
    assert ours["step_to_parts"] == pytest.approx(ours["step_seconds"] / total)
    assert f"an iteration takes {ours['step_to_parts']:.2f} times as long as all its parts" in lines[header + 9]
    assert lines[header + 10] == f"minixl does an iteration {figures['ratio']['train']:.2f} times as fast as transformers"
    assert "the updates T, D and G: forward" in done.stdout and result["target"].endswith("es.txt")


def test_alone_needs_no_torch(arguments, tmp_path):
    (tmp_path / "hidden").mkdir()
    for package in ("torch", "transformers"):
        (tmp_path / "hidden" / f"{package}.py").write_text("raise ImportError('not installed')", encoding="utf-8")
    done = run([*arguments, "--freeze", "none"], env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert done.exit_code == 0
    assert "batches random, padded" in done.stdout and "batches grouped by length" in done.stdout
    assert "minixl is" not in done.stdout and "transformers 5" not in done.stdout


def test_torch_missing(arguments, monkeypatch):
    hide(monkeypatch, "torch")
    with pytest.raises(UserError, match=r"--against torch: torch is not installed; install it with: pip install 'minixl\[test\]'"):
        run([*arguments, "--against", "torch"])


def test_pytorch_crf_missing(tmp_path, monkeypatch):
    hide(monkeypatch, "torchcrf")
    with pytest.raises(UserError, match=r"--against torch: pytorch-crf is not installed; install it with: pip"):
        run(["bench", "train", "--model", "bilstm-crf", "--against", "torch"])


def hide(monkeypatch, package):
    """Make find_spec report that a package is not installed."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else find_spec(name, *a))


@pytest.mark.parametrize(("extra", "message"), [
    (["--encoder", "nowhere"], "nowhere: no such folder"),
    (["--freeze", "bottom:9"], "bottom:9: expected bottom:N with N from 0 to 3"),
    (["--freeze", "bert.nothing.*"], "matches no parameter"),
    (["--json", "nowhere/figures.json"], "--json nowhere/figures.json: there is no folder nowhere"),
    (["--source", "en.txt"], "--source en.txt: expected LANGUAGE=FILE"),
    (["--max-length", "500"], "500 word pieces are more than the encoder's 64 positions"),
])
def test_errors(arguments, extra, message):
    with pytest.raises(UserError) as caught:
        run([*arguments, *extra])
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("extra", [["--steps", "0"], ["--against", "jax"], ["--model", "gpt"]])
def test_usage_errors(arguments, extra):
    done = run([*arguments, *extra])
    assert done.exit_code == 2 and extra[0] in done.stderr


def test_kernels_get_the_ops(monkeypatch):
    calls = []
    monkeypatch.setattr("minixl.bench.kernels.benchmark.run", lambda ops, **options: calls.append((ops, options)))
    assert run(["bench", "kernels", "gelu", "layernorm", "--against", "torch", "--readme"]).exit_code == 0
    assert [ops for ops, _ in calls] == [("gelu", "layernorm")] and callable(calls[0][1].pop("say"))
    assert calls[0][1] == {"against": "torch", "json_file": None, "plot_file": None, "readme": True}


def test_kernels_say_what_they_time(monkeypatch):
    """On stderr; stdout only gets the table."""
    for name, value in {"SECONDS": 0, "ceilings": lambda: {"copy": 10.0, "product": 100.0}, "peak": lambda *a: None}.items():
        monkeypatch.setattr(f"minixl.bench.kernels.benchmark.{name}", value)
    done = run(["bench", "kernels", "gelu"])
    assert done.stderr.splitlines()[-1] == "1 of 1: timing gelu"
    assert "GFLOP/s (float32)" in done.stdout.splitlines()[0] and "timing" not in done.stdout


def test_the_file_is_checked_before_anything_is_measured(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("minixl.bench.training.benchmark.run", lambda *a: pytest.fail("measured before the file was checked"))
    with pytest.raises(UserError, match=r"^--json .*: cannot be written \(File name too long\); choose another file$"):
        run([*arguments, "--json", str(tmp_path / ("x" * 300))])


def test_ranks_against_torch(arguments, tmp_path):
    """The same loss in every configuration, times of a step and of the sum."""
    file = tmp_path / "figures.json"
    done = run([*arguments, "--against", "torch", "--batches", "random", "--ranks", "2", "--json", str(file)])
    assert done.exit_code == 0
    rows = json.loads(file.read_text(encoding="utf-8"))["settings"]["random"]["rows"]
    assert [(row["engine"], row["processes"], row["threads"]) for row in rows] == [("minixl", 2, 1), ("torch", 2, 1)]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-5)
    assert 0 < rows[0]["sum_seconds"] < rows[0]["step_seconds"] and rows[1]["step_seconds"] > 0
    header = next(line for line in done.stdout.splitlines() if line.startswith("engine"))
    assert header.split() == ["engine", "processes", "threads", "each", "step", "s", "tokens/s", "sum", "s", "of", "the", "step"]


@pytest.mark.parametrize(("more", "message"), [
    (["--ranks", "one"], "--ranks: expected numbers of processes such as 1,2, found 'one'"),
    (["--ranks", "2", "--model", "bilstm-crf"], "--ranks: expected --model bert on a CPU")])
def test_mistakes_with_ranks(arguments, more, message):
    done = CliRunner().invoke(cli, [*arguments, *more])
    assert done.exit_code and message in done.output + str(done.exception)
