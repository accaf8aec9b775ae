"""CuPy's RawModule, streams and events: the kernels of kernels/*.cu run through the host shim (tests/kernels/host.py)."""
from __future__ import annotations

import time
from typing import Any

import cupy
import numpy as np

from minixl.kernels import KERNELS
from tests.device.arrays import Real
from tests.device.crossings import TO_HOST, record
from tests.device.memory import host
from tests.kernels.host import HostKernel, KernelFault

PROPERTIES = {"name": b"stand-in for a CUDA device", "multiProcessorCount": 4, "totalGlobalMem": 1 << 30, "major": 9, "minor": 0}
checked = False            # whether the shim searches kernels for races and undefined behaviour, which takes ten times as long


class RawModule(cupy.RawModule):
    """Its arguments are checked by CuPy's own constructor."""

    def get_function(self, name: str) -> RawKernel:
        """A kernel of this module's source."""
        return RawKernel(self.code, name)


class RawKernel:
    """One kernel; a NumPy array with more than one element is refused as an argument, as CuPy does (cuda/function.pyx)."""

    def __init__(self, source: str, name: str) -> None:
        filename = next((path.name for path in KERNELS.glob("*.cu") if path.read_text() == source), "")
        self.kernel, self.name = HostKernel(filename, name, source, record=checked and bool(filename), checked=checked), name

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0,
                 stream: Any = None) -> None:
        for arg in args:
            if isinstance(arg, np.ndarray):
                if arg.size != 1:
                    raise TypeError(f"You are trying to pass a numpy.ndarray of shape {arg.shape} as a kernel parameter.")
                raise KernelFault(f"{self.name}: a NumPy array of one element is passed by value")
        self.kernel(grid, block, [host(arg) if isinstance(arg, Real) else arg for arg in args], shared_mem=shared_mem)


class Stream:
    """Everything happens at once, in order."""

    null: Stream
    ptr = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def synchronize(self) -> None:
        """Wait for the device."""
        record(TO_HOST, 0)

    def record(self) -> Event:
        """Return an event of this moment."""
        return Event()

    def wait_event(self, event: Event) -> None:
        """Wait for what is done already."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *args: Any) -> None:
        pass


Stream.null = Stream()


class Event:
    """A moment of the host's clock."""

    done = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seconds = 0.0

    def record(self, stream: Any = None) -> None:
        """Note the time."""
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        """Wait for the device."""
        record(TO_HOST, 0)


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds between two events."""
    return 1000 * (end.seconds - start.seconds)


class Device:
    """The only device."""

    compute_capability = "90"

    def __init__(self, device: int = 0) -> None:
        self.id = device

    def use(self) -> Device:
        """Make it the current device, which it is."""
        return self

    def synchronize(self) -> None:
        """Wait for it."""
        record(TO_HOST, 0)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *args: Any) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id
