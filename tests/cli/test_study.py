"""minixl study: its tables, exit codes and mistakes."""
import json
import re

import pytest

from minixl.study import cases, differences
from tests.whole_runs import TEACHER_STEPS, advpicker, settings, stopped, write_data


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


def test_only_what_has_a_name(minixl):
    text = ["--text", "anna lives", "--labels", "B-PER O"]
    code, out, _ = minixl("study", "step", "bilstm-crf", *text, "--only", "backward crf")
    headings = [line for line in out.splitlines() if line.startswith("[") and "inside" not in line]
    assert code == 0 and [line.partition("] ")[2].split(":")[0] for line in headings] == ["backward crf"]
    code, out, _ = minixl("study", "step", "bilstm-crf", *text, "--only", "update")
    assert code == 0 and out.count("update by the loss") == 1 and "norm of the gradient" in out
    code, out, err = minixl("study", "step", "bilstm-crf", *text, "--only", "bilstn")
    assert code == 2 and not out
    assert err == "Error: --only: nothing in this step has 'bilstn' in its name; did you mean bilstm?\n"


def test_a_page(minixl, tmp_path):
    page = tmp_path / "made" / "page.html"
    code, out, err = minixl("study", "page", "bilstm-crf", "--text", "anna lives", "--labels", "B-PER O", "--out", page)
    text = page.read_text(encoding="utf-8")
    events, arrays = text.count('"part":'), text.count('"table":')
    cut = r"(, \d+ of them cut to evenly spaced rows and columns)?"
    assert code == 0 and not err
    assert re.fullmatch(rf"{page}: {events} events, {arrays} arrays{cut}; {len(text.encode()) / 1e6:.1f} MB\n", out)
    assert "<h1>A step of finetune on bilstm-crf</h1>" in text and "task: the loss is " in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(("arguments", "message", "expected"), [
    (["--text", "anna", "--labels", "O O"], "--labels: expected 1 labels, one for each word of 'anna', got 2", 2),
    (["--text", "anna ben " * 9, "--labels", "O B-PER " * 9, "--set", "data.max_length=8"], "--text:1: the sentence has 18", 2),
    (["--text", "anna ben", "--labels", "O B-PER", "--method", "advpicker"], "--method advpicker: its last stage", 2),
    (["--out", "."], "--out: expected a file, for example page.html, got the folder .", 2),
    (["--text", "anna ben", "--labels", "O B-PER", "--out", "/dev/null/page.html"], "/dev/null/page.html: cannot be written", 1),
    (["--text", "anna ben", "--labels", "O B-PER", "--weight", "crf.transition[0,1]"],
     "--weight: there is no parameter 'crf.transition'; did you mean crf.transitions?", 2)])
def test_a_page_that_cannot_be_made_is_one_line(minixl, arguments, message, expected):
    code, out, err = minixl("study", "page", "bilstm-crf", *arguments)
    assert code == expected and not out and err.startswith(f"Error: {message}") and err.count("\n") == 1


def test_a_page_of_the_student_of_advpicker(minixl, tmp_path):
    """From the checkpoint in the middle of a run."""
    folder, out, page = write_data(tmp_path / "data"), tmp_path / "run", tmp_path / "page.html"
    stopped(folder, out, advpicker(train__checkpoint_every=1), 2 * TEACHER_STEPS + 2)
    code, _, _ = minixl("study", "page", out, "--out", page)
    text = page.read_text(encoding="utf-8")
    assert code == 0 and f"<h1>Step 2 of {out}, advpicker</h1>" in text and "soft_squared_error" in text
    code, _, _ = minixl("study", "page", out, "--stage", "teachers/seed-1", "--at-step", 1, "--out", page)
    assert code == 0 and '"loss":"generator"' in page.read_text(encoding="utf-8")
