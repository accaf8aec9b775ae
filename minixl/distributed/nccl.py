"""One GPU for each process; sums of gradients over NCCL, which MPI brings together, or through the computer's memory without it.

NCCL adds up in an order of its own, the same in every run on the same GPUs; so unlike on a CPU the bits also depend on how the
GPUs are connected.  Tests: tests/distributed/test_nccl.py, with a communicator in NCCL's place.
"""
from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from minixl.distributed.group import Group
from minixl.errors import UserError

LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")


def use_gpus(together: Any, cupy: Any, environment: Mapping[str, str] = os.environ) -> str:
    """Give this process a GPU of its own, before any array is on one; return a line that says how gradients are summed.

    together: an MpiGroup.  Raises UserError if this computer has fewer GPUs than processes.
    """
    local = next((int(environment[name]) for name in LOCAL_RANKS if name in environment), together.rank)
    count = cupy.cuda.runtime.getDeviceCount()
    own_only = count == 1 and "CUDA_VISIBLE_DEVICES" in environment    # a launcher may show a process no GPU but its own
    if local >= count and not own_only:
        raise UserError(f"mpiexec: expected at most one process for each of the {count} GPUs of this computer, found {local + 1} "
                        "or more; start fewer, or use --device cpu")
    cupy.cuda.Device(local % count).use()
    nccl = find_nccl()
    if not all(together.gather(nccl is not None)):
        return "NCCL is missing, so gradients are summed through the computers' memory; pip install nvidia-nccl-cu13"
    together.device = NcclSums(together, nccl, cupy)
    return "gradients are summed over NCCL"


def find_nccl() -> Any:
    """Return cupy.cuda.nccl; None if its library is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                # CuPy's page-long advice
        from cupy.cuda import nccl
        return nccl if nccl.available else None


class NcclSums:
    """Sums over the GPUs of a group, on a stream of their own, so that a backward pass goes on meanwhile."""

    def __init__(self, together: Group, nccl: Any, cupy: Any) -> None:
        self.nccl, self.cupy = nccl, cupy
        identity = together.gather(nccl.get_unique_id() if together.leads else None)[0]
        self.communicator = nccl.NcclCommunicator(together.size, identity, together.rank)
        self.stream = cupy.cuda.Stream(non_blocking=True)

    def begin_sum(self, array: Any) -> NcclSum:
        """Begin to replace a contiguous array by its sum, when what the current stream does with it is done."""
        kind = {"float32": self.nccl.NCCL_FLOAT32, "float64": self.nccl.NCCL_FLOAT64}[array.dtype.name]
        self.stream.wait_event(self.cupy.cuda.get_current_stream().record())
        self.communicator.allReduce(array.data.ptr, array.data.ptr, array.size, kind, self.nccl.NCCL_SUM, self.stream.ptr)
        return NcclSum(self.cupy, self.stream.record())


class NcclSum:
    """A sum that the GPU computes by itself."""

    def __init__(self, cupy: Any, done: Any) -> None:
        self.cupy, self.done = cupy, done

    def advance(self) -> bool:
        return bool(self.done.done)

    def finish(self) -> None:
        """Let the current stream wait; the CPU goes on."""
        self.cupy.cuda.get_current_stream().wait_event(self.done)
