"""The engines of `minixl bench kernels`: an op as kernel, in plain CuPy, in NumPy or in PyTorch, ready to be called."""
from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minixl import kernels
from minixl.backend import Array, array_module, by_rows, cupy, threads
from minixl.bench.kernels.cases import CASES, Arrays


def on_gpu() -> bool:
    """Whether the kernels can be timed here."""
    return cupy is not None and cupy.cuda.is_available()


def device_name() -> str:
    """The GPU's name, or the processor's."""
    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode() if on_gpu() else processor_name()


def processor_name() -> str:
    """The processor's name according to Linux, or else to Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def kinds() -> tuple[str, ...]:
    """The engines of minixl that can be timed here, the default first."""
    return ("kernel", "cupy", "numpy") if on_gpu() else ("numpy",)


def functions(name: str, kind: str) -> SimpleNamespace:
    """Return the functions of an op: the launchers for the kind "kernel", else the reference functions."""
    module = importlib.import_module(f"minixl.ops.{name}")
    by_name = {key: getattr(value, "__wrapped__", value) for key, value in vars(module).items() if callable(value)}
    if kind == "kernel":
        launchers = importlib.import_module(f"minixl.kernels.{name}")
        by_name.update({function: getattr(launchers, function) for function in kernels.OPS[name]})
    elif name == "adamw":
        by_name["adamw_step"] = functools.partial(_in_blocks, by_name["adamw_step"])
    return SimpleNamespace(**by_name)


def _in_blocks(adamw_step: Callable[..., None], *arrays: Array, **settings: Any) -> None:
    """Apply AdamW block by block, as minixl/optim.py does."""
    by_rows(lambda rows: adamw_step(*(array[rows] for array in arrays), **settings), len(arrays[0]), 1,
            array_module(*arrays))


def engine(name: str, kind: str, sets: list[Arrays]) -> tuple[Callable[[Any], Any], list[Any]]:
    """Return the function to time and its argument for each set of inputs."""
    case = CASES[name]
    if kind == "torch":
        import torch
        torch.set_num_threads(threads())
        return case.torch, [case.prepare(inputs, "cuda" if on_gpu() else "cpu") for inputs in sets]
    if kind == "faiss":
        import faiss
        assert case.faiss is not None
        faiss.omp_set_num_threads(threads())
        return case.faiss, [placed(inputs, "numpy") for inputs in sets]
    op = functions(name, kind)

    def call(inputs: Arrays) -> Any:
        with _kernels_on(kind == "kernel"):                           # this op may call others
            return case.call(op, inputs)

    return call, [placed(inputs, kind) for inputs in sets]


@contextlib.contextmanager
def _kernels_on(on: bool) -> Iterator[None]:
    """Turn the kernels on or off inside the block."""
    before = os.environ.get("MINIXL_KERNELS")
    os.environ["MINIXL_KERNELS"] = "1" if on else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINIXL_KERNELS"]
        else:
            os.environ["MINIXL_KERNELS"] = before


def placed(inputs: Arrays, kind: str) -> Arrays:
    """Copy the inputs to where the engine computes.  Starts and scalars stay on the CPU, where the ops need them."""
    if kind == "numpy":
        return {key: array.copy() for key, array in inputs.items()}
    return {key: array if key == "starts" or not array.ndim else cupy.asarray(array) for key, array in inputs.items()}
