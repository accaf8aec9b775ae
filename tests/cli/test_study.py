"""minixl study: its tables, exit codes and mistakes."""
import pytest

from minixl.study import cases, differences


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
