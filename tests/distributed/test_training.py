"""Two and four processes give the parameters of one, for every method; the same number of processes gives the same bits.

A start of mpiexec takes a second or two, so each trains all cases.
"""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.distributed.mpiexec import mpiexec
from tests.distributed.runs import CASES, write
from tests.whole_runs import assert_same_run

FEW = ("finetune", "mlma")
# Of these the loss does not depend, so an optimiser of Adam's kind moves them by rounding errors: the softmax of attention takes
# no notice of what is added to all scores of a query, and average linkage of a shift of all points
FREE = {case: ("key.bias",) for case in CASES} | {"adversary": ("key.bias", "layer.2.output.LayerNorm.bias")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of the runs by N processes in a precision, which are trained when they are first asked for."""
    folder = tmp_path_factory.mktemp("distributed")
    data = write(folder / "data")

    def of(processes: int, dtype: str, *cases: str) -> Path:
        out = folder / f"{processes}-{dtype}"
        if not out.is_dir():
            command = [sys.executable, "-m", "tests.distributed.runs", data, out, dtype, *cases]
            subprocess.run([*mpiexec(processes), *command], check=True, timeout=300)
        return out

    return of


def assert_same_parameters(one: Path, other: Path, tolerance: float, free: tuple[str, ...] = ()) -> None:
    """Compare the parameters after the last step of every stage, each with the largest value of its tensor."""
    states = sorted(one.rglob("checkpoint/state-*.safetensors"))
    assert states
    for state in states:
        theirs = load_file(other / state.relative_to(one))
        for name, value in load_file(state).items():
            if name.startswith("parameter/") and not name.endswith(free):
                np.testing.assert_allclose(theirs[name], value, rtol=0, atol=tolerance * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_parameters_of_one(trained, case):
    one, two = trained(1, "float64") / case, trained(2, "float64") / case
    assert_same_parameters(one, two, 1e-12, FREE[case])
    metrics = [json.loads((out / "metrics.json").read_text()) for out in (one, two)]
    assert metrics[0]["test"] == metrics[1]["test"] and metrics[0]["steps"] == metrics[1]["steps"] == 20
    assert sorted(path.relative_to(one) for path in one.rglob("*")) == sorted(path.relative_to(two) for path in two.rglob("*"))
    losses = [[json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, two)]
    for ours, theirs in zip(*losses, strict=True):
        for name, value in ours.items() if ours["kind"] == "update" else ():
            assert theirs[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


@pytest.mark.parametrize("case", FEW)
def test_four_processes_too(trained, case):
    """In batches of 2 to 4 sentences, some of them get nothing."""
    assert_same_parameters(trained(1, "float64") / case, trained(4, "float64", *FEW) / case, 1e-12, FREE[case])


@pytest.mark.parametrize("case", FEW)
def test_float32(trained, case):
    assert_same_parameters(trained(1, "float32", *FEW) / case, trained(2, "float32", *FEW) / case, 1e-5, FREE[case])


@pytest.mark.parametrize("case", FEW)
def test_the_same_number_of_processes_gives_the_same_bits(trained, case):
    """In float32 every case is trained twice."""
    assert_same_run(trained(2, "float32", *FEW) / case, trained(2, "float32", *FEW) / "again" / case)
