"""Where an array lives decides where it is computed: NumPy on a CPU, CuPy on a GPU.  The only file that imports cupy.

    array_module(x, ...)        numpy or cupy, whichever the arrays belong to; mixing them is an error
    to_numpy(x)                 a NumPy array with the same content
    array_module_for(device)    "auto", "cpu" or "cuda" -> numpy or cupy
    by_rows(block, rows, width) one formula over blocks of rows, on every core (NumPy) or in one go (CuPy)
    @op                         stands on every op; on CuPy arrays the launcher of the same name in kernels/ takes its place
    recording(observer)         shows the observer every call of an op
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minixl.errors import UserError

try:
    import cupy
except ImportError:                        # no GPU build of minixl: every array is a NumPy array
    cupy = None

Array = Any                                # np.ndarray or cupy.ndarray
Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")

BLOCK = 1 << 18                            # elements a block: the fastest of 2^13 ... 2^18, see docs/performance.md
WORTH_A_THREAD = 1 << 19                   # elements times passes below which one thread is faster


def _keep_freed_memory() -> None:
    """Have glibc keep the megabytes a step frees for the next step, instead of returning them to the system.

    Every activation is otherwise fresh memory that the kernel must clear page by page: a sixth of a training step
    (docs/performance.md).  What a process holds at its peak does not change.  Elsewhere than on glibc nothing is done.
    """
    mmap_threshold, trim_threshold = -3, -1                            # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)


if sys.platform == "linux":
    _keep_freed_memory()


def array_module(*arrays: Array) -> ModuleType:
    """numpy or cupy.  Raises ValueError when the arrays do not all live in the same place."""
    if cupy is None:
        return np
    on_gpu = [isinstance(array, cupy.ndarray) for array in arrays if array is not None]
    if any(on_gpu) and not all(on_gpu):
        kinds = ", ".join(f"argument {i}: {'cupy' if gpu else 'numpy'}" for i, gpu in enumerate(on_gpu))
        raise ValueError(f"expected all arrays on one device, got {kinds}")
    return cupy if any(on_gpu) else np


def to_numpy(array: Array) -> np.ndarray:
    """A NumPy array with the same content (a NumPy array is returned as it is)."""
    return array.get() if cupy is not None and isinstance(array, cupy.ndarray) else np.asarray(array)


def array_module_for(device: str) -> ModuleType:
    """The array module for --device: "cpu", "cuda", or "auto" (CUDA where cupy finds a device)."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu or cuda, got {device!r}")
    found = cupy is not None and cupy.cuda.is_available()
    if device == "cuda" and not found:
        reason = "cupy is not installed (pip install 'minixl[cuda12]')" if cupy is None else "cupy finds no CUDA device"
        raise UserError(f"device: cuda was asked for, but {reason}")
    return cupy if found and device != "cpu" else np


@functools.cache
def threads() -> int:
    """Threads for element-wise passes: MINIXL_THREADS, else OMP_NUM_THREADS, else the cores this process may use."""
    asked = os.environ.get("MINIXL_THREADS") or os.environ.get("OMP_NUM_THREADS")
    return max(1, int(asked)) if asked and asked.isdigit() else len(os.sched_getaffinity(0))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, threads() - 1), thread_name_prefix="minixl")


def in_parallel(function: Callable[[Item], object], items: Iterable[Item]) -> None:
    """function(item) for every item, on all threads.  NumPy lets other threads run while it computes.

    Where one call raises, its exception comes out only when every thread has stopped: nothing writes behind the caller's back.
    """
    remaining = iter(list(items))          # shared: taking the next item is atomic

    def work() -> None:
        for item in remaining:
            function(item)

    helpers = [_pool().submit(work) for _ in range(threads() - 1)]
    try:
        work()
    finally:
        wait(helpers)
    for helper in helpers:
        helper.result()


def by_rows(block: Callable[[slice], object], rows: int, width: int, xp: ModuleType = np, *, passes: int = 4) -> None:
    """Run block(rows[i:j]) over row blocks that fit the cache, on all threads; on a GPU run it once.

    `width` is the number of elements a row, `passes` how often the block goes over them: a second thread takes 0.1 ms to
    wake, so little work stays on one.  Each block must write rows of its own only.
    """
    if xp is not np or rows * width * passes <= WORTH_A_THREAD:
        block(slice(0, rows))
        return
    blocks = -(-rows * width // BLOCK)
    blocks = -(-blocks // threads()) * threads()                       # the same work for every thread
    step = -(-rows // blocks)
    in_parallel(block, (slice(i, min(i + step, rows)) for i in range(0, rows, step)))


class Call(NamedTuple):
    """A finished call of an op, as an observer sees it."""

    name: str                      # for example "layernorm_forward"
    arguments: dict[str, Any]      # by the names of the op's parameters, without defaults that were not passed
    result: Any


Observer = Callable[[Call], object]
_observers: tuple[Observer, ...] = ()


@contextlib.contextmanager
def recording(observer: Observer) -> Iterator[None]:
    """Pass every op called inside the block to `observer` when it returns; an op that another one calls comes first.

    The arrays are those of the computation, not copies: the observer must not write to them.  It must not call ops either.
    """
    global _observers
    before = _observers
    _observers = (*before, observer)
    try:
        yield
    finally:
        _observers = before


def op(function: Function) -> Function:
    """Mark a function of minixl/ops as an op: `recording` sees its calls, and CuPy arrays go to its launcher in kernels/.

    Where `kernels.OPS` lists no launcher, and everywhere with MINIXL_KERNELS=0, the function itself runs on the GPU.
    """
    name, file = function.__name__, function.__module__.rpartition(".")[2]
    parameters = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if cupy is None and not _observers:                            # almost every call: keep this path short
            return function(*args, **kwargs)
        on_gpu = cupy is not None and _on_gpu(args) and os.environ.get("MINIXL_KERNELS") != "0"
        result = (on_gpu and _launcher(file, name) or function)(*args, **kwargs)
        for observer in _observers:
            observer(Call(name, parameters.bind(*args, **kwargs).arguments, result))
        return result

    return call                                                        # type: ignore[return-value]


@functools.cache
def _launcher(file: str, name: str) -> Callable[..., Any] | None:
    """The launcher of an op, from kernels/`file`.py; None where kernels.OPS does not list one."""
    if name not in importlib.import_module("minixl.kernels").OPS.get(file, ()):
        return None
    return getattr(importlib.import_module(f"minixl.kernels.{file}"), name)


def _on_gpu(args: Iterable[Any]) -> bool:
    """Whether any argument, or any field of a cache among them, is a CuPy array."""
    return any(isinstance(arg, cupy.ndarray) or (hasattr(arg, "_fields") and _on_gpu(arg)) for arg in args)
