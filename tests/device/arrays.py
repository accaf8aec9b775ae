"""An array of CuPy's own class whose memory is the host's, and whose kernels are NumPy.

Shape, strides, dtype, flags, views (slices, reshape, transpose, broadcast_to) and everything that CuPy writes in Python are
CuPy's own code; a method stands here only where CuPy would copy memory or launch a kernel.  What is missing ends in CuPy's
CUDARuntimeError.  The files named below are CuPy 14.2's, in cupy/_core/.
"""
from __future__ import annotations

from typing import Any

import cupy
import numpy as np
from cupy._core import _dtype
from cupy._core import core as _core
from cupy._core._routines_indexing import _prepare_slice_list
from cupy.exceptions import AxisError

from tests.device.crossings import NUMPY, TO_DEVICE, TO_HOST, record
from tests.device.memory import host

Real = cupy.ndarray
NAMES = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
         "mod": "remainder", "pow": "power", "lshift": "left_shift", "rshift": "right_shift", "and": "bitwise_and",
         "or": "bitwise_or", "xor": "bitwise_xor", "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal",
         "gt": "greater", "ge": "greater_equal"}
OPERATORS = {*NAMES.values(), "divide", "matmul"}
COMPARISONS = ("lt", "le", "eq", "ne", "gt", "ge")
# the dtypes of a device's atomic functions: _scatter_op_single of _routines_indexing.pyx
ATOMIC = {"add": "int32, int64, float16, float32, float64, uint32, uint64", "sub": "int32, uint32,",
          "max": "int32, int64, float32, float64, uint32, uint64", "min": "int32, int64, float32, float64, uint32, uint64",
          "and": "int32, int64, uint32, uint64", "or": "int32, int64, uint32, uint64", "xor": "int32, int64, uint32, uint64"}
ATOMIC_UFUNCS = {"add": np.add, "sub": np.subtract, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and,
                 "or": np.bitwise_or, "xor": np.bitwise_xor}


def on_device(values: Any, dtype: Any = None) -> DeviceArray:
    """A C-contiguous device array with these values, as a kernel leaves its result."""
    values = np.asarray(values)
    array = DeviceArray(values.shape, dtype or values.dtype)
    host(array)[...] = values
    return array


ORDER = np.random.default_rng()     # not seeded, so that nothing can rely on it


