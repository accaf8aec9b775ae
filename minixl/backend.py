"""NumPy for arrays on the CPU, CuPy for arrays on a GPU; threads; the decorator of every op.  The only file that imports cupy.

    array_module(x, ...)        numpy or cupy, whichever the arrays belong to; mixing them is an error
    to_numpy(x)                 a NumPy array with the same content
    copy_together(xp, a, ...)   several small arrays on the device, in one copy
    array_module_for(device)    "auto", "cpu" or "cuda" -> numpy or cupy
    by_rows(block, rows, width) run a function on blocks of rows on all threads (NumPy), or once on all rows (CuPy)
    side_by_side(function, items)  results in order, each computed on one thread, several at a time
    @op                         decorates every op: CuPy arrays go to the launcher of the same name in kernels/
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
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minixl.blas import single_threaded
from minixl.errors import UserError

try:
    import cupy
except ImportError:                        # every array is a NumPy array
    cupy = None

Array = Any                                # np.ndarray or cupy.ndarray
Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 1 << 17                            # elements per block: the fastest of 2^13 ... 2^18, see docs/performance.md
WORTH_A_THREAD = 1 << 19                   # with fewer elements times passes, one thread is faster

_this_thread = threading.local()           # .alone: it computes an item of side_by_side, beside other threads


def _keep_freed_memory() -> None:
    """Make glibc keep the memory that a step frees for the next step instead of returning it to the system.

    Otherwise the kernel clears new pages for every activation, which takes a sixth of a training step
    (docs/performance.md).  Peak memory does not change.  Does nothing without glibc.
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
    """Return numpy or cupy, whichever the arrays belong to.  Raises ValueError unless they are all on one device."""
    if cupy is None:
        return np
    on_gpu = [isinstance(array, cupy.ndarray) for array in arrays if array is not None]
    if any(on_gpu) and not all(on_gpu):
        kinds = ", ".join(f"argument {i}: {'cupy' if gpu else 'numpy'}" for i, gpu in enumerate(on_gpu))
        raise ValueError(f"expected all arrays on one device, got {kinds}")
    return cupy if any(on_gpu) else np


def to_numpy(array: Array) -> np.ndarray:
    """Copy a CuPy array to the CPU; return a NumPy array as it is."""
    return array.get() if cupy is not None and isinstance(array, cupy.ndarray) else np.asarray(array)


def copy_together(xp: ModuleType, *arrays: np.ndarray) -> list[Array]:
    """Arrays (n,) of integers on the device of xp, as int64; a GPU gets all in one copy.  NumPy arrays stay as they are."""
    if xp is np:
        return list(arrays)
    packed, ends = xp.asarray(np.concatenate(arrays).astype(np.int64, copy=False)), np.cumsum([len(array) for array in arrays])
    return [packed[end - len(array):end] for array, end in zip(arrays, ends.tolist(), strict=True)]


def array_module_for(device: str) -> ModuleType:
    """Return the array module for --device: "cpu", "cuda", or "auto" (cupy if it finds a device, else numpy)."""
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: expected auto, cpu or cuda, got {device!r}")
    has_gpu = cupy is not None and cupy.cuda.is_available()
    if device == "cuda" and not has_gpu:
        reason = "cupy is not installed (pip install 'minixl[cuda12]')" if cupy is None else "cupy finds no CUDA device"
        raise UserError(f"device: cuda was asked for, but {reason}")
    return cupy if has_gpu and device != "cpu" else np


def threads() -> int:
    """Number of threads for element-wise work: MINIXL_THREADS, else OMP_NUM_THREADS, else the cores of this process.

    `using_threads` of blas.py sets both.  1 inside a function that side_by_side calls.
    """
    if getattr(_this_thread, "alone", False):
        return 1
    setting = os.environ.get("MINIXL_THREADS") or os.environ.get("OMP_NUM_THREADS")
    return max(1, int(setting)) if setting and setting.isdigit() else len(os.sched_getaffinity(0))


