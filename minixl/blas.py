"""Set the number of threads; turn off OpenBLAS's own where minixl runs larger pieces of work in parallel.

OpenBLAS splits every matrix product over its threads and then waits for all of them.  For many small products with other work
in between that is slow, and very slow on cores that are shared: each product waits for the slowest thread.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import threading
from collections.abc import Callable, Iterator

from minixl.errors import UserError

# function names in NumPy's wheels, in OpenBLAS with 64-bit integers, in the OpenBLAS of Linux distributions
SPELLINGS = ("scipy_openblas_{}64_", "openblas_{}64_", "scipy_openblas_{}", "openblas_{}")

# environment variables with a number of threads: of minixl's own work, of any BLAS, of the tokenizer
VARIABLES = ("MINIXL_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@functools.cache
def _openblas() -> tuple[Callable[[int], None], Callable[[], int]] | None:
    """Return set_num_threads and get_num_threads of the OpenBLAS that NumPy uses, or None if NumPy uses another BLAS."""
    extension = importlib.import_module("numpy._core._multiarray_umath")
    library = ctypes.CDLL(extension.__file__)                          # a look-up also searches the libraries it is linked with
    for spelling in SPELLINGS:
        with contextlib.suppress(AttributeError):
            return (getattr(library, spelling.format("set_num_threads")),
                    getattr(library, spelling.format("get_num_threads")))
    return None


_lock = threading.Lock()
_blocks = 0                        # running blocks of single_threaded, on all threads
_before = 0                        # OpenBLAS's threads outside them


@contextlib.contextmanager
def single_threaded() -> Iterator[bool]:
    """Run each matrix product on the thread that calls it.  Yields whether this is possible (only with OpenBLAS).

    The setting is that of the process; the last of several blocks to end, nested or on several threads, restores it.
    """
    global _blocks, _before
    functions = _openblas()
    if functions is None:
        yield False
        return
    set_threads, get_threads = functions
    with _lock:
        if not _blocks:
            _before = get_threads()
            set_threads(1)
        _blocks += 1
    try:
        yield True
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                set_threads(_before)


@contextlib.contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute on `count` threads inside the block.

    A BLAS other than OpenBLAS only follows if NumPy is imported inside the block.  Raises UserError if OpenBLAS was built for
    fewer.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
    functions = _openblas()                                            # imports NumPy, which reads the environment
    threads_before = functions[1]() if functions else 0
    try:
        if functions:
            set_threads, get_threads = functions
            set_threads(count)
            if get_threads() != count:
                raise UserError(f"threads: expected at most {get_threads()}, for which OpenBLAS was built, got {count}")
        yield
    finally:
        if functions:
            functions[0](threads_before)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
