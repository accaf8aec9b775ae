"""cupy.random.Generator with NumPy's Philox in place of cuRAND.

Seeding is CuPy's own code (_bit_generator.pyx): only 32 bits of a SeedSequence reach the device, a new bit generator writes
one state per thread to device memory, and no method returns that state, so a generator cannot be saved.  The numbers are not
cuRAND's; which methods exist, their checks and dtypes are CuPy's (_generator_api.pyx).
"""
from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from tests.device.arrays import DeviceArray
from tests.device.kernels import stands_for
from tests.device.memory import host
from tests.device.reductions import on_device

PROCESSORS = 4                     # multiprocessors of the device: 2048 states each
_streams: dict[int, np.random.Generator] = {}      # address of a bit generator's state -> what draws its numbers


@stands_for("cupy.random._generator_api.init_curand")
def init_curand(generator: int, state: int, seed: int, size: int) -> None:
    """Seed all states."""
    _streams[state] = np.random.Generator(np.random.Philox(int(seed)))


class Generator(cupy.random.Generator):
    """Draws what minixl draws; every other method of CuPy's class ends in its CUDARuntimeError."""

    @property
    def _stream(self) -> np.random.Generator:
        return _streams[self.bit_generator.state()]

    def integers(self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False) -> Any:
        """Bounds are numbers, never arrays; the result is an array of `dtype`, without a size a 0-d one."""
        low, high = (0, int(low)) if high is None else (int(low), int(high))
        high -= not endpoint
        if low > high:
            raise ValueError("low >= high")
        if low < np.iinfo(dtype).min:
            raise ValueError(f"low is out of bounds for {np.dtype(dtype).name}")
        if high > np.iinfo(dtype).max:
            raise ValueError(f"high is out of bounds for {np.dtype(dtype).name}")
        kind = np.uint32 if high - low < 2 ** 32 else np.uint64
        drawn = self._stream.integers(0, high - low, () if size is None else size, dtype=kind, endpoint=True)
        return cupy.add(low, on_device(drawn), dtype=dtype)

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Uniform in [0, 1)."""
        if out is not None:
            self._check_output_array(dtype, size, out)
        kind = np.float64 if np.dtype(dtype).char == "d" else np.float32
        drawn = on_device(self._stream.random(() if size is None else size, kind))
        if out is None:
            return drawn.astype(dtype, copy=False)
        host(out)[...] = host(drawn)
        return out

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Normal with mean 0 and variance 1."""
        drawn: DeviceArray = on_device(self._stream.standard_normal(() if size is None else size, dtype))
        if out is None:
            return drawn
        self._check_output_array(dtype, size, out)
        host(out)[...] = host(drawn)
        return out
