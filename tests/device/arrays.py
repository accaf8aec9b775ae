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

from tests.device import indexing
from tests.device.crossings import NUMPY, TO_DEVICE, TO_HOST, record
from tests.device.memory import host
from tests.device.reductions import Reductions, on_device

Real = cupy.ndarray
NAMES = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
         "mod": "remainder", "pow": "power", "lshift": "left_shift", "rshift": "right_shift", "and": "bitwise_and",
         "or": "bitwise_or", "xor": "bitwise_xor", "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal",
         "gt": "greater", "ge": "greater_equal"}
OPERATORS = {*NAMES.values(), "divide", "matmul"}
COMPARISONS = ("lt", "le", "eq", "ne", "gt", "ge")


class DeviceArray(Reductions, Real):
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
        return indexing.get(self, slices)

    def __setitem__(self, slices: Any, value: Any) -> None:
        indexing.scatter(self, slices, value, "update")

    def _scatter_op(self, slices: Any, value: Any, op: str) -> None:
        indexing.scatter(self, slices, value, op)


DeviceArray.__name__ = DeviceArray.__qualname__ = "ndarray"            # as messages name it


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
