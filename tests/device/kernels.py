"""NumPy in place of those kernels, reductions and library calls of CuPy that its own Python code reaches.

    REPLACED   "module.name" -> the function that stands there while the stand-in is installed

What CuPy's code does around them, such as the waits of bincount, is left to CuPy.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy as np
from cupy._core import _dtype, _routines_math

from tests.device.arrays import DeviceArray, Real
from tests.device.crossings import TO_DEVICE, TO_HOST, record
from tests.device.indexing import ORDER
from tests.device.memory import host
from tests.device.reductions import on_device
from tests.device.ufuncs import of_arguments

REPLACED: dict[str, Callable[..., Any]] = {}


def stands_for(*places: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate the replacement of "module.name"."""
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        REPLACED.update(dict.fromkeys(places, function))
        return function
    return register


# ---- arrays from data: core.pyx, array()

@stands_for("cupy._core.array", "cupy._core.core.array")
def array(obj: Any, dtype: Any = None, copy: bool | None = True, order: str | None = "K", subok: bool = False, ndmin: int = 0,
          blocking: bool = False) -> DeviceArray:
    """Device arrays stay there, a list of them is joined there; host data is copied through pinned memory without waiting."""
    if subok:
        raise NotImplementedError
    if isinstance(obj, Real):
        result = obj.astype(obj.dtype if dtype is None else dtype, order=order, copy=copy)
        if ndmin > result.ndim:
            result = result.reshape((1,) * (ndmin - result.ndim) + result.shape)
        return result
    if isinstance(obj, (list, tuple)) and _all_on_device(obj):
        joined = stack(obj)
        return joined if dtype is None else joined.astype(dtype, copy=False)
    values = np.array(obj, dtype=dtype, ndmin=ndmin)                   # raises TypeError where a device array is among them
    if values.dtype.char not in "?bhilqBHILQefdFD":
        raise ValueError(f"Unsupported dtype {values.dtype}")
    fortran = order == "F" or order in ("K", "A", None) and values.flags.fnc
    result = DeviceArray(values.shape, values.dtype, order="F" if fortran else "C")
    host(result)[...] = values
    if values.ndim:                                                    # one number travels as an argument of the kernel
        record(TO_DEVICE, values.nbytes)
        if blocking:
            record(TO_HOST, 0)
    return result


def _all_on_device(obj: Any) -> bool:
    if isinstance(obj, (list, tuple)):
        return bool(obj) and all(map(_all_on_device, obj))
    return isinstance(obj, Real)


def stack(obj: Any) -> DeviceArray:
    """A nested sequence of device arrays as one array."""
    return obj if isinstance(obj, Real) else on_device(np.stack([host(stack(part)) for part in obj]))


@stands_for("cupy._core.ascontiguousarray", "cupy._core.core.ascontiguousarray")
def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    """The array itself if it is contiguous; a 0-d array gets an axis."""
    result = a.astype(a.dtype if dtype is None else dtype, order="C", copy=None if a.flags.c_contiguous else True)
    return result.ravel() if result.ndim == 0 else result


@stands_for("cupy._core._internal_ascontiguousarray", "cupy._core.core._internal_ascontiguousarray")
def internal_ascontiguousarray(a: Any) -> Any:
    """The same for any rank."""
    return a if a.flags.c_contiguous else a.copy()


@stands_for("cupy._core._internal_asfortranarray", "cupy._core.core._internal_asfortranarray")
def internal_asfortranarray(a: Any) -> Any:
    """The same for columns."""
    return a if a.flags.f_contiguous else a.astype(a.dtype, order="F")


@stands_for("cupy._core.asfortranarray", "cupy._core.core.asfortranarray")
def asfortranarray(a: Any, dtype: Any = None) -> Any:
    """The array itself if its columns are contiguous."""
    return a if a.flags.f_contiguous and dtype in (None, a.dtype) else a.astype(dtype or a.dtype, order="F")


# ---- joining: _routines_manipulation.pyx, concatenate_method()

