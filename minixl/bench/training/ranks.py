"""Time a training step shared out to several processes, minixl over MPI against PyTorch's DistributedDataParallel over gloo.

Every configuration, N processes with the threads divided among them, trains the same model on the same batches.  mpiexec starts as
many processes as the largest has; the configurations take turns, batch by batch, so that other load on the machine affects all of
them alike, and the processes that one does not need sleep meanwhile.  A step counts until its last process has finished.
"""
from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minixl.bench.training.benchmark import versions
from minixl.bench.training.contender import MAKERS, load
from minixl.bench.training.report import counted, heading
from minixl.bench.training.work import BATCH_KINDS, Options, Say, Work, pieces
from minixl.bench.training.worker import check_equal
from minixl.errors import UserError

ENGINES = {"minixl": "minixl_bert.MinixlBert", "torch": "ddp_bert.DdpBert"}
SHOWN = {"minixl": "minixl", "torch": "PyTorch DDP"}


class Configuration(NamedTuple):
    engine: str                        # key of ENGINES
    processes: int
    threads: int                       # of each process


@dataclass(frozen=True, slots=True)
class RanksJob:
    """What the processes measure."""

    configurations: tuple[Configuration, ...]
    work: Work
    batch_kind: str
    repeats: int
    meeting: Path                      # file by which PyTorch's processes find each other


def run(options: Options, ranks: Sequence[int], say: Say = lambda text: None) -> dict[str, Any]:
    """Measure every number of processes; return the figures, ready for JSON.  Raises UserError."""
    if options.family != "bert" or options.device != "cpu":
        raise UserError("--ranks: expected --model bert on a CPU, the only step that is measured with several processes")
    configurations = tuple(Configuration(engine, count, max(1, options.threads // count)) for count in ranks
                           for engine in (ENGINES if options.against else ("minixl",)))
    with tempfile.TemporaryDirectory(prefix="minixl-bench-") as scratch:
        work, facts = load(MAKERS[options.family])(options, Path(scratch), say)
        results = {}
        for kind, batches in work.batches.items():
            turns = ', '.join(f'{SHOWN[c.engine]} {c.processes} x {c.threads}' for c in configurations)
            say(f"{BATCH_KINDS[kind]}: timing {turns}")
            job = RanksJob(configurations, work.only(kind), kind, options.repeats, Path(scratch) / f"meeting-{kind}")
            rows = [{**c._asdict(), **figures} for c, figures in zip(configurations, start(job, Path(scratch)), strict=True)]
            check_equal({f"{row['engine']} with {row['processes']}": row["loss"] for row in rows})
            results[kind] = {"batches": len(batches), "tokens": sum(map(pieces, batches)), "rows": rows}
    engines = ("minixl", *(("transformers",) if options.against else ()))
    return {"family": options.family, "threads": options.threads, "batch_size": options.batch_size, "repeats": options.repeats,
            **facts, "versions": versions(engines), "settings": results}


def start(job: RanksJob, scratch: Path) -> list[dict[str, Any]]:
    """Run a job in its processes; return the figures of each configuration.  Raises UserError with the error that they report."""
    processes = max(configuration.processes for configuration in job.configurations)
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if mpiexec is None:
        raise UserError("--ranks: expected the command mpiexec, found none; pip install 'minixl[mpi]'")
    (scratch / "job").write_bytes(pickle.dumps(job))
    names = ("MINIXL_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    threads = max(configuration.threads for configuration in job.configurations)
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "minixl.bench.training.ranks_worker", str(scratch / "job")]
    done = subprocess.run([mpiexec, "-n", str(processes), *command] if processes > 1 else command, env=environment,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UserError(f"measuring with {processes} processes failed: exit code {done.returncode}")
    figures: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(result: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = heading(result, f"{counted(result['threads'], 'thread')} together")
    for kind, figures in result["settings"].items():
        lines += ["", f"batches {BATCH_KINDS[kind]}: {figures['batches']}, {figures['tokens']} word pieces",
                  f"{'engine':<14}{'processes':>10}{'threads each':>14}{'step s':>9}{'tokens/s':>10}{'sum s':>9}"
                  f"{'of the step':>13}"]
        for row in figures["rows"]:
            step, rate = row["step_seconds"], figures["tokens"] / figures["batches"] / row["step_seconds"]
            of_sum = f"{row['sum_seconds']:>9.4f}{row['sum_seconds'] / step:>13.1%}" if "sum_seconds" in row else ""
            engine = f"{SHOWN[row['engine']]:<14}{row['processes']:>10}{row['threads']:>14}"
            lines.append(f"{engine}{step:>9.3f}{rate:>10.0f}{of_sum}")
    return "\n".join([*lines, "", "step s: forward, backward, sum, clip, update, zero; the mean of every batch's median, in turn",
                      "sum s: the sum of the gradients over the processes, alone"])
