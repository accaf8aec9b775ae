"""tests/on_a_gpu.sh in a short form on the stand-in: every step runs, leaves its files, and a failure is reported."""
import json
import os
import subprocess
import sys
from pathlib import Path

import cupy
import pytest

from tests.bench.training.inputs import write_encoder, write_sentences

STEPS = ["device", "tests", "kernels", "training", "memcheck", "racecheck"]
SCRIPT = Path(__file__).parents[1] / "on_a_gpu.sh"


@pytest.fixture
def tools(tmp_path):
    """A PATH with a compute-sanitizer that only runs the command it is given."""
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text('#!/usr/bin/env bash\nwhile [[ $1 == --* ]]; do shift 2; done\nexec "$@"\n')
    tool.chmod(0o755)
    return f"{tool.parent}{os.pathsep}{os.environ['PATH']}"


def run(path, folder, python, *tests):
    encoder, source = write_encoder(folder.parent / "encoder"), write_sentences(folder.parent / "en.txt")
    training = f"--encoder {encoder} --source en={source} --steps 1 --repeats 1 --batch-size 4 --max-length 32 --batches random"
    environment = {**os.environ, "PATH": path, "PYTHON": python, "OPS": "gelu", "TRAINING": training}
    done = subprocess.run([SCRIPT, folder, *tests], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, (folder / "summary.txt").read_text().splitlines()


@pytest.mark.skipif(cupy.cuda.is_available(), reason="the script itself is run there")
def test_every_step_leaves_its_files(tools, tmp_path):
    code, summary = run(tools, tmp_path / "results", sys.executable, "tests/kernels/test_gelu.py")
    assert code == 0, summary
    assert [line.partition(":")[0] for line in summary] == STEPS and all(": exit code 0, " in line for line in summary)
    assert "passed" in (tmp_path / "results" / "racecheck.log").read_text()
    rows = json.loads((tmp_path / "results" / "kernels.json").read_text())["rows"]
    assert {row["op"] for row in rows} == {"gelu"} and {row["engine"] for row in rows} >= {"numpy", "torch"}
    assert json.loads((tmp_path / "results" / "training.json").read_text())["settings"]["random"]["ratio"]["train"] > 0


@pytest.mark.skipif(cupy.cuda.is_available(), reason="the script itself is run there")
def test_a_failure_is_reported_and_stops_no_other_step(tools, tmp_path):
    code, summary = run(tools, tmp_path / "results", "false")
    assert code == 1 and [line.partition(",")[0] for line in summary] == [f"{step}: exit code 1" for step in STEPS]
