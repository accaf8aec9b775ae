"""Reductions and sorting of device arrays, for arrays.py: _routines_math.pyx, _routines_statistics.pyx, _routines_logic.pyx and
_routines_sorting.pyx of CuPy 14.2.
"""
from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from cupy.exceptions import AxisError

from tests.device.memory import host

Real = cupy.ndarray


def on_device(values: Any, dtype: Any = None) -> Any:
    """A C-contiguous device array with these values, as a kernel leaves its result."""
    values = np.asarray(values)
    array = cupy.ndarray(values.shape, dtype or values.dtype)          # the stand-in's class, where it is installed
    host(array)[...] = values
    return array


class Reductions:
    """The methods of an array that make it smaller or sort it."""

    __slots__ = ()

    # 0-d results are arrays, not numbers

    def _reduced(self, values: Any, out: Any) -> Any:
        if out is None:
            return on_device(values)
        if not isinstance(out, Real):
            raise TypeError("Argument 'out' has incorrect type (expected cupy.ndarray)")
        if out.shape != np.shape(values):
            raise ValueError("Out shape is mismatched")
        np.copyto(host(out), values, casting="unsafe")
        return out

    def _reduce(self, name: str, axis: Any, out: Any, keepdims: Any, **kwargs: Any) -> Any:
        with np.errstate(all="ignore"):
            return self._reduced(getattr(host(self), name)(axis=axis, keepdims=bool(keepdims), **kwargs), out)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return self._reduce("sum", axis, out, keepdims, dtype=dtype)

    def prod(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = None) -> Any:
        return self._reduce("prod", axis, out, keepdims, dtype=dtype)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return self._reduce("mean", axis, out, keepdims, dtype=dtype)

    def var(self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False) -> Any:
        return self._reduce("var", axis, out, keepdims, dtype=dtype, ddof=ddof)

    def std(self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False) -> Any:
        return self._reduce("std", axis, out, keepdims, dtype=dtype, ddof=ddof)

    def max(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return self._reduce("max", axis, out, keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return self._reduce("min", axis, out, keepdims)

    def ptp(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        with np.errstate(all="ignore"):
            return self._reduced(np.ptp(host(self), axis=axis, keepdims=bool(keepdims)), out)

    def all(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return self._reduce("all", axis, out, keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return self._reduce("any", axis, out, keepdims)

    def argmax(self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
        return self._reduced(host(self).argmax(axis=axis, keepdims=bool(keepdims)).astype(dtype or np.int64), out)

    def argmin(self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
        return self._reduced(host(self).argmin(axis=axis, keepdims=bool(keepdims)).astype(dtype or np.int64), out)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return self._reduced(host(self).cumsum(axis, dtype), out)

    def cumprod(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return self._reduced(host(self).cumprod(axis, dtype), out)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:
        limits = np.finfo if self.dtype.kind == "f" else np.iinfo
        low = self.dtype.type("-inf") if self.dtype.kind == "f" else limits(self.dtype).min
        high = self.dtype.type("inf") if self.dtype.kind == "f" else limits(self.dtype).max
        return cupy._core._routines_math._clip(self, low if min is None else min, high if max is None else max, out=out)

    def round(self, decimals: int = 0, out: Any = None) -> Any:
        return self._reduced(host(self).round(decimals), out)

    def dot(self, b: Any, out: Any = None) -> Any:
        return cupy._core.dot(self, b, out)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
        return self.diagonal(offset, axis1, axis2).sum(-1, dtype, out, False)

    # sorting is always stable, and in place only where contiguous

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        _check_kind(kind)
        _check_sortable(self)
        host(self).sort(axis, kind="stable")

    def argsort(self, axis: Any = -1, kind: Any = None) -> Any:
        _check_kind(kind)
        return on_device(host(cupy.atleast_1d(self)).argsort(axis, kind="stable"))

    def partition(self, kth: Any, axis: int = -1) -> None:
        _check_sortable(self)
        _check_kth(self, kth, axis)
        host(self).sort(axis, kind="stable")                           # what CuPy does with less than 32 elements a row

    def argpartition(self, kth: Any, axis: Any = -1) -> Any:
        _check_kth(self, kth, axis)
        return self.argsort(axis)                                      # CuPy sorts everything

    def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Any:
        return cupy.searchsorted(self, v, side, sorter)


def _check_kind(kind: Any) -> None:
    if kind is not None and kind != "stable":
        raise ValueError("kind can only be None or 'stable'")


def _check_kth(array: Real, kth: Any, axis: Any) -> None:
    length = array.size if axis is None else array.shape[axis]
    for k in (kth,) if isinstance(kth, int) else kth:
        if not -length <= k < length:
            raise ValueError(f"kth(={k}) out of bounds {length}")


def _check_sortable(array: Real) -> None:
    if array.ndim == 0:
        raise AxisError("Sorting arrays with the rank of zero is not supported")
    if not array.flags.c_contiguous:
        raise NotImplementedError("Sorting non-contiguous array is not supported.")
