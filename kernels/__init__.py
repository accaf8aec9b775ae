"""CUDA kernels and what every launcher needs: compiling, checking arguments, the table of ops that have a kernel.

CuPy checks nothing at a launch: a view is read as if it were contiguous, a float64 array as if it were float32, and a
Python float arrives as a double.  So a launcher passes its arrays through `check` and its sizes through `size`.
Kernels compute in float32; a launcher marked `@float32_only` hands a call in float64 to the readable op.
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
LARGEST_GRID = 65535                        # blocks along y and z
MOST_BLOCKS = 4096                          # enough for any device; where there is more to do, they take several turns
Launcher = TypeVar("Launcher", bound=Callable[..., Any])

# op (minixl/ops/NAME.py, kernels/NAME.py, kernels/NAME.cu) -> the functions that have a launcher
OPS: dict[str, tuple[str, ...]] = {
    "average_linkage": ("average_linkage_forward",),
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
    """`function` of kernels/`filename`, compiled once a process (CuPy keeps it on disk too).  Call: (grid, block, args)."""
    if cupy is None or not cupy.cuda.is_available():
        raise ValueError(f"kernel {function}: expected a CUDA device, found none (on a CPU call the op in minixl.ops)")
    return _module(filename).get_function(function)


@functools.cache
def _module(filename: str) -> Any:
    return cupy.RawModule(code=(KERNELS / filename).read_text(), options=OPTIONS)


def check(name: str, array: Array, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """The array itself.  ValueError unless it is C-contiguous with this shape and dtype."""
    found = getattr(array, "dtype", type(array).__name__), getattr(array, "shape", None)
    if found != (np.dtype(dtype), shape) or not array.flags.c_contiguous:
        strides = f", strides {array.strides}" if hasattr(array, "strides") else ""
        raise ValueError(f"{name}: expected a C-contiguous {np.dtype(dtype)} array of shape {shape}, "
                         f"got {found[0]} {found[1]}{strides}")
    return array


def matrix(name: str, array: Array, dtype: Any = np.float32) -> tuple[int, int]:
    """The array's shape.  ValueError unless it is C-contiguous, of this dtype and has two axes."""
    shape = getattr(array, "shape", None)
    if shape is None or len(shape) != 2:
        raise ValueError(f"{name}: expected an array with 2 axes, got {type(array).__name__ if shape is None else shape}")
    return check(name, array, shape, dtype).shape


def size(name: str, value: int) -> np.int32:
    """A size as the kernels take it.  ValueError when it does not fit 32 bits."""
    if not 0 <= value < 2 ** 31:
        raise ValueError(f"{name}: expected a size of at most {2 ** 31 - 1}, got {value}")
    return np.int32(value)


def check_rising(name: str, places: Any, total: int) -> None:
    """ValueError unless these places in memory begin at 0, rise and end at T, the number of rows."""
    found = np.asarray(places)
    if found.ndim != 1 or not len(found) or found[0] or found[-1] != total or (np.diff(found) < 0).any():
        raise ValueError(f"{name}: expected numbers that rise from 0 to T = {total}, got {places}")


def dropout_seed(rng: Any, xp: Any) -> Array:
    """(1,) int64 for a kernel that draws its mask from it: a number from rng, or 0 where rng is None and nothing is drawn."""
    return xp.asarray(np.zeros(1, np.int64) if rng is None else rng.integers(0, 1 << 62, 1, dtype=np.int64))


def block_threads(threads: int) -> tuple[int]:
    """A block of whole warps.  ValueError for anything else, because warp shuffles need all 32 lanes."""
    if threads % 32 or not 32 <= threads <= 1024:
        raise ValueError(f"threads: expected a multiple of 32 from 32 to 1024, got {threads}")
    return (threads,)


def empty(like: Array, shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """An array that is not filled, where `like` lives.  A kernel must write all of it."""
    return array_module(like).empty(shape, dtype)


def blocks(items: int, per_block: int) -> int:
    """How many blocks it takes to cover the items."""
    return -(-items // per_block)


def turns(items: int, per_block: int) -> tuple[int]:
    """A grid of at most MOST_BLOCKS, for a kernel that covers any number of items with any grid."""
    return (min(MOST_BLOCKS, blocks(items, per_block)),)


def readable(op: Callable[..., Any]) -> Callable[..., Any]:
    """The formula of an op: the function under @op, which never calls a launcher and is not recorded."""
    return getattr(op, "__wrapped__", op)


def float32_only(reference: Callable[..., Any]) -> Callable[[Launcher], Launcher]:
    """Decorate a launcher: when all floating-point arrays are float64 the readable op, `reference`, takes its place.

    When only some are, the launcher's `check` names the first of them.
    """
    def decorate(launcher: Launcher) -> Launcher:
        @functools.wraps(launcher)
        def run(*args: Any, **kwargs: Any) -> Any:
            if _dtypes(args) != {np.dtype(np.float64)}:
                return launcher(*args, **kwargs)
            kwargs_of_reference = {name: value for name, value in kwargs.items() if name not in ("threads", "version")}
            return readable(reference)(*args, **kwargs_of_reference)
        return run                                                     # type: ignore[return-value]

    return decorate


def _dtypes(args: tuple[Any, ...]) -> set[np.dtype]:
    """Of the floating-point arrays among the arguments and in the caches; single numbers do not count."""
    found: set[np.dtype] = set()
    for arg in args:
        if isinstance(arg, tuple):
            found |= _dtypes(arg)
        elif getattr(arg, "ndim", 0) and arg.dtype.kind == "f":
            found.add(arg.dtype)
    return found
