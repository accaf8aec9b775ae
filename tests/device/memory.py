"""Device memory that lies on the host: the stand-in's allocator, and NumPy views of its arrays."""
from __future__ import annotations

import ctypes
import weakref
from typing import Any

import cupy
import numpy as np
from cupy.cuda.memory_hook import get_memory_hooks

GARBAGE = 0xFF                                      # NaN as a float, -1 as an integer: memory that nobody has written
ALIGNMENT = 512                                     # bytes, as cudaMalloc


class HostPointer(cupy.cuda.MemoryPointer):
    """A pointer whose memory the host fills and copies, instead of the CUDA runtime (cuda/memory.pyx)."""

    def __add__(self, offset: int) -> HostPointer:
        return HostPointer(self.mem, self.ptr - self.mem.ptr + offset)

    __radd__ = __add__

    def memset(self, value: int, size: int) -> None:
        """Set bytes."""
        ctypes.memset(self.ptr, value, size)

    def memset_async(self, value: int, size: int, stream: Any = None) -> None:
        """Set bytes."""
        self.memset(value, size)

    def copy_from_async(self, memory: Any, size: int, stream: Any = None) -> None:
        """Copy bytes of the device."""
        ctypes.memmove(self.ptr, memory.ptr, size)

    copy_from = copy_from_device = copy_from_device_async = copy_from_async


class Pool:
    """Stands for cupy.get_default_memory_pool(): counts the bytes of living allocations."""

    def __init__(self) -> None:
        self.used = self.total = 0

    def allocate(self, size: int) -> cupy.cuda.MemoryPointer:
        """An allocator for cupy.cuda.set_allocator: memory of the host that CuPy takes for memory of device 0."""
        rounded = -(-size // ALIGNMENT) * ALIGNMENT
        owner = np.full(rounded + ALIGNMENT, GARBAGE, np.uint8)
        self.used += rounded
        self.total = max(self.total, self.used)
        address = -(-owner.ctypes.data // ALIGNMENT) * ALIGNMENT
        weakref.finalize(owner, self._release, rounded, address, id(owner))
        for hook in get_memory_hooks().values():
            hook.malloc_postprocess(device_id=0, size=size, mem_size=rounded, mem_ptr=address, pmem_id=id(owner))
        return HostPointer(cupy.cuda.UnownedMemory(address, rounded, owner, 0), 0)

    def _release(self, size: int, address: int, owner: int) -> None:
        self.used -= size
        for hook in get_memory_hooks().values():
            hook.free_postprocess(device_id=0, mem_size=size, mem_ptr=address, pmem_id=owner)

    def used_bytes(self) -> int:
        """Bytes in living arrays."""
        return self.used

    def total_bytes(self) -> int:
        """Bytes that the pool has taken from the device: the most that were ever in use, since free blocks stay in the pool."""
        return self.total

    def free_all_blocks(self) -> None:
        """Give the free blocks back to the device."""
        self.total = self.used


pool = Pool()


class _Interface:
    """Shows NumPy the memory of an array, and keeps it alive."""

    def __init__(self, array: cupy.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {"version": 3, "shape": array.shape, "typestr": array.dtype.str,
                                    "data": (array.data.ptr, False), "strides": array.strides}


def host(array: cupy.ndarray) -> np.ndarray:
    """A NumPy view of a device array, with the same strides."""
    return np.asarray(_Interface(array)) if array.size else np.empty(array.shape, array.dtype)
