"""Indexing and assignment of device arrays: _routines_indexing.pyx of CuPy 14.2.

Whole numbers and slices are CuPy's own views.  Arrays of indices wrap around where NumPy raises; a mask makes the host wait for the
number of its elements; a repeated index is an error here, as a device may keep any of the values.
"""
from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from cupy._core._routines_indexing import _prepare_slice_list

from tests.device.crossings import TO_HOST, record
from tests.device.memory import host

Real = cupy.ndarray
ORDER = np.random.default_rng()     # not seeded, so that nothing can rely on it
# the dtypes of a device's atomic functions: _scatter_op_single of _routines_indexing.pyx
ATOMIC = {"add": "int32, int64, float16, float32, float64, uint32, uint64", "sub": "int32, uint32,",
          "max": "int32, int64, float32, float64, uint32, uint64", "min": "int32, int64, float32, float64, uint32, uint64",
          "and": "int32, int64, uint32, uint64", "or": "int32, int64, uint32, uint64", "xor": "int32, int64, uint32, uint64"}
ATOMIC_UFUNCS = {"add": np.add, "sub": np.subtract, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and,
                 "or": np.bitwise_or, "xor": np.bitwise_xor}


class RepeatedIndices(AssertionError):
    """An assignment whose result a device leaves open."""


def get(array: Any, slices: Any) -> Any:
    """A view for whole numbers and slices; a copy for arrays of indices, which wrap around, and masks, which wait."""
    parts = _slice_list(slices)
    if not any(isinstance(part, Real) for part in parts):
        return Real.__getitem__(array, slices)
    view, axis, indices = _indices(array, parts)
    values = host(view)[(slice(None),) * axis + indices]
    result = cupy.ndarray(values.shape, values.dtype)
    host(result)[...] = values
    return result


def scatter(array: Any, slices: Any, value: Any, op: str) -> None:
    """Assign, or update with another operation."""
    parts = _slice_list(slices)
    if not any(isinstance(part, Real) for part in parts):
        view = Real.__getitem__(array, slices)
        if op != "update":
            getattr(cupy, {"sub": "subtract", "max": "maximum", "min": "minimum"}.get(op, op))(view, value, view)
        elif isinstance(value, Real):
            host(view)[...] = host(value).copy()
        else:
            view.fill(value)                                       # a host array of more than one number is refused
        return
    view, axis, indices = _indices(array, parts)
    values = (value if isinstance(value, Real) else cupy.array(value, array.dtype)).astype(array.dtype, copy=False)
    key, target = (slice(None),) * axis + indices, host(view)
    arrays = [part for part in parts if isinstance(part, Real)]
    one_mask = len(arrays) == 1 and arrays[0].dtype == bool        # needs no atomic function
    if op != "update" and not one_mask and array.dtype.name not in ATOMIC[op].replace(",", "").split():
        raise TypeError(f"cupy.{ATOMIC_UFUNCS[op].__name__}.at only supports {ATOMIC[op]} as data type")
    if op == "update":
        shape = target[key].shape
        spread = np.broadcast_to(host(values).copy(), shape)
        target[key] = spread
        if not np.array_equal(target[key], spread, equal_nan=array.dtype.kind == "f"):
            raise RepeatedIndices("two values were assigned to one element: on a device, which of them stays is undefined")
    else:
        _add_in_any_order(ATOMIC_UFUNCS[op], target, key, host(values))


def _add_in_any_order(ufunc: np.ufunc, target: np.ndarray, key: tuple[Any, ...], values: np.ndarray) -> None:
    """Atomic functions run in any order, another one each time: the last digits of a sum of floats differ."""
    places = np.arange(target.size).reshape(target.shape)[key]
    order = ORDER.permutation(places.size)
    flat = target.reshape(-1).copy()
    ufunc.at(flat, places.reshape(-1)[order], np.broadcast_to(values, places.shape).reshape(-1)[order])
    target[...] = flat.reshape(target.shape)


def _indices(array: Any, parts: list[Any]) -> tuple[Any, int, tuple[np.ndarray, ...]]:
    """A transposed view and where in it the arrays of indices stand side by side; a mask becomes indices."""
    if Ellipsis not in [part for part in parts if not isinstance(part, Real)]:
        parts = [*parts, Ellipsis]
    taken = sum(part.ndim if isinstance(part, Real) and part.dtype == bool else part is not None and part is not Ellipsis
                for part in parts)
    if taken > array.ndim:
        raise IndexError(f"too many indices for array: array is {array.ndim}-dimensional, but {taken} were indexed")
    basic: list[Any] = []
    arrays: list[tuple[int, np.ndarray]] = []                      # (axis of the view, indices)
    axis = place = 0                                               # of this array, of the view
    for part in parts:
        if isinstance(part, Real):
            found = _numbers(array, part, axis)
            arrays += [(place + i, indices) for i, indices in enumerate(found)]
            basic += [slice(None)] * len(found)
            axis, place = axis + len(found), place + len(found)
        elif part is Ellipsis:
            rest = array.ndim - taken
            basic += [slice(None)] * rest
            axis, place = axis + rest, place + rest
        else:
            basic.append(part)
            axis += part is not None
            place += isinstance(part, slice) or part is None
    view, axes = Real.__getitem__(array, tuple(basic)), [number for number, _ in arrays]
    if axes and _apart(parts):
        view = view.transpose([*axes, *(i for i in range(view.ndim) if i not in axes)])
        axes = [0]
    return view, axes[0] if axes else 0, tuple(indices for _, indices in arrays)


def _numbers(array: Any, part: Any, axis: int) -> tuple[np.ndarray, ...]:
    """The numbers along the axes from `axis` that an array of indices or a mask stands for."""
    if part.dtype.kind not in "biu":
        raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})")
    if part.dtype != bool:
        return (host(part) % max(array.shape[axis], 1),)            # out of bounds they wrap around
    for i, size in enumerate(part.shape):
        if size not in (0, array.shape[axis + i]):
            raise IndexError(f"boolean index did not match indexed array along dimension {axis + i}; dimension is "
                             f"{array.shape[axis + i]} but corresponding boolean dimension is {size}")
    if part.size:
        record(TO_HOST, 4)                                         # how many are True: the size of the result
    return np.atleast_1d(host(part)).nonzero()


def _slice_list(slices: Any) -> list[Any]:
    """The parts of an index; lists and host arrays are copied to the device."""
    parts = list(slices) if isinstance(slices, tuple) else [slices]
    for i, part in enumerate(parts):
        if isinstance(part, (list, tuple)):
            array = cupy.array(part)
            parts[i] = array if array.size else array.astype(np.int32)
        elif isinstance(part, (np.ndarray, bool, np.bool_)):
            parts[i] = cupy.array(part)
    return _prepare_slice_list(tuple(parts))


def _apart(parts: list[Any]) -> bool:
    """Whether numbers and arrays of indices are not all side by side: then the axes of the indices come first."""
    like = [not (part is None or part is Ellipsis or isinstance(part, slice)) for part in parts]
    first, last = like.index(True), len(like) - like[::-1].index(True)
    return not all(like[first:last])
