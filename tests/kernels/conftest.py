"""Fixtures to run every kernel test on a device or, without one, with the shim."""
import re

import numpy as np
import pytest

from minixl import kernels
from tests.device import raw
from tests.kernels import host


def poisoned(like, shape, dtype=np.float32):
    """Replacement for minixl.kernels.empty, filled with NaN or another value that no test expects."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).min, dtype)


@pytest.fixture(params=[pytest.param("gpu", marks=pytest.mark.gpu)])
def device(cuda, monkeypatch):
    """CuPy on a device, or on the stand-in, with all checks of the shim."""
    monkeypatch.setattr(raw, "checked", True)
    return cuda


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
