"""backend: which array module, rows over threads, and the kernels' dispatch (with a stand-in for cupy)."""
import threading
import time
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from minixl import backend
from minixl.errors import UserError


class GpuArray:
    """What the stand-in for cupy has for an array."""

    def get(self):
        return np.array([7.0])


@pytest.fixture
def fake_cupy(monkeypatch):
    fake = SimpleNamespace(ndarray=GpuArray, cuda=SimpleNamespace(is_available=lambda: True))
    monkeypatch.setattr(backend, "cupy", fake)
    return fake


def test_array_module(fake_cupy):
    assert backend.array_module(np.ones(2), None, 3.0) is np
    assert backend.array_module(GpuArray(), None, GpuArray()) is fake_cupy
    with pytest.raises(ValueError, match="^expected all arrays on one device, got argument 0: cupy, argument 1: numpy$"):
        backend.array_module(GpuArray(), np.ones(2))


def test_without_cupy(monkeypatch):
    monkeypatch.setattr(backend, "cupy", None)
    assert backend.array_module(np.ones(2)) is np is backend.array_module_for("auto") is backend.array_module_for("cpu")
    text = r"^device: cuda was asked for, but cupy is not installed \(pip install 'minixl\[cuda12\]'\)$"
    with pytest.raises(UserError, match=text):
        backend.array_module_for("cuda")


def test_without_a_device(fake_cupy):
    fake_cupy.cuda.is_available = lambda: False
    assert backend.array_module_for("auto") is np
    with pytest.raises(UserError, match="^device: cuda was asked for, but cupy finds no CUDA device$"):
        backend.array_module_for("cuda")
    with pytest.raises(UserError, match="^device: expected auto, cpu or cuda, got 'gpu'$"):
        backend.array_module_for("gpu")


def test_with_a_device(fake_cupy):
    assert backend.array_module_for("auto") is fake_cupy is backend.array_module_for("cuda")
    assert backend.array_module_for("cpu") is np


def test_to_numpy(fake_cupy):
    array = np.ones(3)
    assert backend.to_numpy(array) is array
    np.testing.assert_array_equal(backend.to_numpy(GpuArray()), [7.0])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows, width", [(0, 4), (1, 1), (1, 10**7), (2, 2**18), (7, 2**17), (1000, 768), (4099, 1536),
                                         (3, 2**18 + 1), (12345, 333)])
def test_by_rows_visits_every_row_once(monkeypatch, threads, rows, width):
    monkeypatch.setattr(backend, "threads", lambda: threads)
    visits = np.zeros(rows, int)
    blocks = []

    def block(part: slice) -> None:
        visits[part] += 1
        blocks.append(part)

    backend.by_rows(block, rows, width)
    assert (visits == 1).all()
    if rows * width > 4 * 2**21 and rows > 20:
        assert len(blocks) > 1 and all((part.stop - part.start) * width <= backend.BLOCK for part in blocks)


def test_by_rows_on_a_gpu_runs_once(fake_cupy):
    blocks = []
    backend.by_rows(blocks.append, 10**6, 768, fake_cupy)
    assert blocks == [slice(0, 10**6)]


def test_in_parallel_uses_several_threads(monkeypatch):
    """Both items must be under way at once to pass the barrier."""
    monkeypatch.setattr(backend, "threads", lambda: 2)
    barrier = threading.Barrier(2, timeout=20)
    done = []

    def meet(item: str) -> None:
        barrier.wait()
        done.append(item)

    backend.in_parallel(meet, ["a", "b"])
    assert sorted(done) == ["a", "b"]
    counts = np.zeros(500, int)
    backend.in_parallel(lambda i: counts.__setitem__(i, counts[i] + 1), range(500))
    assert (counts == 1).all()


@pytest.mark.parametrize("bad", [0, 5, 19])
def test_an_error_in_any_item_arrives(monkeypatch, bad):
    monkeypatch.setattr(backend, "threads", lambda: 2)

    def work(item: int) -> None:
        if item == bad:
            raise ZeroDivisionError(f"item {item}")

    with pytest.raises(ZeroDivisionError, match=f"item {bad}"):
        backend.in_parallel(work, range(20))


def test_an_error_waits_for_the_other_threads(monkeypatch):
    """The caller's own item fails while a helper is in the middle of its: its buffers must be left alone by then."""
    monkeypatch.setattr(backend, "threads", lambda: 2)
    caller, both_began, finished = threading.current_thread(), threading.Barrier(2, timeout=20), []

    def work(item: int) -> None:
        both_began.wait()
        if threading.current_thread() is caller:
            raise ZeroDivisionError
        time.sleep(0.2)
        finished.append(item)

    with pytest.raises(ZeroDivisionError):
        backend.in_parallel(work, range(2))
    assert len(finished) == 1


@pytest.mark.parametrize("variables, expected", [({"MINIXL_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
                                                 ({"OMP_NUM_THREADS": "5"}, 5), ({"OMP_NUM_THREADS": "0"}, 1)])
def test_threads(monkeypatch, variables, expected):
    for name in ("MINIXL_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert backend.threads.__wrapped__() == expected


class Cache(NamedTuple):
    inner: object


def test_a_kernel_takes_over_on_the_gpu_only(fake_cupy, monkeypatch):
    """The launcher is looked up by file and name; arrays are found in caches, too."""
    def op_forward(x, cache=None):
        return "formula"

    op_forward.__module__ = "minixl.ops.op"
    asked = []

    def import_module(name):
        asked.append(name)
        return SimpleNamespace(op_forward=lambda x, cache=None: "kernel")

    monkeypatch.setattr(backend.importlib, "import_module", import_module)
    monkeypatch.delenv("MINIXL_KERNELS", raising=False)
    op = backend.has_kernel(op_forward)
    assert op(np.ones(2)) == "formula" and not asked
    assert op(GpuArray()) == "kernel" and asked == ["minixl.kernels.op"]
    assert op(np.ones(2), Cache(Cache(GpuArray()))) == "kernel"
    assert op(np.ones(2), Cache(np.ones(2))) == "formula"
    monkeypatch.setenv("MINIXL_KERNELS", "0")
    assert op(GpuArray()) == "formula"
    monkeypatch.setattr(backend, "cupy", None)
    assert op.__name__ == "op_forward"
