"""Installs the stand-in for a CUDA device into CuPy, and takes it out again.

    with stand_in():
        x = cupy.asarray(values)        CuPy itself, except where a kernel would be launched

CuPy's own Python code runs, from the installed wheel; its arrays lie in host memory (arrays.py, memory.py), its ufuncs compute
with NumPy (ufuncs.py), as do its single kernels and library calls (kernels.py), and kernels/*.cu run through the host shim
(raw.py).  So a function or a keyword that CuPy lacks is missing here, too.  crossings.py counts waits and copies.
"""
from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import cupy
import cupyx.profiler  # noqa: F401
import cupyx.scipy.special  # noqa: F401
from cupy._core import _kernel, _routines_indexing  # noqa: F401
from cupy.cuda import stream
from cupy_backends.cuda.api import runtime

from minixl import kernels as launchers
from tests.device import generator, raw
from tests.device.arrays import DeviceArray
from tests.device.kernels import REPLACED
from tests.device.memory import pool
from tests.device.ufuncs import Ufunc

_depth = 0


@functools.cache
def replacements() -> list[tuple[Any, str, Any]]:
    """(module, name, what stands there) for everything that is replaced."""
    table: list[tuple[Any, str, Any]] = []
    wrapped: dict[int, Ufunc] = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in ("cupy", "cupyx") and module is not None:
            for key, value in vars(module).items():
                if isinstance(value, _kernel.ufunc):
                    table.append((module, key, wrapped.setdefault(id(value), Ufunc(value))))
                elif value is cupy.ndarray:
                    table.append((module, key, DeviceArray))
    for place, function in REPLACED.items():
        module, _, key = place.rpartition(".")
        table.append((importlib.import_module(module), key, function))
    table += [(cupy.matmul._ops_register, "_default_func", REPLACED["cupy._core.matmul"])]
    for module, names in ((cupy, ("RawModule",)), (cupy._core, ("RawModule",)),
                          (cupy.cuda, ("Stream", "Event", "Device", "get_elapsed_time")),
                          (stream, ("Stream", "Event", "get_elapsed_time"))):
        table += [(module, name, getattr(raw, name)) for name in names]
    table += [(module, "Generator", generator.Generator) for module in (cupy.random, cupy.random._generator_api)]
    table += [
        (cupy.cuda, "_available", True),
        (cupy.cuda, "get_device_id", lambda: 0),
        (cupy.cuda, "get_current_stream", lambda: raw.Stream.null),
        (cupy, "get_default_memory_pool", lambda: pool),
        (runtime, "getDeviceProperties", lambda device: raw.PROPERTIES),
        (runtime, "deviceGetAttribute", lambda attribute, device: generator.PROCESSORS),
        (runtime, "getDevice", lambda: 0), (runtime, "setDevice", lambda device: None),
        (runtime, "getDeviceCount", lambda: 1), (runtime, "deviceSynchronize", raw.Device().synchronize),
        (runtime, "runtimeGetVersion", lambda: 13000), (runtime, "driverGetVersion", lambda: 13000),
    ]
    return table


@contextlib.contextmanager
def stand_in() -> Iterator[Any]:
    """CuPy with the stand-in for a device inside the block."""
    global _depth
    if _depth:                                                         # already there
        yield cupy
        return
    before = [(module, key, getattr(module, key)) for module, key, _ in replacements()]
    allocator = cupy.cuda.get_allocator()
    _forget_kernels()
    _depth += 1
    try:
        cupy.cuda.set_allocator(pool.allocate)
        for module, key, value in replacements():
            setattr(module, key, value)
        yield cupy
    finally:
        _depth -= 1
        for module, key, value in reversed(before):
            setattr(module, key, value)
        cupy.cuda.set_allocator(allocator)
        _forget_kernels()


def _forget_kernels() -> None:
    """minixl keeps compiled kernels; those of the stand-in must not meet a device, nor the other way round."""
    for cached in (launchers.load, launchers._module):
        if hasattr(cached, "cache_clear"):                             # a test may have replaced it
            cached.cache_clear()
