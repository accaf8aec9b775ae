"""Whole runs with --device cuda against the same on the CPU."""
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.backend import array_module_for
from minixl.methods import train
from tests.device.runs import RUNS, in_float64, inputs_of, settings_of, write_run_data  # noqa: F401
from minixl.training.progress import Stopped
from tests.whole_runs import Quiet, assert_same_run, records

pytestmark = pytest.mark.gpu


# two clouds of points that nearly agree: the terms of the gradient cancel, and Adam divides by what remains
LAST_DIGITS = {"linkage": 1e-7}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_run_data(tmp_path_factory.mktemp("data"))


def run(data, out, chosen, **options):
    reporter = Quiet()
    train(settings_of(chosen, train__keep_checkpoint=True), inputs_of(data, chosen), out,
          **{"seed": 3, "reporter": reporter, **options})
    return reporter


def parameters(out):
    """The last parameters, in the precision of the training; model/ has float32."""
    latest = json.loads((out / "checkpoint" / "latest.json").read_text())
    arrays = load_file(out / "checkpoint" / latest["files"]["state"])
    return {name: array for name, array in arrays.items() if name.startswith("parameter/")}


def assert_close(one, two, rtol):
    """Every parameter of two runs, relative to its largest value; and the losses of all updates."""
    theirs = parameters(two)
    for name, value in parameters(one).items():
        if not name.endswith("key.bias"):                              # its gradient is zero, what Adam scales up is rounding
            np.testing.assert_allclose(value, theirs[name], rtol=0, atol=rtol * max(np.abs(theirs[name]).max(), 0.1), err_msg=name)
    pairs = [[record for record in records(out) if record["kind"] == "update"] for out in (one, two)]
    assert [(r["step"], r["loss"]) for r in pairs[0]] == [(r["step"], r["loss"]) for r in pairs[1]]
    np.testing.assert_allclose(*([r["value"] for r in updates] for updates in pairs), rtol=max(rtol, 1e-6), atol=rtol)


@pytest.mark.parametrize("name", ["finetune", "language-adversarial, tokens", "bilstm-crf"])
def test_float32_with_kernels(data, tmp_path, cuda, name):
    """Adam makes a step of full size of a gradient that is nothing but rounding, so plain SGD is compared."""
    chosen = {**RUNS[name], "optim.name": "sgd", "optim.lr": 0.01, "optim.head_lr": 0.01,
              "train.max_steps": 5 if "adversary.level" in RUNS[name] else 20}
    run(data, tmp_path / "cpu", chosen)
    run(data, tmp_path / "cuda", chosen, xp=array_module_for("cuda"))
    assert_close(tmp_path / "cuda", tmp_path / "cpu", 1e-5)


@pytest.mark.parametrize("name", ["finetune", "advpicker", "bilstm-crf", "zero-resource"])
@pytest.mark.parametrize("there_first", [True, False])
def test_a_run_continues_on_the_other_device(data, tmp_path, cuda, monkeypatch, in_float64, name, there_first):  # noqa: F811
    """Stopped on one device and continued on the other, a run ends as on the CPU alone."""
    monkeypatch.setenv("MINIXL_KERNELS", "0")
    run(data, tmp_path / "cpu", RUNS[name])
    devices = [array_module_for("cuda"), np]
    first, second = devices if there_first else devices[::-1]
    reporter = Quiet()
    with pytest.raises(Stopped):
        run(data, tmp_path / "both", RUNS[name], xp=first, reporter=reporter, stop=lambda: reporter.steps >= 7)
    run(data, tmp_path / "both", RUNS[name], xp=second, resume=True)
    assert_close(tmp_path / "both", tmp_path / "cpu", 1e-11)


@pytest.mark.parametrize("name", ["finetune", "bilstm-crf"])
def test_resume_to_the_same_bits(data, tmp_path, cuda, name):
    """With kernels and dropout, stopped anywhere: sums are made in the same order every time."""
    chosen = {**RUNS[name], "model.dropout": 0.3, "train.max_steps": 6, "train.eval_every": 2}
    xp = array_module_for("cuda")
    run(data, tmp_path / "whole", chosen, xp=xp)
    reporter = Quiet()
    with pytest.raises(Stopped):
        run(data, tmp_path / "stopped", chosen, xp=xp, reporter=reporter, stop=lambda: reporter.steps >= 3)
    run(data, tmp_path / "stopped", chosen, xp=xp, resume=True)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize("name", RUNS)
def test_float64_without_kernels(data, tmp_path, cuda, monkeypatch, in_float64, name):  # noqa: F811
    """The same formulas on both devices: the same to the last digits."""
    monkeypatch.setenv("MINIXL_KERNELS", "0")
    run(data, tmp_path / "cpu", RUNS[name])
    run(data, tmp_path / "cuda", RUNS[name], xp=array_module_for("cuda"))
    assert_close(tmp_path / "cuda", tmp_path / "cpu", LAST_DIGITS.get(name, 1e-11))
