"""One BLAS thread for each of our own threads, where whole pieces of work can be done side by side.

OpenBLAS splits every matrix product over its threads and joins them again.  For a long row of small products with other work
between them that is slow, and very slow on cores that others use too: each product waits for the slowest thread.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
from collections.abc import Callable, Iterator

# NumPy's own wheels, OpenBLAS with 64-bit integers, OpenBLAS of a distribution
SPELLINGS = ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}")


@functools.cache
def _openblas() -> tuple[Callable[[int], None], Callable[[], int]] | None:
    """set_num_threads and get_num_threads of the OpenBLAS that NumPy is linked with; None where it is another library."""
    extension = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(extension.__file__)                          # a look-up also finds what this one is linked with
    for spelling in SPELLINGS:
        with contextlib.suppress(AttributeError):
            return (getattr(library, spelling.format("set_num_threads")),
                    getattr(library, spelling.format("get_num_threads")))
    return None


@contextlib.contextmanager
def single_threaded() -> Iterator[bool]:
    """Inside, each matrix product stays on the thread that asks for it.  Yields whether that could be arranged."""
    functions = _openblas()
    if functions is None:
        yield False
        return
    set_threads, get_threads = functions
    before = get_threads()
    set_threads(1)
    try:
        yield True
    finally:
        set_threads(before)
