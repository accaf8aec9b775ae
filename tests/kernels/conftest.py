"""Fixtures to run every kernel test on the CPU with the shim, and with `pytest -m gpu` on a device too."""
import re

import numpy as np
import pytest

from minixl import backend, kernels
from tests.kernels import host


def poisoned(like, shape, dtype=np.float32):
    """Replacement for minixl.kernels.empty, filled with NaN or another value that no test expects."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).min, dtype)


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """The array module of the launchers' arrays: numpy with the shim, cupy on a device."""
    if request.param == "host":
        monkeypatch.setattr(kernels, "load", host.load)
        monkeypatch.setattr(kernels, "empty", poisoned)
        return np
    if backend.cupy is None or not backend.cupy.cuda.is_available():
        pytest.skip("no CUDA device (or cupy is not installed)")
    return backend.cupy


@pytest.fixture
def mutant(monkeypatch):
    """mutant(file, old, new): from now on the launchers get that kernel with a mistake planted in its source.

    A space in `old` matches any number of spaces and line ends.
    """
    def plant(filename, old, new):
        pattern = r"\s+".join(map(re.escape, old.split()))
        changed, count = re.subn(pattern, lambda _: new, (kernels.KERNELS / filename).read_text())
        if not count:
            raise LookupError(f"{filename} has no {old!r}")
        monkeypatch.setattr(kernels, "load", lambda file, function: (
            host.HostKernel(file, function, changed) if file == filename else host.load(file, function)))
        monkeypatch.setattr(kernels, "empty", poisoned)
    return plant


def pytest_collection_modifyitems(items):
    """Count the executed kernels after all other tests."""
    items.sort(key=lambda item: item.name == "test_every_kernel_was_executed")


def pytest_terminal_summary(terminalreporter):
    if host.executed:
        terminalreporter.write_line(f"kernels executed {len(host.executed)} / "
                                    f"kernels that exist {len(host.all_kernels())}")
