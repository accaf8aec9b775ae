"""run.groups: teachers and seeds on groups of processes at the same time, with the bits of each group's number of processes."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from minixl.distributed.launch import together
from minixl.methods import SCHEMA, train
from minixl.run.groups import on_groups
from minixl.training.progress import Logged
from tests.distributed.mpiexec import mpiexec
from tests.distributed.runs import CASES, inputs, write
from tests.whole_runs import assert_same_run

RUNS = {"advpicker": {"seed": 3}, "finetune": {"seeds": (1, 2, 3)}}
PROGRAM = "import sys\nfrom tests.distributed.test_groups import train_all\ntrain_all(*sys.argv[1:])"


def train_all(data: str, out: str) -> None:
    """Train AdvPicker and three seeds."""
    with together():
        for case, options in RUNS.items():
            chosen = SCHEMA.settings({**CASES[case], "run.groups": 2})
            train(chosen, inputs(case, Path(data)), Path(out) / case, reporter=Logged(), **options)


def test_two_groups_of_one(tmp_path):
    """Each group is one process, so teachers and seeds have the bits of one process alone."""
    data = write(tmp_path / "data")
    subprocess.run([*mpiexec(2), sys.executable, "-c", PROGRAM, data, tmp_path / "two"], check=True, timeout=120)
    train_all(str(data), str(tmp_path / "one"))
    one, two = tmp_path / "one", tmp_path / "two"
    for part in ("advpicker/teachers/seed-1", "advpicker/teachers/seed-2", "finetune/seed-1", "finetune/seed-2", "finetune/seed-3"):
        assert_same_run(one / part, two / part)
    summaries = [json.loads((folder / "finetune" / "metrics.json").read_text()) for folder in (one, two)]
    assert summaries[0]["test"] == summaries[1]["test"] and summaries[1]["seeds"] == [1, 2, 3]
    assert (two / "advpicker" / "metrics.json").is_file()


def test_without_several_processes_the_stages_follow_each_other():
    made: list[int] = []
    assert on_groups(3, [5, 6, 7], lambda item: made.append(item) or -item) == [-5, -6, -7] and made == [5, 6, 7]
