"""backend: array modules, work on several threads, and the dispatch of @op to kernels (with a stand-in for cupy)."""
import threading
import time
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from minixl import backend, blas
from minixl.errors import UserError


class GpuArray:
    """The array class of the stand-in for cupy."""

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
    """Both items must run at the same time to pass the barrier."""
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
    """The caller's own item fails while a helper still works: nothing may write to the buffers once the error is raised."""
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
    assert backend.threads() == expected


class Cache(NamedTuple):
    inner: object


@pytest.fixture
def dispatched(fake_cupy, monkeypatch):
    """op(function) with a launcher in a stand-in for kernels/, and the names of the modules that were imported for it."""
    imported = []
    modules = {"minixl.kernels": SimpleNamespace(OPS={"made_up": ("made_up_forward",)}),
               "minixl.kernels.made_up": SimpleNamespace(made_up_forward=lambda x, cache=None: "kernel")}

    def import_module(name):
        imported.append(name)
        return modules[name]

    def decorate(function):
        function.__module__ = "minixl.ops.made_up"
        return backend.op(function)

    monkeypatch.setattr(backend.importlib, "import_module", import_module)
    monkeypatch.delenv("MINIXL_KERNELS", raising=False)
    backend._launcher.cache_clear()
    yield decorate, imported
    backend._launcher.cache_clear()


def test_a_kernel_takes_over_on_the_gpu_only(dispatched, monkeypatch):
    """The launcher is looked up once, by file and name; CuPy arrays in caches count too."""
    decorate, imported = dispatched

    def made_up_forward(x, cache=None):
        return "formula"

    op = decorate(made_up_forward)
    assert op(np.ones(2)) == "formula" and not imported
    assert op(GpuArray()) == "kernel" and imported == ["minixl.kernels", "minixl.kernels.made_up"]
    assert op(np.ones(2), Cache(Cache(GpuArray()))) == "kernel" and len(imported) == 2
    assert op(np.ones(2), Cache(np.ones(2))) == "formula"
    monkeypatch.setenv("MINIXL_KERNELS", "0")
    assert op(GpuArray()) == "formula"
    assert op.__name__ == "made_up_forward" and op.__wrapped__ is made_up_forward


def test_an_op_without_a_launcher_runs_on_the_gpu_itself(dispatched):
    decorate, imported = dispatched

    def made_up_backward(dy, cache):
        return "formula"

    op = decorate(made_up_backward)
    assert op(GpuArray(), Cache(GpuArray())) == "formula" and imported == ["minixl.kernels"]


def test_a_kernel_is_recorded_as_its_op(dispatched):
    decorate, _ = dispatched

    def made_up_forward(x, cache=None):
        return "formula"

    calls, array = [], GpuArray()
    with backend.recording(calls.append):
        decorate(made_up_forward)(array)
    assert calls == [backend.Call("made_up_forward", {"x": array}, "kernel", made_up_forward)]


def test_side_by_side_computes_several_at_a_time_in_order(monkeypatch):
    """Both items must run at the same time to pass the barrier; the first one ends last."""
    monkeypatch.setattr(backend, "threads", lambda: 2)
    barrier, second_is_done = threading.Barrier(2, timeout=20), threading.Event()

    def meet(item: int) -> int:
        if item < 2:
            barrier.wait()
        if item == 0:
            assert second_is_done.wait(20)
        if item == 1:
            second_is_done.set()
        return 10 * item

    assert list(backend.side_by_side(meet, iter(range(9)))) == [10 * item for item in range(9)]
    assert list(backend.side_by_side(meet, [])) == []


def test_side_by_side_looks_ahead_only_a_little(monkeypatch):
    monkeypatch.setenv("MINIXL_THREADS", "2")
    taken = []
    results = backend.side_by_side(lambda item: item, (taken.append(item) or item for item in range(50)))
    assert [next(results), len(taken)] == [0, 4]
    assert [next(results), len(taken)] == [1, 5]
    results.close()


@pytest.mark.parametrize("count", ["1", "2"])
def test_side_by_side_computes_each_item_on_one_thread(monkeypatch, count):
    monkeypatch.setenv("MINIXL_THREADS", count)
    of_blas = lambda: blas._openblas()[1]() if blas._openblas() else 1
    before = of_blas()
    inside = list(backend.side_by_side(lambda item: (backend.threads(), of_blas()), range(5)))
    assert inside == [(1, 1)] * 5 and (backend.threads(), of_blas()) == (int(count), before)
    if count == "2":
        nested = backend.side_by_side(lambda item: list(backend.side_by_side(lambda _: threading.get_ident(), range(3))), range(4))
        assert all(len(set(idents)) == 1 for idents in nested)
        assert backend.threads() == 2


def test_side_by_side_passes_an_exception_on_and_stops(monkeypatch):
    monkeypatch.setenv("MINIXL_THREADS", "2")
    begun, running = [], []

    def fail(item: int) -> int:
        begun.append(item)
        running.append(item)
        time.sleep(0.01)
        running.remove(item)
        if item == 1:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError, match="1"):
        list(backend.side_by_side(fail, range(1000)))
    assert not running and len(begun) < 10


def test_side_by_side_is_in_order_for_a_recorder(monkeypatch):
    monkeypatch.setenv("MINIXL_THREADS", "2")
    with backend.recording(lambda call: None):
        idents = set(backend.side_by_side(lambda item: threading.get_ident(), range(6)))
    assert idents == {threading.get_ident()}
