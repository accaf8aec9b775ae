"""minixl study: its tables, exit codes and mistakes."""
import json

import pytest

from minixl.study import cases, differences
from tests.whole_runs import settings, stopped, write_data


def test_check(minixl):
    code, out, err = minixl("study", "check", "log_softmax", "crf")
    assert code == 0 and err.startswith("all passed; limits: 1e-06 central differences, 1e-09 PyTorch")
    header, *lines = out.splitlines()
    assert header.split() == ["name", "parameter", "compared", "with", "relative", "error", "verdict"]
    assert [line.split("  ")[0] for line in lines] == ["crf", "crf", "crf, legal tags", "crf, legal tags", "softmax", "softmax",
                                                       "log_softmax", "log_softmax"]
    assert all(line.endswith("passed") for line in lines)
    code, every, _ = minixl("study", "check", "crf", "--parameters")
    assert code == 0 and sum("central differences" in line for line in every.splitlines()) == 8


def test_a_failure(minixl, monkeypatch):
    real = cases.make_cases

    def doubled(name, module=None):
        made = real(name, module)
        for case in made:
            case.backward = lambda dy, cache, backward=case.backward: (2 * backward(dy, cache)[0], {})
        return made

    monkeypatch.setattr("minixl.study.check.make_cases", doubled)
    monkeypatch.setattr(differences, "has_torch", lambda: False)
    code, out, err = minixl("study", "check", "gelu")
    assert code == 1 and "PyTorch is not installed" in err and "1 gradients or values FAILED" in err
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["FAILED"]


def test_change(minixl):
    code, out, err = minixl("study", "check", "softmax", "--change", "ops/softmax.py", "dx = dprobs * probs", "dx = dprobs + 0")
    failed = [line for line in out.splitlines() if line.endswith("FAILED")]
    assert code == 1 and failed and all(line.startswith("softmax") for line in failed)
    assert err.endswith("the lines with FAILED notice this change\n")
    code, out, err = minixl("study", "check", "linear", "--change", "ops/softmax.py", "dx = dprobs * probs", "dx = dprobs + 0")
    assert code == 0 and err.endswith("no check notices this change\n")


def test_list(minixl):
    code, out, _ = minixl("study", "check", "--list")
    assert code == 0 and "op      gelu" in out and "model   bilstm-crf, tied" in out and "method  linkage" in out


@pytest.mark.parametrize(("arguments", "message"), [
    (["gleu"], "there is no op, model or method 'gleu'; did you mean gelu?"),
    (["zzzz"], "there is no op, model or method 'zzzz'; minixl study check --list shows all"),
    (["--change", "ops/none.py", "a", "b"], "--change ops/none.py: expected a Python file of minixl")])
def test_mistakes_are_one_line(minixl, arguments, message):
    code, out, err = minixl("study", "check", *arguments)
    assert code == 2 and not out and err.startswith(f"Error: {message}") and err.count("\n") == 1


def test_a_step_of_a_run(minixl, tmp_path):
    """As --resume would make it; the loss is that in its log."""
    folder, out = write_data(tmp_path / "data"), tmp_path / "run"
    chosen = settings(train__max_steps=4, train__checkpoint_every=1)
    stopped(folder, out, chosen, 2)
    code, last, _ = minixl("study", "step", out, "--weight", "classifier.bias[1]")
    assert code == 0 and "update by the loss 'task'" in last and "classifier.bias[1]: " in last
    code, first, err = minixl("study", "step", out, "--at-step", 1)
    value = json.loads((out / "log.jsonl").read_text().splitlines()[1])["value"]
    assert code == 0 and f"loss {value:.6g}, learning rate" in first and err.endswith("replaying steps 0 to 0\n")
    for arguments, message in ((["--at-step", "9"], "--at-step: expected 0 to 3, the steps of this stage, got 9"),
                               (["--method", "finetune"], "--method, --recipe, --set and --target: a run is replayed")):
        code, printed, err = minixl("study", "step", out, *arguments)
        assert code == 2 and not printed and err.splitlines()[-1].startswith(f"Error: {message}")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--text", "anna", "--labels", "O O"], "--labels: expected 1 labels, one for each word of 'anna', got 2"),
    (["--text", "anna"], "expected one --labels for each --text, got 0 for 1"),
    (["--text", "anna ben " * 9, "--labels", "O B-PER " * 9, "--set", "data.max_length=8"], "--text:1: the sentence has 18 words"),
    (["--at-step", "1"], "--at-step and --stage: expected the folder of a run as MODEL, and no --text"), ([], "--text is missing")])
def test_a_step_that_cannot_be_made_is_one_line(minixl, arguments, message):
    code, out, err = minixl("study", "step", "bilstm-crf", *arguments)
    assert code == 2 and not out and err.startswith(f"Error: {message}") and err.count("\n") == 1
