"""The memory of `minixl bench kernels`: the peak memory of one call of an op, including its results."""
from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np

from minixl.backend import cupy
from minixl.bench.kernels.cases import CASES
from minixl.bench.kernels.engines import engine, on_gpu
from minixl.training.memory import peak_memory, reset_peak_memory


def peak(name: str, number: int, kind: str) -> int | None:
    """Measure the peak bytes of one call, including its results; None if the system does not report them.

    Also None for NumPy on a machine with a GPU, where it is only there to compare times: a process for each size takes long.
    """
    if on_gpu():
        return _peak_gpu(name, number, kind) if kind != "numpy" else None
    if not Path("/proc/self/clear_refs").exists():
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_cpu, (name, number, kind))


def _peak_cpu(name: str, number: int, kind: str) -> int:
    case, rng = CASES[name], np.random.default_rng(0)
    call, (small, large) = engine(name, kind, [case.inputs(rng, **case.sizes[i]) for i in (0, number)])
    call(small)                                                        # libraries are loaded and start their threads
    with contextlib.suppress(OSError, AttributeError):        # glibc: return freed memory, so that it is not reused
        ctypes.CDLL(None).malloc_trim(0)
    reset_peak_memory()
    before = _resident()
    kept = call(large)
    del kept
    return max(0, peak_memory() - before)


def _resident() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _peak_gpu(name: str, number: int, kind: str) -> int:
    case = CASES[name]
    call, (inputs,) = engine(name, kind, [case.inputs(np.random.default_rng(0), **case.sizes[number])])
    if kind == "torch":
        import torch
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call(inputs)
        return int(torch.cuda.max_memory_allocated() - before)
    with peak_of_the_pool() as measured:
        call(inputs)
    return measured.peak


def peak_of_the_pool() -> Any:
    """Return a context whose `peak` is the most bytes that CuPy's pool lent at a time within it, less those that came back.

    The growth of the pool is less: it lends memory again that arrays before it gave back.
    """
    class PeakOfThePool(cupy.cuda.MemoryHook):
        name = "PeakOfThePool"

        def __init__(self) -> None:
            self.lent = self.peak = 0

        def malloc_postprocess(self, *, mem_size: int, **_: Any) -> None:
            self.lent += mem_size
            self.peak = max(self.peak, self.lent)

        def free_postprocess(self, *, mem_size: int, **_: Any) -> None:
            self.lent -= mem_size

    return PeakOfThePool()
