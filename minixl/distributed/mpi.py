"""A group of processes over MPI.  Imports mpi4py, which initialises MPI.

A sum is a reduce-scatter and an allgather of point-to-point messages: each process receives one part of the array from every
other, adds the parts up in the order of the ranks, and sends the result to all.  That moves as few bytes as any allreduce, and
its bits depend only on the number of processes, not on the MPI, the nodes or the network.  An MPI_Allreduce promises less, and
on one node it is no faster (docs/scaling.md).

Waiting gives the core to other processes, so more processes than cores slow each other down but do not stand still.
Tests: tests/distributed/.
"""
from __future__ import annotations

import os
import pickle
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from minixl.backend import array_module, to_numpy
from minixl.distributed.group import ALONE, Group, PendingSum

TAGS = 1 << 14                         # MPI promises tags up to 32767; a sum takes two


class MpiGroup(Group):
    """The processes of a communicator, which must be this group's alone."""

    def __init__(self, communicator: Any = None) -> None:
        self.communicator = communicator or MPI.COMM_WORLD.Dup()
        self.ending = self.communicator.Dup()          # on its own: the others may be in the middle of something else
        self.rank, self.size = self.communicator.rank, self.communicator.size
        self.name = f"{self.size} processes over {library()}"
        self.sums = 0
        self.groups: dict[int, Group] = {}             # count -> this process's group of a split
        self.device: Any = None                        # sums on GPUs: nccl.py

    def gather(self, value: Any) -> list[Any]:
        sent = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = np.empty(self.size, np.int64)
        wait([self.communicator.Iallgather(np.array([len(sent)], np.int64), lengths)])
        return [pickle.loads(part.tobytes()) for part in self._gather_parts(sent, lengths)]

    def gather_rows(self, rows: Any) -> Any:
        xp, host = array_module(rows), np.ascontiguousarray(to_numpy(rows))
        width = int(np.prod(host.shape[1:], dtype=int)) * host.itemsize
        lengths = np.array(self.gather(len(host)), np.int64) * width
        parts = self._gather_parts(host.reshape(-1).view(np.uint8), lengths)
        return xp.asarray(np.concatenate(parts).view(host.dtype).reshape(-1, *host.shape[1:]))

    def _gather_parts(self, sent: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """sent (n,) bytes, lengths (size,) of all -> the bytes of every process."""
        received, ends = np.empty(int(lengths.sum()), np.uint8), np.cumsum(lengths)
        wait([self.communicator.Iallgatherv(sent, [received, (lengths.tolist(), (ends - lengths).tolist()), MPI.BYTE])])
        return np.split(received, ends[:-1])

    def begin_sum(self, array: Any) -> PendingSum:
        if array_module(array) is not np:
            return self.device.begin_sum(array) if self.device is not None else CopiedSum(self, array)
        return OrderedSum(self, array)

    def next_tag(self) -> int:
        """Return the first of two tags of a new sum; every process begins its sums in the same order."""
        self.sums += 1
        return self.sums % TAGS * 2

    def split(self, count: int) -> tuple[Group, int]:
        number = self.rank * count // self.size        # neighbours, which often share a node
        if count not in self.groups:
            own = MpiGroup(self.communicator.Split(number, self.rank))
            if self.device is not None and own.size > 1:
                own.device = type(self.device)(own, self.device.nccl, self.device.cupy)
            self.groups[count] = own if own.size > 1 else ALONE
        return self.groups[count], number

    def end_alike(self, seconds: float) -> bool:
        request, until = self.ending.Ibarrier(), time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def abort(self, code: int) -> None:
        MPI.COMM_WORLD.Abort(code)


class OrderedSum:
    """The sum of an array (n,) on the CPU; each process adds up one part of it, in the order of the ranks."""

    def __init__(self, group: MpiGroup, array: np.ndarray) -> None:
        self.group, self.array, self.tag = group, array, group.next_tag()
        bounds = np.linspace(0, len(array), group.size + 1).astype(int).tolist()
        self.parts = [array[first:last] for first, last in zip(bounds[:-1], bounds[1:], strict=True)]
        self.own = self.parts[group.rank]
        self.others = [rank for rank in range(group.size) if rank != group.rank]
        self.received = {rank: np.empty_like(self.own) for rank in self.others}
        self.adding = True
        self.requests = self._exchange(self.tag, send=self.parts, receive=self.received)

    def advance(self) -> bool:
        if not MPI.Request.Testall(self.requests):
            return False
        if self.adding:
            self.adding = False
            terms = [self.received.get(rank, self.own) for rank in range(self.group.size)]
            total = terms[0] + terms[1]
            for term in terms[2:]:
                total += term
            self.own[...] = total
            self.requests = self._exchange(self.tag + 1, send=[self.own] * self.group.size,
                                           receive={rank: self.parts[rank] for rank in self.others})
            return bool(MPI.Request.Testall(self.requests))
        return True

    def finish(self) -> None:
        while not self.advance():
            os.sched_yield()

    def _exchange(self, tag: int, send: Sequence[np.ndarray], receive: dict[int, np.ndarray]) -> list[Any]:
        """Begin to receive from every other process, and to send to each."""
        communicator = self.group.communicator
        return [communicator.Irecv(receive[rank], rank, tag) for rank in self.others] \
            + [communicator.Isend(send[rank], rank, tag) for rank in self.others]


class CopiedSum:
    """The sum of an array on a GPU through the computer's memory, where NCCL is missing."""

    def __init__(self, group: MpiGroup, array: Any) -> None:
        self.array, self.host = array, to_numpy(array).copy()
        self.sum = OrderedSum(group, self.host)

    def advance(self) -> bool:
        return self.sum.advance()

    def finish(self) -> None:
        self.sum.finish()
        self.array[...] = array_module(self.array).asarray(self.host)


def wait(requests: Sequence[Any]) -> None:
    """Wait for all requests; leave the core to others meanwhile."""
    while not MPI.Request.Testall(requests):
        os.sched_yield()


def library() -> str:
    """Return the name and version of the MPI that mpi4py has loaded."""
    return " ".join(MPI.Get_library_version().partition("\n")[0].partition(",")[0].replace("Version:", "").split())
