"""Fixtures shared by all tests: a seeded generator, the backends, and the real data beside the checkout."""
import os
from pathlib import Path

import cupy
import numpy as np
import pytest

from minixl import backend
from minixl.ops import csls
from tests.device.crossings import NUMPY, by_line, crossings
from tests.device.stand_in import stand_in
from tests.report import browser

SHARED = Path(__file__).resolve().parents[2] / "shared"
HAS_DEVICE = cupy.cuda.is_available()
TOGETHER = ("tests/kernels/", "tests/distributed/")       # one counts the executed kernels, the other shares runs
LONGEST = ("tests/test_documentation.py", "tests/run/test_quickstart.py", *TOGETHER)
OURS = ("minixl/", "kernels/", "weights/", "cli/")


def pytest_configure(config):
    """Give each process of `pytest -n` one thread: together they keep the cores busy.  They take files in our order."""
    if getattr(config.option, "numprocesses", None):
        os.environ["OMP_NUM_THREADS"] = "1"
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left alone with it in the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file, or of a folder of TOGETHER, in one process of `pytest -n`."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

    return ByFile(config, log)


def pytest_report_header():
    """Say where the tests marked gpu run."""
    if not HAS_DEVICE:
        return f"gpu tests: on the stand-in for a device (tests/device/), CuPy {cupy.__version__}"
    return f"gpu tests: on {cupy.cuda.runtime.getDeviceProperties(0)['name'].decode()}, CuPy {cupy.__version__}"


@pytest.fixture
def rng():
    return np.random.default_rng(20190901)


@pytest.fixture
def cuda():
    """CuPy, on a CUDA device where there is one, else on the stand-in; there no NumPy function may get a device array."""
    if HAS_DEVICE:
        yield cupy
        return
    with stand_in(), crossings() as seen:
        yield cupy
    assert not [line for line in by_line(seen, NUMPY) if line.startswith(OURS)], "NumPy's functions were called with device arrays"


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request):
    """The array module under test."""
    return np if request.param == "numpy" else request.getfixturevalue("cuda")


@pytest.fixture(params=[1, 3], ids="threads {}".format)
def small_tiles(request, monkeypatch):
    """CSLS in many tiles, few groups, on one thread or three."""
    monkeypatch.setattr(csls, "TILE", 32)
    monkeypatch.setattr(csls, "GROUPS", 4)
    monkeypatch.setattr(csls, "threads", lambda: request.param)
    monkeypatch.setattr(backend, "threads", lambda: request.param)


@pytest.fixture
def many_steps(monkeypatch):
    """For a test of many or large steps: without a device they are made with the formulas, since kernels would take minutes."""
    if not HAS_DEVICE:
        monkeypatch.setenv("MINIXL_KERNELS", "0")


@pytest.fixture
def shared():
    """The folder of real data and models that may stand beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not there: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def chromium():
    """A headless browser."""
    with browser.launched() as started:
        yield started
