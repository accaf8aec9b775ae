"""Which processes were started together, how many threads each gets, and what is wrong with an installation."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minixl.distributed import launch


@pytest.mark.parametrize(("environment", "count"), [
    ({}, 1), ({"PMI_SIZE": "4", "PMI_RANK": "1"}, 4), ({"OMPI_COMM_WORLD_SIZE": "2"}, 2), ({"MV2_COMM_WORLD_SIZE": "8"}, 8),
    ({"PMIX_RANK": "0", "SLURM_NTASKS": "3"}, 3), ({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "16"}, 2),
    ({"SLURM_NTASKS": "16"}, 1), ({"PMI_SIZE": "1"}, 1)])
def test_processes(environment, count):
    """An allocation of Slurm alone is no start by srun."""
    assert launch.processes(environment) == count


@pytest.mark.parametrize(("environment", "cores", "bound", "threads"), [
    ({"PMI_SIZE": "4", "MPI_LOCALNRANKS": "2"}, 8, False, 4), ({"PMI_SIZE": "4"}, 8, False, 2), ({"PMI_SIZE": "4"}, 2, False, 1),
    ({"PMI_SIZE": "4"}, 8, True, 0), ({"PMI_SIZE": "4", "OMP_NUM_THREADS": "3"}, 8, False, 0), ({}, 8, False, 0)])
def test_processes_on_a_computer_divide_its_cores(monkeypatch, environment, cores, bound, threads):
    """Unless they are set, or the launcher has bound each process to some: 0."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setattr(os, "cpu_count", lambda: cores * (1 + bound))
    assert launch.share_cores(environment) == threads


@pytest.mark.parametrize(("before", "message"), [
    ("sys.modules['mpi4py'] = None", "Error: mpiexec started 3 processes: expected mpi4py with an MPI, found neither ("),
    ("", "Error: mpiexec started 3 processes, but MPICH ")], ids=["no mpi4py", "another MPI"])
def test_an_installation_that_does_not_fit(before, message):
    """Without mpi4py, and with the mpiexec of another MPI than that of mpi4py, which sees one process."""
    program = f"import sys\n{before}\nimport minixl.cli.main as cli\nsys.argv[1:] = ['data', 'sample', 'nowhere']\ncli.main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "OMPI_COMM_WORLD_SIZE": "3"})
    assert done.returncode == 1 and done.stderr.startswith(message) and done.stderr.count("\n") == 1 and not done.stdout
