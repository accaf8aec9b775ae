"""single_threaded: the number of BLAS threads inside the block and afterwards, and NumPy with another BLAS."""
import os

import numpy as np
import pytest

from minixl import backend, blas
from minixl.errors import UserError


@pytest.fixture
def openblas():
    """Its functions to set and get the number of threads."""
    functions = blas._openblas()
    if functions is None:
        pytest.skip("NumPy is not linked with OpenBLAS here")
    return functions


def test_one_thread_inside_and_as_many_as_before_afterwards(openblas):
    set_threads, get_threads = openblas
    before = get_threads()
    try:
        set_threads(2)
        with pytest.raises(KeyError), blas.single_threaded() as alone:
            assert alone and get_threads() == 1
            raise KeyError
        assert get_threads() == 2
    finally:
        set_threads(before)


def test_another_library(monkeypatch):
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    with blas.single_threaded() as alone:
        assert not alone


def test_the_wheels_of_numpy_are_known():
    """They use OpenBLAS, so this notices if its functions get new names."""
    if "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]:
        assert blas._openblas() is not None


def test_using_threads_sets_all_and_restores_them(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MINIXL_THREADS", raising=False)
    before = blas._openblas()[1]()
    with pytest.raises(KeyError), blas.using_threads(3):
        assert backend.threads() == blas._openblas()[1]() == 3 and os.environ["OMP_NUM_THREADS"] == "3"
        raise KeyError
    assert blas._openblas()[1]() == before and os.environ["OMP_NUM_THREADS"] == "5" and "MINIXL_THREADS" not in os.environ


def test_more_threads_than_openblas_was_built_for():
    with pytest.raises(UserError, match=r"^threads: expected at most \d+, for which OpenBLAS was built, got 1000000$"):
        with blas.using_threads(1000000):
            pass


def test_blocks_that_end_in_another_order_than_they_began(openblas):
    set_threads, get_threads = openblas
    before = get_threads()
    try:
        set_threads(2)
        first, second = blas.single_threaded(), blas.single_threaded()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert get_threads() == 1
        second.__exit__(None, None, None)
        assert get_threads() == 2
    finally:
        set_threads(before)
