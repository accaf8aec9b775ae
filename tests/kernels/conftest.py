"""Every kernel test runs twice: on the CPU through the shim, always, and on a device with `pytest -m gpu`."""
import re

import numpy as np
import pytest

from minixl import backend, kernels
from tests.kernels import host


def poisoned(like, shape, dtype=np.float32):
    """Stands in for minixl.kernels.empty: what a kernel forgets to write is NaN, or a number that no test expects."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).min, dtype)


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """The array module whose arrays the launchers get: numpy on the shim, cupy on a device."""
    if request.param == "host":
        monkeypatch.setattr(kernels, "load", host.load)
        monkeypatch.setattr(kernels, "empty", poisoned)
        return np
    if backend.cupy is None or not backend.cupy.cuda.is_available():
        pytest.skip("no CUDA device (or cupy is not installed)")
    return backend.cupy


@pytest.fixture
def mutant(monkeypatch):
    """mutant(file, old, new): from now on the launchers get that kernel with one mistake planted in its source.

    A blank in `old` stands for any number of blanks and line ends.
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
    """The count of executed kernels is taken when all other tests are through."""
    items.sort(key=lambda item: item.name == "test_every_kernel_was_executed")


def pytest_terminal_summary(terminalreporter):
    if host.executed:
        terminalreporter.write_line(f"kernels executed {len(host.executed)} / "
                                    f"kernels that exist {len(host.all_kernels())}")
