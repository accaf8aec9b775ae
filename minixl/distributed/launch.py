"""Recognise that mpiexec started this process as one of several; make their group; end them together.

Nothing here imports mpi4py, or NumPy, unless there are several processes.
"""
from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from minixl.distributed.group import Group, group, using
from minixl.errors import UserError

if TYPE_CHECKING:
    from minixl.distributed.mpi import MpiGroup

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")    # set by MPICH, Intel MPI, Slurm's PMI-2; Open MPI; MVAPICH
LOCAL_SIZES = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
THREADS = ("MINIXL_THREADS", "OMP_NUM_THREADS")
PATIENCE = 3.0                         # seconds in which all processes have to fail alike
FORWARDING = 1.0                       # seconds in which mpiexec forwards what was printed, before it ends everything


def processes(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes mpiexec, or Slurm's srun, started together; 1 without either."""
    sizes = [environment[name] for name in SIZES if name in environment]
    if "PMIX_RANK" in environment:                                     # srun --mpi=pmix
        sizes += [environment[name] for name in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if name in environment]
    return next((int(size) for size in sizes if size.isdigit()), 1)


def share_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many threads each process on this computer should have; 0 if that is set already, or nothing is shared."""
    if processes(environment) == 1 or any(name in environment for name in THREADS):
        return 0
    cores = len(os.sched_getaffinity(0))
    if cores < (os.cpu_count() or 1):                                  # mpiexec has bound each process to its own cores
        return 0
    local = next((int(environment[name]) for name in LOCAL_SIZES if environment.get(name, "").isdigit()), processes(environment))
    return max(1, cores // local)


def start() -> MpiGroup:
    """Return the group of all processes.  Raises UserError without mpi4py, or if its MPI is not that of mpiexec."""
    count = processes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                            # mpi4py's, of an mpiexec that is not its own: see below
            from minixl.distributed.mpi import MpiGroup, library
    except (ImportError, RuntimeError) as error:                       # RuntimeError: mpi4py finds no MPI
        raise UserError(f"mpiexec started {count} processes: expected mpi4py with an MPI, found neither ({error}); "
                        "pip install 'minixl[mpi]'") from None
    together = MpiGroup()
    if together.size != count:
        raise UserError(f"mpiexec started {count} processes, but {library()}, which mpi4py has loaded, sees {together.size}; use "
                        "the mpiexec of that MPI, or build mpi4py for yours: pip install --no-binary=mpi4py mpi4py")
    return together


@contextlib.contextmanager
def together() -> Iterator[Group]:
    """Run the block in all processes that mpiexec started; only the leading one prints.  Without mpiexec, just run the block.

    If all fail alike, the leading process reports the error as usual.  If one fails alone, the others wait for it somewhere: it
    prints one line and ends them.
    """
    if processes() == 1 or group().size > 1:
        yield group()
        return
    threads = share_cores()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)                   # before NumPy is imported
    world, stderr = start(), sys.stderr
    with using(world), contextlib.ExitStack() as silence:
        if not world.leads:
            nowhere = silence.enter_context(open(os.devnull, "w", encoding="utf-8"))
            silence.enter_context(contextlib.redirect_stdout(nowhere))
            silence.enter_context(contextlib.redirect_stderr(nowhere))
        try:
            yield world
        except BaseException as error:
            if not world.end_alike(PATIENCE):
                report(error, world, stderr)
                time.sleep(FORWARDING)
                world.abort(code_of(error) or 1)
            if world.leads:
                raise
            raise SystemExit(code_of(error)) from None


def describe_processes(xp: Any) -> list[str]:
    """Return messages about the processes that train together; give each its GPU if xp is cupy.  [] for one process."""
    if group().size == 1:
        return []
    from minixl.backend import threads

    lines = [f"training with {group().name}, {threads()} thread{'s' * (threads() > 1)} each"]
    if xp is not None and xp.__name__ == "cupy":
        from minixl.distributed.nccl import use_gpus
        lines.append(use_gpus(group(), xp))
    return lines


def report(error: BaseException, world: Group, stream: TextIO) -> None:
    """Print why this process ends all of them, as the last line; before it the traceback of an error in minixl itself."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return
    text = str(error) or type(error).__name__
    if not isinstance(error, UserError | FloatingPointError):          # neither would end differently the next time
        if not isinstance(error, OSError | MemoryError):
            traceback.print_exception(error, file=stream)
            text = f"{type(error).__name__}: {text}"
        text += "; the other processes were stopped; --resume continues from the last checkpoint"
    print(f"Error: process {world.rank + 1} of {world.size}, on {platform.node()}: {text}", file=stream, flush=True)


def code_of(error: BaseException) -> int:
    """Return the exit code that an exception leads to."""
    code = getattr(error, "exit_code", error.code if isinstance(error, SystemExit) else 1)
    return code if isinstance(code, int) else 1