@stands_for("cupy._core.concatenate_method", "cupy._core._routines_manipulation.concatenate_method")
def concatenate(tup: Any, axis: int, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Device arrays only."""
    arrays = of_arguments(tuple(tup))
    if not arrays:
        raise ValueError("Cannot concatenate from empty tuple")
    if not all(isinstance(array, Real) for array in arrays):
        raise TypeError("Only cupy arrays can be concatenated")
    if not all(array.ndim for array in arrays):
        raise TypeError("zero-dimensional arrays cannot be concatenated")
    if len({array.ndim for array in arrays}) > 1:
        raise ValueError("All arrays to concatenate must have the same ndim")
    axis = axis % arrays[0].ndim
    if len({array.shape[:axis] + array.shape[axis + 1:] for array in arrays}) > 1:
        raise ValueError("All arrays must have same shape except the axis to concatenate")
    if out is not None and dtype is not None:
        raise TypeError("concatenate() only takes `out` or `dtype` as an argument, but both were provided.")
    kind = out.dtype if out is not None else functools.reduce(np.promote_types, [array.dtype for array in arrays]) \
        if dtype is None else _dtype.get_dtype(dtype)
    for part in arrays:
        _dtype._raise_if_invalid_cast(part.dtype, kind, casting)
    values = np.concatenate([host(array) for array in arrays], axis, dtype=kind, casting="unsafe")
    return on_device(values) if out is None else arrays[0]._reduced(values, out)


# ---- products: _routines_linalg.pyx

@stands_for("cupy._core.dot", "cupy._core._routines_linalg.dot")
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """`out` must have the result's dtype and be C-contiguous."""
    _only_arrays(a=a, b=b)
    if out is not None:
        if np.result_type(a.dtype, b.dtype) != out.dtype:
            raise ValueError("Not supported dtype combination.")
        if not out.flags.c_contiguous:
            raise ValueError("Output array must be C-contiguous")
    if a.ndim and b.ndim and a.shape[-1] != b.shape[max(0, b.ndim - 2)]:
        raise ValueError("Axis dimension mismatch")
    return _product(np.dot(host(a), host(b)), out)


@stands_for("cupy._core.matmul", "cupy._core._routines_linalg.matmul")
def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """Of any rank but 0."""
    _only_arrays(a=a, b=b)
    if not a.ndim or not b.ndim:
        raise ValueError("Scalar operands are not allowed, use '*' instead")
    if max(a.ndim, b.ndim) <= 2:
        direct = out is None or out.flags.c_contiguous and np.promote_types(a.dtype, b.dtype) == out.dtype
        return dot(a, b, out) if direct else _product(host(dot(a, b)), out)
    if a.shape[-1] != b.shape[max(0, b.ndim - 2)]:
        raise ValueError(f"shapes ({','.join(map(str, a.shape))}) and ({','.join(map(str, b.shape))}) not aligned")
    values = np.matmul(host(a), host(b))
    if out is not None and out.shape != values.shape:
        raise ValueError("Output array has an invalid size")
    return _product(values, out)


@stands_for("cupy._core.tensordot_core", "cupy._core._routines_linalg.tensordot_core")
def tensordot_core(a: Any, b: Any, out: Any, n: int, m: int, k: int, ret_shape: Sequence[int]) -> Any:
    """a (k, n...), b (k, m...) -> (n..., m...)."""
    if not a.size or not b.size:
        values = np.zeros(ret_shape, np.promote_types(a.dtype, b.dtype))
    else:
        values = (host(a).reshape(k, n).T @ host(b).reshape(k, m)).reshape(ret_shape)
    return _product(values, out)


def _product(values: Any, out: Any) -> Any:
    if out is None:
        return on_device(values)
    np.copyto(host(out), values, casting="unsafe")
    return out


def _only_arrays(**arrays: Any) -> None:
    for name, given in arrays.items():
        if not isinstance(given, Real):
            kind = "numpy.ndarray" if isinstance(given, np.ndarray) else type(given).__name__
            raise TypeError(f"Argument '{name}' has incorrect type (expected cupy._core.core._ndarray_base, got {kind})")


@stands_for("cupy._core._routines_math.scan_core")
def scan(a: Any, axis: Any, op: Any, dtype: Any = None, out: Any = None) -> Any:
    """The running sum or product."""
    values = (np.cumsum if op == _routines_math.scan_op.SCAN_SUM else np.cumprod)(host(a), axis, dtype)
    return _product(values, out)


# ---- single kernels of cupy/_sorting/search.py, _statistics/histogram.py, _indexing/iterate.py, _routines_indexing.pyx

@stands_for("cupy._core._routines_indexing._ndarray_argwhere")
def argwhere(self: Any) -> Any:
    """Waits, to learn how many there are."""
    if self.size:
        record(TO_HOST, 4)
    return on_device(np.argwhere(host(self)))


@stands_for("cupy._sorting.search._searchsorted_kernel")
def searchsorted(v: Any, bins: Any, count: int, right: bool, assume_increasing: bool, y: Any) -> None:
    """Binary search."""
    host(y)[...] = host(bins).searchsorted(host(v), "right" if right else "left")


@stands_for("cupy._statistics.histogram._bincount_kernel")
def bincount(x: Any, b: Any) -> None:
    """Count."""
    np.add.at(host(b), host(x), 1)


@stands_for("cupy._statistics.histogram._bincount_with_weight_kernel")
def bincount_with_weights(x: Any, weights: Any, b: Any) -> None:
    """Add up."""
    order = ORDER.permutation(x.size)                                  # atomicAdd runs in any order
    np.add.at(host(b), host(x)[order], host(weights)[order])


@stands_for("cupy._indexing.iterate._flatiter_setitem_slice")
def flat_set(value: Any, start: int, step: int, a: Any, *, size: int) -> None:
    """a.flat[start::step] = value."""
    host(a).flat[start:start + size * step:step] = host(value)


@stands_for("cupy._indexing.iterate._flatiter_getitem_slice")
def flat_get(a: Any, start: int, step: int, *, size: int) -> Any:
    """a.flat[start::step]."""
    return on_device(host(a).flat[start:start + size * step:step])


@stands_for("cupy._sorting.count._count_nonzero")
def count_nonzero(a: Any, axis: Any = None) -> Any:
    """A 0-d array, not a number."""
    return on_device(np.count_nonzero(host(a), axis))


@stands_for("cupy.linalg._norms._norm_ord2")
def norm_of_axis(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Square root of the sum of squares."""
    return on_device(np.sqrt((host(x) ** 2).sum(axis=axis, keepdims=keepdims)))


@stands_for("cupy.linalg.svd", "cupy.linalg._decomposition.svd")
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """cuSOLVER's; by default CuPy does not wait to learn whether it has converged."""
    cupy.linalg._util._assert_cupy_array(a)
    parts = np.linalg.svd(host(a), full_matrices, compute_uv)
    return tuple(map(on_device, parts)) if compute_uv else on_device(parts)


@stands_for("cupy.cuda.cub.cub_histogram")
def cub_histogram(x: Any, y: Any, bins: Any) -> None:
    """CUB declines, so CuPy uses its own kernel."""
