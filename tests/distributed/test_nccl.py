"""Sums on GPUs: over NCCL, here with a communicator in its place on the stand-in, or through the computer's memory."""
from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from minixl.distributed import Group, nccl, using
from minixl.errors import UserError
from minixl.ops.embedding import RowSparse
from minixl.parameters import ParameterStore
from minixl.training.summing import sum_gradients
from tests.conftest import HAS_DEVICE

pytestmark = pytest.mark.gpu
KINDS = {7: ctypes.c_float, 8: ctypes.c_double}


class Twin(Group):
    """Two processes with the same gradients."""

    size = 2
    device: nccl.NcclSums | None = None

    def gather(self, value):
        return [value, value]

    def gather_rows(self, rows):
        return rows

    def begin_sum(self, array):
        return self.device.begin_sum(array)


class Communicator:
    """What minixl calls of cupy.cuda.nccl.NcclCommunicator, on memory that the host can read."""

    calls: list[tuple] = []

    def __init__(self, size, identity, rank):
        assert (size, identity, rank) == (2, (1, 2, 3), 0)

    def allReduce(self, source, target, count, kind, operation, stream):
        self.calls.append((count, kind, operation, stream))
        assert source == target
        values = np.ctypeslib.as_array(ctypes.cast(source, ctypes.POINTER(KINDS[kind])), (count,))
        values *= 2


LIBRARY = SimpleNamespace(NCCL_FLOAT32=7, NCCL_FLOAT64=8, NCCL_SUM=0, NcclCommunicator=Communicator,
                          get_unique_id=lambda: (1, 2, 3), available=True)


@pytest.mark.skipif(HAS_DEVICE, reason="the communicator reads the host's memory")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_summed_over_nccl(cuda, monkeypatch, dtype):
    monkeypatch.setattr(nccl, "find_nccl", lambda: LIBRARY)
    monkeypatch.setattr(Communicator, "calls", [])
    twin = Twin()
    assert nccl.use_gpus(twin, cuda, {}) == "gradients are summed over NCCL"
    store = ParameterStore({"table": (9, 4), "weight": (3, 4), "bias": (4,), "other": (2,)}, tables=["table"], dtype=dtype, xp=cuda)
    values = {name: np.arange(1, 1 + store[name].value.size, dtype=dtype).reshape(store[name].value.shape)
              for name in ("weight", "bias", "other")}
    for name, value in values.items():
        store[name].grad[...] = cuda.asarray(value)
    store["table"].grad = RowSparse(cuda.asarray([2, 5]), cuda.asarray(np.ones((2, 4), dtype)))
    with using(twin):
        sum_gradients(store, ["table", "weight", "bias"])
    for name in ("weight", "bias"):
        np.testing.assert_array_equal(store[name].grad.get(), 2 * values[name])
    np.testing.assert_array_equal(store["other"].grad.get(), values["other"])
    assert store["table"].grad.rows.get().tolist() == [2, 5] and (store["table"].grad.values.get() == 2).all()
    kind = {np.float32: 7, np.float64: 8}[dtype]
    assert [call[1:3] for call in Communicator.calls] == [(kind, 0)] * 3 and Communicator.calls[-1][0] == 8


def test_without_nccl_one_line_says_so(cuda, monkeypatch):
    monkeypatch.setattr(nccl, "find_nccl", lambda: None)
    twin = Twin()
    line = nccl.use_gpus(twin, cuda, {"MPI_LOCALRANKID": "0"})
    assert line == "NCCL is missing, so gradients are summed through the computers' memory; pip install nvidia-nccl-cu13"
    assert twin.device is None


def test_more_processes_than_gpus(cuda, monkeypatch):
    monkeypatch.setattr(cuda.cuda.runtime, "getDeviceCount", lambda: 1)
    with pytest.raises(UserError, match="^mpiexec: expected at most one process for each of the 1 GPUs of this computer, found 2"):
        nccl.use_gpus(Twin(), cuda, {"OMPI_COMM_WORLD_LOCAL_RANK": "1"})
