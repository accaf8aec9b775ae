"""Whole runs with --device cuda against the same on the CPU."""
import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.backend import array_module_for
from minixl.methods import train
from tests.device.runs import RUNS, in_float64, inputs_of, settings_of, write_run_data  # noqa: F401
from tests.whole_runs import Quiet, records

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_run_data(tmp_path_factory.mktemp("data"))


def run(data, out, chosen, **options):
    reporter = Quiet()
    train(settings_of(chosen), inputs_of(data, chosen), out, **{"seed": 3, "reporter": reporter, **options})
    return reporter


def assert_close(one, two, rtol):
    """Every parameter of two model folders, relative to its largest value; and the losses of all updates."""
    theirs = load_file(two / "model" / "model.safetensors")
    for name, value in load_file(one / "model" / "model.safetensors").items():
        if not name.endswith("key.bias"):                              # its gradient is zero, what Adam scales up is rounding
            np.testing.assert_allclose(value, theirs[name], rtol=0, atol=rtol * max(np.abs(theirs[name]).max(), 1e-3), err_msg=name)
    pairs = [[record for record in records(out) if record["kind"] == "update"] for out in (one, two)]
    assert [(r["step"], r["loss"]) for r in pairs[0]] == [(r["step"], r["loss"]) for r in pairs[1]]
    np.testing.assert_allclose(*([r["value"] for r in updates] for updates in pairs), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", RUNS)
def test_float64_without_kernels(data, tmp_path, cuda, monkeypatch, in_float64, name):  # noqa: F811
    """The same formulas on both devices: the same to the last digits."""
    monkeypatch.setenv("MINIXL_KERNELS", "0")
    run(data, tmp_path / "cpu", RUNS[name])
    run(data, tmp_path / "cuda", RUNS[name], xp=array_module_for("cuda"))
    assert_close(tmp_path / "cuda", tmp_path / "cpu", 1e-7)
