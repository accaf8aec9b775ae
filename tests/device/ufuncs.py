"""CuPy's ufuncs with NumPy in place of the kernel.

Everything before the launch follows ufunc.__call__ of cupy/_core/_kernel.pyx, and what can be called without a device is
CuPy's own: the conversion of scalars (CScalar, which refuses NumPy arrays), the choice of the loop from the dtypes
(_Ops.guess_routine) and the casting rule.  So the dtypes of results are CuPy's.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import scipy.special
from cupy._core import _dtype, _kernel, _scalar

from tests.device.memory import host

Scatter = Callable[..., None]

# CuPy's name without "cupy_" -> the function, where it has another name than in NumPy or scipy.special
OTHER_NAMES: dict[str, Callable[..., Any]] = {
    "copy": lambda x: x, "where": np.where, "arange": lambda start, step, like: start + np.arange(like.size) * step,
    "clip": np.clip, "conj": np.conjugate, "round": np.around, "is_close": np.isclose,
}


def of_arguments(args: tuple[Any, ...]) -> list[Any]:
    """Device arrays as they are, Python and NumPy scalars as CScalar.  Raises TypeError for anything else, a NumPy array too."""
    return [arg if isinstance(arg, cupy.ndarray) else _scalar.CScalar(arg) for arg in args]


class Ufunc:
    """One of CuPy's ufuncs."""

    def __init__(self, real: _kernel.ufunc) -> None:
        self.real, self.name, self.nin, self.nout, self.types = real, real.name, real.nin, real.nout, real.types
        self.__name__ = real.name
        self.__doc__ = real.__doc__
        short = real.name.removeprefix("cupy_").removeprefix("cupyx_scipy_special_").removeprefix("cupyx_")
        named = (getattr(module, short, None) for module in (np, scipy.special))
        self.function = OTHER_NAMES.get(short) or next((found for found in named if isinstance(found, np.ufunc)), None)

    def __repr__(self) -> str:
        return repr(self.real)

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: str | None = None, _where: Any = None,
                 **unknown: Any) -> Any:
        if unknown:                                                    # CuPy has no where=, order=, subok= or signature=
            raise TypeError(f"Wrong arguments {unknown}")
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                            f"{self.nin + self.nout} (with outputs), but given {len(args)}.")
        given = self._given_outputs(args[self.nin:], out)
        inputs = of_arguments(args[:self.nin])
        for array in given:
            if array is not None:
                of_arguments((array,))
        where = self._where(_where)
        loop = self.real._ops.guess_routine(self.name, {}, inputs, None if dtype is None else _dtype.get_dtype(dtype),
                                            self.real._out_ops)
        kinds, results = loop.resolve_dtypes(inputs, given)
        shape = np.broadcast_shapes(*(array.shape for array in (*inputs, *given) if isinstance(array, cupy.ndarray)),
                                    *([where.shape] if where is not None else []))
        outputs = []
        for array, result in zip(given, results, strict=True):
            if array is None:
                outputs.append(cupy.ndarray(shape, result))            # always C-contiguous, whatever the inputs' order
                continue
            if not isinstance(array, cupy.ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
            if array.shape != shape:                                   # an output is never broadcast, nor are inputs beyond it
                raise ValueError("Out shape is mismatched")
            _dtype._raise_if_invalid_cast(result, array.dtype, casting or self.real._default_casting, "output operand")
            outputs.append(array)
        if outputs[0].size:
            self._compute(inputs, kinds, outputs, where)
        return outputs[0] if self.nout == 1 else tuple(outputs)

    def _given_outputs(self, positional: tuple[Any, ...], out: Any) -> list[Any]:
        if out is None:
            given = positional
        elif positional:
            raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
        elif isinstance(out, tuple):
            if len(out) != self.nout:
                raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
            given = out
        else:
            if self.nout != 1:
                raise ValueError("'out' must be a tuple of arrays")
            given = (out,)
        return [*given, *[None] * (self.nout - len(given))]

    @staticmethod
    def _where(where: Any) -> np.ndarray | None:
        if where is None:
            return None
        if not isinstance(where, cupy.ndarray) or where.dtype != bool:
            raise TypeError(f"_where: expected a bool array on the device, got {where!r}")
        return host(where)

    def _compute(self, inputs: list[Any], kinds: tuple[np.dtype, ...], outputs: list[cupy.ndarray],
                 where: np.ndarray | None) -> None:
        if self.function is None:
            raise NotImplementedError(f"tests/device/ufuncs.py: the stand-in does not know what {self.name} computes")
        values = []
        for array, kind in zip(inputs, kinds, strict=True):
            if isinstance(array, _scalar.CScalar):
                values.append(np.asarray(array.value, kind)[()])
            else:
                values.append(host(array).astype(kind, copy=any(cupy.may_share_memory(array, out) for out in outputs)))
        if self.name == "cupy_arange":
            values.append(outputs[0])
        with np.errstate(all="ignore"):                                # a kernel does not warn
            results = self.function(*values)
        for array, result in zip(outputs, results if self.nout > 1 else (results,), strict=True):
            np.copyto(host(array), result, casting="unsafe", where=True if where is None else where)

    # what a ufunc has besides being called: cupy/_core/_kernel.pyx, the end of class ufunc

    def at(self, a: cupy.ndarray, indices: Any, b: Any = None) -> None:
        """Update in place, adding up what repeated indices bring."""
        if self.real._scatter_op is None:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        a._scatter_op(indices, b, self.real._scatter_op)

    def outer(self, a: Any, b: Any, **kwargs: Any) -> Any:
        """All pairs."""
        a, b = cupy.asarray(a), cupy.asarray(b)
        return self(a.reshape(a.shape + (1,) * b.ndim), b.reshape((1,) * a.ndim + b.shape), **kwargs)

    def reduce(self, array: cupy.ndarray, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """The sum or the product; CuPy has no other."""
        method = {"cupy_add": "sum", "cupy_multiply": "prod"}.get(self.name)
        if method is None:
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return getattr(array, method)(axis, dtype, out, keepdims)

    def accumulate(self, array: cupy.ndarray, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """The running sum or product; CuPy has no other."""
        method = {"cupy_add": "cumsum", "cupy_multiply": "cumprod"}.get(self.name)
        if method is None:
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        return getattr(array, method)(axis, dtype, out)

    def reduceat(self, array: cupy.ndarray, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """Sums of stretches, from differences of the running sum: CuPy computes them so, with that loss of precision."""
        if self.name != "cupy_add":
            raise NotImplementedError(f"`{self.name}.reduceat` is not supported yet")
        return array._add_reduceat(indices, axis, dtype, out)
