"""A fixture for ops that process their rows in blocks."""
import pytest

from minixl import backend


@pytest.fixture
def many_blocks(monkeypatch):
    """Make by_rows use small blocks on three threads; the fixture returns a function that counts the blocks."""
    monkeypatch.setattr(backend, "BLOCK", 256)
    monkeypatch.setattr(backend, "WORTH_A_THREAD", 0)
    monkeypatch.setattr(backend, "threads", lambda: 3)
    worked, in_parallel = [], backend.in_parallel

    def counting(function, items):
        items = list(items)
        worked.extend(items)
        in_parallel(function, items)

    monkeypatch.setattr(backend, "in_parallel", counting)
    return lambda: len(worked)