class DeviceArray(Real):
    """cupy.ndarray on memory of the host."""

    __module__, __slots__ = "cupy", ()
    __hash__ = None                                                    # type: ignore[assignment]

    def view(self, dtype: Any = None, type: Any = None) -> Any:
        return _core._ndarray_base.view(self, dtype=dtype, array_class=type)

    # ---- from device to host (core.pyx: get, item, tolist, __int__ ...): every one waits

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """A copy on the host."""
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError("Only numpy.ndarray can be obtained fromcupy.ndarray")
            if self.dtype != out.dtype:
                raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
            if self.shape != out.shape:
                raise ValueError(f"Shape mismatch. Expected shape: {out.shape}, actual shape: {self.shape}")
        if self.size and blocking:
            record(TO_HOST, self.nbytes)
        if out is not None:
            out[...] = host(self)
            return out
        return np.array(host(self), order="F" if order.upper() == "F" or order.upper() == "A" and self.flags.f_contiguous else "C")

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __bool__(self) -> bool:
        return bool(self.get()) if self.size == 1 else Real.__bool__(self)

    def __str__(self) -> str:
        return str(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> tuple:
        return cupy.array, (self.get(order="A"),)

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy a host array of the same dtype and shape."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        record(TO_DEVICE, arr.nbytes)
        host(self)[...] = arr

    @property
    def device(self) -> Any:
        return cupy.cuda.Device(0)

    # ---- what NumPy hands over (core.pyx: __array_ufunc__, __array_function__)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or ufunc.__name__ not in OPERATORS or isinstance(inputs[0], Real):
            record(NUMPY, 0)                                           # else it may be an operator after a NumPy scalar
        return Real.__array_ufunc__(self, ufunc, method, *inputs, **kwargs)

    def _with_host(self, ufunc: Any, *inputs: Any) -> Any:
        """What an operator does with anything but a device array: NumPy's ufunc asks CuPy, which takes scalars only."""
        return Real.__array_ufunc__(self, ufunc, "__call__", *inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        record(NUMPY, 0)
        return Real.__array_function__(self, function, types, args, kwargs)

    # ---- copies (core.pyx: fill, _astype, copy)

    def fill(self, value: Any) -> None:
        if isinstance(value, Real):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
            value = host(value)
        value = np.asarray(value, self.dtype)
        if value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        host(self)[...] = value

    def astype(self, dtype: Any, order: str | None = "K", casting: Any = None, subok: Any = None, copy: bool | None = True
               ) -> DeviceArray:
        for name, value in (("casting", casting), ("subok", subok)):
            if value is not None:
                raise TypeError(f"{name} is not supported yet")
        dtype, order = _dtype.get_dtype(dtype), (order or "K").upper()
        flags = self.flags
        fits = {"K": True, "A": flags.c_contiguous or flags.f_contiguous, "C": flags.c_contiguous, "F": flags.f_contiguous}[order]
        if dtype == self.dtype and not copy and fits:
            return self
        if copy is False and order != "K" and dtype == self.dtype:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        result = cupy.empty_like(self, dtype=dtype, order=order)
        with np.errstate(all="ignore"):
            np.copyto(host(result), host(self), casting="unsafe")
        return result

    def copy(self, order: str = "C") -> DeviceArray:
        return self.astype(self.dtype, order)

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        return self.copy()

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> DeviceArray:
        try:
            result = Real.reshape(self, *shape, order=order, copy=False)
        except ValueError as error:
            if "Unable to avoid creating a copy" not in str(error) or copy is False:
                raise
            return Real.reshape(self.copy("F" if order == "F" else "C"), *shape, order=order)
        return result.copy() if copy else result

    def ravel(self, order: str = "C") -> DeviceArray:
        return self.reshape(-1, order=order)

    def flatten(self, order: str = "C") -> DeviceArray:
        return self.reshape(-1, order=order, copy=True)

    # ---- arithmetic (core.pyx: __add__ ...): between device arrays a kernel, with anything else NumPy's ufunc, which comes back

    def __neg__(self) -> Any:
        return cupy.negative(self)

    def __pos__(self) -> Any:
        return self.copy() if self.dtype == bool else cupy.positive(self)

    def __abs__(self) -> Any:
        return cupy.absolute(self)

    def __invert__(self) -> Any:
        return cupy.invert(self)

    def __matmul__(self, other: Any) -> Any:
        return cupy._core.matmul(self, other) if isinstance(other, Real) else self._with_host(np.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._with_host(np.matmul, other, self)

    def __imatmul__(self, other: Any) -> Any:
        return self @ other

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        fast = {2: cupy.square, 0.5: cupy.sqrt, -1.0: cupy.reciprocal} if type(other) is float else {2: cupy.square}
        if type(other) in (int, float) and other in fast and self.dtype.kind == "f":
            return fast[other](self)
        return cupy.power(self, other) if isinstance(other, Real) else self._with_host(np.power, self, other)

    def conj(self) -> Any:
        return self if self.dtype.kind != "c" else cupy.conjugate(self)

    conjugate = conj

    # ---- reductions (_routines_math.pyx, _routines_statistics.pyx, _routines_logic.pyx): 0-d results are arrays

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

    # ---- sorting (_routines_sorting.pyx): always stable; in place only where contiguous

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

    # ---- indexing (_routines_indexing.pyx)

    def nonzero(self) -> tuple[Any, ...]:
        indices = cupy._core._routines_indexing._ndarray_argwhere(self)
        if self.ndim == 0:
            raise ValueError("Calling nonzero on 0d arrays is not allowed. Use cp.atleast_1d(scalar).nonzero() instead.")
        return tuple(indices[:, i] for i in range(self.ndim))

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> Any:
        """Indices out of bounds wrap around."""
        if not isinstance(indices, Real) and not np.isscalar(indices):
            indices = cupy.array(indices, int)
        values = host(self).take(host(indices) if isinstance(indices, Real) else indices, axis, mode="wrap")
        if out is not None and out.dtype != self.dtype:
            raise TypeError("Output dtype mismatch")
        return self._reduced(values, out)

    def put(self, indices: Any, values: Any, mode: str = "wrap") -> None:
        indices, values = (array if isinstance(array, Real) else cupy.array(array) for array in (indices, values))
        host(self).put(host(indices), host(values), mode)

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        """`repeats` is a number, a list or a device array, never a NumPy array."""
        if isinstance(repeats, np.ndarray):
            raise TypeError("'repeats' does not accept numpy.ndarray; convert with cupy.array() first")
        if isinstance(repeats, (list, tuple)):
            repeats = cupy.array(repeats, np.intp)
        if isinstance(repeats, Real):
            if not np.can_cast(repeats.dtype, np.intp, "safe"):
                raise TypeError(f"Cannot cast array data from dtype('{repeats.dtype}') to dtype('{np.dtype(np.intp)}') "
                                "according to the rule 'safe'")
            record(TO_HOST, repeats.nbytes)                            # the length of the result, or the one number
            repeats = host(repeats)
        return on_device(host(self).repeat(repeats, axis))

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        condition = condition if isinstance(condition, Real) else cupy.array(condition, int)
        return self.take(condition.nonzero()[0], axis, out)

    def __getitem__(self, slices: Any) -> Any:
        """A view for whole numbers and slices; a copy for arrays of indices, which wrap around, and masks, which wait."""
        parts = _slice_list(slices)
        if not any(isinstance(part, Real) for part in parts):
            return Real.__getitem__(self, slices)
        view, axis, indices = self._indices(parts)
        return on_device(host(view)[(slice(None),) * axis + indices])

    def __setitem__(self, slices: Any, value: Any) -> None:
        self._scatter_op(slices, value, "update")

    def _scatter_op(self, slices: Any, value: Any, op: str) -> None:
        parts = _slice_list(slices)
        if not any(isinstance(part, Real) for part in parts):
            view = Real.__getitem__(self, slices)
            if op != "update":
                getattr(cupy, {"sub": "subtract", "max": "maximum", "min": "minimum"}.get(op, op))(view, value, view)
            elif isinstance(value, Real):
                host(view)[...] = host(value).copy()
            else:
                view.fill(value)                                       # a host array of more than one number is refused
            return
        view, axis, indices = self._indices(parts)
        values = (value if isinstance(value, Real) else cupy.array(value, self.dtype)).astype(self.dtype, copy=False)
        key, target = (slice(None),) * axis + indices, host(view)
        arrays = [part for part in parts if isinstance(part, Real)]
        one_mask = len(arrays) == 1 and arrays[0].dtype == bool        # needs no atomic function
        if op != "update" and not one_mask and self.dtype.name not in ATOMIC[op].replace(",", "").split():
            raise TypeError(f"cupy.{ATOMIC_UFUNCS[op].__name__}.at only supports {ATOMIC[op]} as data type")
        if op == "update":
            shape = target[key].shape
            spread = np.broadcast_to(host(values).copy(), shape)
            target[key] = spread
            if not np.array_equal(target[key], spread, equal_nan=self.dtype.kind == "f"):
                raise RepeatedIndices("two values were assigned to one element: on a device, which of them stays is undefined")
        else:
            self._add_in_any_order(ATOMIC_UFUNCS[op], target, key, host(values))

    @staticmethod
    def _add_in_any_order(ufunc: np.ufunc, target: np.ndarray, key: tuple[Any, ...], values: np.ndarray) -> None:
        """Atomic functions run in any order, another one each time: the last digits of a sum of floats differ."""
        places = np.arange(target.size).reshape(target.shape)[key]
        order = ORDER.permutation(places.size)
        flat = target.reshape(-1).copy()
        ufunc.at(flat, places.reshape(-1)[order], np.broadcast_to(values, places.shape).reshape(-1)[order])
        target[...] = flat.reshape(target.shape)

    def _indices(self, parts: list[Any]) -> tuple[Any, int, tuple[np.ndarray, ...]]:
        """A transposed view and where in it the arrays of indices stand side by side; a mask becomes indices."""
        if Ellipsis not in [part for part in parts if not isinstance(part, Real)]:
            parts = [*parts, Ellipsis]
        taken = sum(part.ndim if isinstance(part, Real) and part.dtype == bool else part is not None and part is not Ellipsis
                    for part in parts)
        if taken > self.ndim:
            raise IndexError(f"too many indices for array: array is {self.ndim}-dimensional, but {taken} were indexed")
        basic: list[Any] = []
        arrays: list[tuple[int, np.ndarray]] = []                      # (axis of the view, indices)
        axis = place = 0                                               # of this array, of the view
        for part in parts:
            if isinstance(part, Real):
                found = self._numbers(part, axis)
                arrays += [(place + i, indices) for i, indices in enumerate(found)]
                basic += [slice(None)] * len(found)
                axis, place = axis + len(found), place + len(found)
            elif part is Ellipsis:
                rest = self.ndim - taken
                basic += [slice(None)] * rest
                axis, place = axis + rest, place + rest
            else:
                basic.append(part)
                axis += part is not None
                place += isinstance(part, slice) or part is None
        view, axes = Real.__getitem__(self, tuple(basic)), [number for number, _ in arrays]
        if axes and _apart(parts):
            view = view.transpose([*axes, *(i for i in range(view.ndim) if i not in axes)])
            axes = [0]
        return view, axes[0] if axes else 0, tuple(indices for _, indices in arrays)

    def _numbers(self, part: Any, axis: int) -> tuple[np.ndarray, ...]:
        """The numbers along the axes from `axis` that an array of indices or a mask stands for."""
        if part.dtype.kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})")
        if part.dtype != bool:
            return (host(part) % max(self.shape[axis], 1),)            # out of bounds they wrap around
        for i, size in enumerate(part.shape):
            if size not in (0, self.shape[axis + i]):
                raise IndexError(f"boolean index did not match indexed array along dimension {axis + i}; dimension is "
                                 f"{self.shape[axis + i]} but corresponding boolean dimension is {size}")
        if part.size:
            record(TO_HOST, 4)                                         # how many are True: the size of the result
        return np.atleast_1d(host(part)).nonzero()


DeviceArray.__name__ = DeviceArray.__qualname__ = "ndarray"            # as messages name it


class RepeatedIndices(AssertionError):
    """An assignment whose result a device leaves open."""


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


def _binary(name: str) -> None:
    """Define __name__, its reflection and its in-place form."""
    function = NAMES[name]

    def forward(self: DeviceArray, other: Any) -> Any:
        if isinstance(other, Real):
            return getattr(cupy, function)(self, other)
        if name in ("eq", "ne") and (other is None or type(other).__eq__ is object.__eq__):
            return cupy.full(self.shape, name == "ne", bool)
        if name in COMPARISONS and isinstance(other, np.ndarray) and other.ndim == 0:
            other = other.item()
        return self._with_host(getattr(np, function), self, other)

    def reflected(self: DeviceArray, other: Any) -> Any:
        return self._with_host(getattr(np, function), other, self)

    def in_place(self: DeviceArray, other: Any) -> Any:
        return getattr(cupy, function)(self, other, self)

    if f"__{name}__" not in DeviceArray.__dict__ or name == "eq":
        setattr(DeviceArray, f"__{name}__", forward)
    if name not in COMPARISONS:
        setattr(DeviceArray, f"__r{name}__", reflected)
        setattr(DeviceArray, f"__i{name}__", in_place)


for _name in NAMES:
    _binary(_name)
