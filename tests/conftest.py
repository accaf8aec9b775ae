"""Fixtures shared by all tests: a seeded generator, the backends, and the real data beside the checkout."""
from pathlib import Path

import numpy as np
import pytest

from minixl import backend

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def rng():
    return np.random.default_rng(20190901)


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request):
    """The array module under test; CuPy is skipped where there is no CUDA device."""
    if request.param == "numpy":
        return np
    if backend.cupy is None or not backend.cupy.cuda.is_available():
        pytest.skip("no CUDA device (or cupy is not installed)")
    return backend.cupy


@pytest.fixture
def shared():
    """The folder of real data and models that may stand beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not there: {SHARED}")
    return SHARED
