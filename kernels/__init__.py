"""CUDA kernels, the table of ops that have one, and helpers for launchers: compiling, checking arguments, grids.

CuPy checks no arguments at a launch: the kernel reads a view as if it were contiguous, a float64 array as if it were float32,
and a Python float as a double.  So a launcher passes its arrays to `check` and its sizes to `size`.
Kernels compute in float32; a launcher decorated with `@float32_only` passes float64 calls to the op's formula.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minixl.backend import Array, array_module, cupy

KERNELS = Path(__file__).parent
OPTIONS = ("-std=c++17", f"-I{KERNELS}")
MAX_GRID_YZ = 65535                         # blocks along y or z
MAX_BLOCKS = 4096                           # enough for any device; with more items, each thread takes several
Launcher = TypeVar("Launcher", bound=Callable[..., Any])

# op (minixl/ops/NAME.py, kernels/NAME.py, kernels/NAME.cu) -> the functions that have a launcher
OPS: dict[str, tuple[str, ...]] = {
    "average_linkage": ("average_linkage_forward",),
    "csls": ("top_products", "top_products_both_ways", "mean_similarities"),
    "viterbi": ("viterbi",),
    "layernorm": ("layernorm_forward", "layernorm_backward"),
    "gelu": ("gelu_forward", "gelu_backward"),
    "softmax_cross_entropy": ("softmax_cross_entropy_forward", "softmax_cross_entropy_backward"),
    "embedding": ("sum_rows",),
    "attention": ("attention_forward", "attention_backward"),
    "masked_softmax_dropout": ("masked_softmax_dropout_forward", "masked_softmax_dropout_backward"),
    "crf_recursion": ("forward_sums", "marginals"),
    "lstm_steps": ("lstm_steps_forward", "lstm_steps_backward"),
    "adamw": ("adamw_step",),
}


@functools.cache
def load(filename: str, function: str) -> Callable[..., None]:
    """Compile `function` of kernels/`filename`, once per process (CuPy also caches it on disk).  Call: (grid, block, args)."""
    if cupy is None or not cupy.cuda.is_available():
        raise ValueError(f"kernel {function}: expected a CUDA device, found none (on a CPU call the op in minixl.ops)")
    return _module(filename).get_function(function)


@functools.cache
def _module(filename: str) -> Any:
    return cupy.RawModule(code=(KERNELS / filename).read_text(), options=OPTIONS)


def check(name: str, array: Array, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return the array.  Raises ValueError unless it is C-contiguous with this shape and dtype."""
    actual = getattr(array, "dtype", type(array).__name__), getattr(array, "shape", None)
    if actual != (np.dtype(dtype), shape) or not array.flags.c_contiguous:
        strides = f", strides {array.strides}" if hasattr(array, "strides") else ""
        raise ValueError(f"{name}: expected a C-contiguous {np.dtype(dtype)} array of shape {shape}, "
                         f"got {actual[0]} {actual[1]}{strides}")
    return array


def check_matrix(name: str, array: Array, dtype: Any = np.float32) -> tuple[int, int]:
    """Return the array's shape.  Raises ValueError unless it has two axes, this dtype and is C-contiguous."""
    shape = getattr(array, "shape", None)
    if shape is None or len(shape) != 2:
        raise ValueError(f"{name}: expected an array with 2 axes, got {type(array).__name__ if shape is None else shape}")
    return check(name, array, shape, dtype).shape


def size(name: str, value: int) -> np.int32:
    """Return a size as an int32 for a kernel.  Raises ValueError if it does not fit."""
    if not 0 <= value < 2 ** 31:
        raise ValueError(f"{name}: expected a size of at most {2 ** 31 - 1}, got {value}")
    return np.int32(value)


def check_increasing(name: str, offsets: Any, total: int) -> None:
    """Raise ValueError unless these offsets begin at 0, never decrease and end at T, the number of rows."""
    array = np.asarray(offsets)
    if array.ndim != 1 or not len(array) or array[0] or array[-1] != total or (np.diff(array) < 0).any():
        raise ValueError(f"{name}: expected increasing numbers from 0 to T = {total}, got {offsets}")


def dropout_seed(rng: Any, xp: Any) -> Array:
    """Draw a seed (1,) int64 for a kernel that draws its own mask; 0 if rng is None, when the kernel draws nothing."""
    return xp.zeros(1, np.int64) if rng is None else xp.asarray(rng.integers(0, 1 << 62, 1, dtype=np.int64))


def block_threads(threads: int) -> tuple[int]:
    """Return the block.  Raises ValueError unless it is whole warps, because warp shuffles need all 32 lanes."""
    if threads % 32 or not 32 <= threads <= 1024:
        raise ValueError(f"threads: expected a multiple of 32 from 32 to 1024, got {threads}")
    return (threads,)


def empty(like: Array, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Return an uninitialised array on the device of `like`.  The kernel must write all of it."""
    return array_module(like).empty(shape, dtype)


def blocks(items: int, per_block: int) -> int:
    """The number of blocks that cover the items."""
    return -(-items // per_block)


def capped_grid(items: int, per_block: int) -> tuple[int]:
    """A grid of at most MAX_BLOCKS, for a kernel with a loop that covers any number of items."""
    return (min(MAX_BLOCKS, blocks(items, per_block)),)


def formula(op: Callable[..., Any]) -> Callable[..., Any]:
    """The function under @op, which never calls a launcher and is not recorded."""
    return getattr(op, "__wrapped__", op)


def float32_only(reference: Callable[..., Any]) -> Callable[[Launcher], Launcher]:
    """Decorate a launcher to call the formula of `reference` instead if all floating-point arrays are float64.

    If only some are, the launcher's `check` names the first of these.
    """
    def decorate(launcher: Launcher) -> Launcher:
        @functools.wraps(launcher)
        def run(*args: Any, **kwargs: Any) -> Any:
            if _dtypes(args) != {np.dtype(np.float64)}:
                return launcher(*args, **kwargs)
            kwargs_of_reference = {name: value for name, value in kwargs.items() if name not in ("threads", "version")}
            return formula(reference)(*args, **kwargs_of_reference)
        return run                                                     # type: ignore[return-value]

    return decorate


def _dtypes(args: tuple[Any, ...]) -> set[np.dtype]:
    """The dtypes of the floating-point arrays among the arguments and in caches, without scalars."""
    dtypes: set[np.dtype] = set()
    for arg in args:
        if isinstance(arg, tuple):
            dtypes |= _dtypes(arg)
        elif getattr(arg, "ndim", 0) and arg.dtype.kind == "f":
            dtypes.add(arg.dtype)
    return dtypes