@functools.cache
def _pool(helpers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(helpers, thread_name_prefix="minixl")


def in_parallel(function: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call function(item) for every item, on all threads.  NumPy lets other threads run while it computes.

    If a call raises, the exception reaches the caller only after every thread has stopped, so nothing is written afterwards.
    """
    remaining = iter(list(items))          # shared by the threads: taking the next item is atomic

    def work() -> None:
        for item in remaining:
            function(item)

    count = threads() - 1
    helpers = [_pool(count).submit(work) for _ in range(count)]
    try:
        work()
    finally:
        wait(helpers)
    for helper in helpers:
        helper.result()


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield function(item) for every item, in order; as many as there are threads are computed at the same time.

    Each is computed on one thread, its matrix products included, so its result does not depend on the number of threads.  At
    most twice as many results as threads wait to be taken.  While a recorder watches, the calls come one after another.
    """
    with single_threaded() as possible:
        workers = threads() if possible and not _observers else 1
        if workers == 1:
            yield from map(functools.partial(_alone, function), items)
            return
        pool, waiting, remaining = _pool(workers), deque[Future[Result]](), iter(items)
        try:
            while True:
                waiting.extend(pool.submit(_alone, function, item) for item in islice(remaining, 2 * workers - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


def _alone(function: Callable[[Item], Result], item: Item) -> Result:
    """Call the function while threads() is 1."""
    before, _this_thread.alone = getattr(_this_thread, "alone", False), True
    try:
        return function(item)
    finally:
        _this_thread.alone = before


def by_rows(block: Callable[[slice], object], rows: int, width: int, xp: ModuleType = np, *, passes: int = 4) -> None:
    """Call block(slice) for blocks of rows that fit the cache, on all threads; on a GPU, once for all rows.

    `width` is the number of elements per row, `passes` the number of passes that the block makes over them: waking a second
    thread takes 0.1 ms, so little work stays on one.  A block must write only to its own rows.
    """
    if xp is not np or rows * width * passes <= WORTH_A_THREAD:
        block(slice(0, rows))
        return
    blocks = -(-rows * width // BLOCK)
    blocks = -(-blocks // threads()) * threads()                       # the same work for every thread
    step = -(-rows // blocks)
    in_parallel(block, (slice(i, min(i + step, rows)) for i in range(0, rows, step)))


class Call(NamedTuple):
    """A finished call of an op."""

    name: str                      # for example "layernorm_forward"
    arguments: dict[str, Any]      # those that were passed, by parameter name
    result: Any
    function: Callable[..., Any]   # the op itself, without the decorator


Observer = Callable[[Call], object]
_observers: tuple[Observer, ...] = ()


@contextlib.contextmanager
def recording(observer: Observer) -> Iterator[None]:
    """Show `observer` every call of an op inside the block, when the op returns: nested ops before the op that calls them.

    It gets the arrays themselves, not copies, and must not write to them.  It must not call ops.  An op that runs on several
    threads, as adamw_step does, calls it from each of them.
    """
    global _observers
    before = _observers
    _observers = (*before, observer)
    try:
        yield
    finally:
        _observers = before


def op(function: Function) -> Function:
    """Decorate an op: `recording` sees its calls, and CuPy arrays go to its launcher in kernels/.

    Without a launcher in `kernels.OPS`, or with MINIXL_KERNELS=0, the function itself runs on CuPy arrays.
    """
    name, file = function.__name__, function.__module__.rpartition(".")[2]
    parameters = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if cupy is None and not _observers:                            # almost every call: keep this path short
            return function(*args, **kwargs)
        launcher = _launcher(file, name) if cupy is not None and _on_gpu(args) else None
        if launcher is None or os.environ.get("MINIXL_KERNELS") == "0":
            launcher = function
        result = launcher(*args, **kwargs)
        for observer in _observers:
            observer(Call(name, parameters.bind(*args, **kwargs).arguments, result, function))
        return result

    return call                                                        # type: ignore[return-value]


@functools.cache
def _launcher(file: str, name: str) -> Callable[..., Any] | None:
    """Import the launcher of an op from kernels/`file`.py; None if kernels.OPS lists none."""
    if name not in importlib.import_module("minixl.kernels").OPS.get(file, ()):
        return None
    return getattr(importlib.import_module(f"minixl.kernels.{file}"), name)


def _on_gpu(args: Iterable[Any]) -> bool:
    """Whether any argument, or any field of a cache among the arguments, is a CuPy array."""
    return any(isinstance(arg, cupy.ndarray) or (hasattr(arg, "_fields") and _on_gpu(arg)) for arg in args)
