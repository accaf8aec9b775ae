"""What CuPy does where it differs from NumPy, as expressions: the wheel, the stand-in and a device must agree on each.

    python -m tests.device.rules        the outcomes on the stand-in, as JSON: for comparison on a machine with a GPU
"""
from __future__ import annotations

import json
from typing import Any

import cupy
import numpy as np

from tests.device.memory import pool

ARRAYS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4) - 5, "y": np.linspace(1, 2, 4), "i": np.array([2, 0, -1]),
          "m": np.array([True, False, True]), "n": np.arange(6, dtype=np.int32), "s": np.array(2.5, np.float32)}
HOST = np.arange(4.0)

CASES = {
    "no implicit conversion": [
        "np.asarray(x)", "np.array([x, x])", "np.array([x, 1.0])", "HOST + x", "x + HOST", "x * HOST[0]", "x += HOST",
        "HOST[i]", "np.float32(2) * x", "x + np.array(2.0)", "x == None", "x == HOST[:1]", "x > np.array(1)", "range(n[2])",
        "HOST[n[1]]", "[1, 2][n[1]]", "float(x)", "bool(x)", "len(s)", "hash(x)", "iter(s)", "x[0, 0] in [1]", "list(x)[1]",
        "cp.asarray([x, x])", "cp.asarray([s, 2])",
    ],
    "NumPy's functions": [
        "np.exp(x)", "np.add(x, HOST)", "np.concatenate([x, x])", "np.concatenate([x, x.get()])", "np.sum(x)",
        "np.hypot(x, 1, where=True)", "np.add.reduce(x)", "np.maximum.reduce(x)", "np.spacing(x)",
    ],
    "keywords": [
        "cp.exp(x, where=x > 0)", "cp.add(x, x, order='F')", "cp.add(x, x, subok=False)", "cp.sum(x, where=x > 0)",
        "cp.max(x, initial=0)", "x.astype('f8', casting='safe')", "cp.argsort(n, kind='quicksort')", "n.sort(kind='heapsort')",
        "cp.argsort(n, kind='stable')", "cp.asarray(n, like=n)", "cp.concatenate([x, x], out=x, dtype='f4')",
        "cp.matmul(x, x.T, where=True)", "cp.unique(n, sorted=False)", "cp.repeat(i, HOST)", "cp.repeat(i, [1, 0, 2])",
        "cp.repeat(i, i)", "cp.repeat(i, y)",
    ],
    "what is missing": [
        "cp.copyto(x, HOST)", "cp.maximum.reduce(x)", "cp.maximum.accumulate(x)", "cp.subtract.reduceat(x, i)",
        "cp.subtract.at(x, i, x)", "cp.add.at(x, i, 1)", "cp.multiply.at(x, i, 2)", "cp.maximum.at(x, i, 1)",
        "cp.subtract.at(n, i, 1)", "cp.add.at(m, i, m)", "cp.maximum.at(m, i, m)", "cp.spacing(x)", "cp.errstate",
        "cp.setbufsize(8)", "cp.nditer(x)", "cp.lib.stride_tricks.as_strided(x, (2, 2), (4, 4))", "x.ctypes",
        "x.newbyteorder()",
    ],
    "outputs": [
        "cp.add(x, x, out=x[:2])", "cp.add(x, y, out=x)", "cp.add(n, 1.5, out=n)", "cp.add(x, 1, out=HOST)",
        "cp.add(x, x, x, out=x)", "cp.dot(x, x.T, out=cp.empty((3, 3), 'f8'))", "cp.dot(x, x.T, out=cp.empty((3, 3), 'f4').T)",
        "cp.matmul(x, x.T, out=cp.empty((3, 3), 'f8'))", "cp.matmul(x, y, out=cp.empty(4))",
        "x.sum(axis=0, out=cp.empty(3, 'f4'))", "cp.exp(x, out=(x, x))", "cp.divmod(x, 2, out=x)",
        "x.take(i, 0, out=cp.empty((3, 4)))",
    ],
    "promotion": [
        "x + 1", "x + 1.5", "x * np.float64(2)", "x * np.float32(2)", "n + 1.5", "n + np.int64(1)", "n / 2", "n // 2",
        "(n > 2) + 1", "cp.exp(n)", "cp.sqrt(n)", "n ** 2", "n ** 0.5", "x ** 2", "x ** -1.0", "x ** y",
        "cp.where(x > 0, x, 0)", "cp.where(m, n[:3], 1.5)", "cp.maximum(n, 1.5)", "n - 2 ** 40", "x.astype('f2') + 1.5",
        "x + y", "-(x > 0)", "~n",
    ],
    "reductions": [
        "x.sum()", "n.sum()", "(n > 1).sum()", "n.mean()", "x.mean(axis=1, keepdims=True)", "x.max()", "x.argmax(axis=1)",
        "x.any()", "n.cumsum()", "(n > 1).cumsum()", "n.prod()", "x.var(axis=0)", "x[:0].max()", "x[:0].sum(axis=0)",
        "x.sum(axis=2)", "cp.count_nonzero(n)", "cp.ptp(x)", "cp.linalg.norm(x)", "cp.linalg.norm(x, axis=1)",
        "cp.array_equal(x, x)", "cp.allclose(x, x)",
    ],
    "views and copies": [
        "x.T", "x[1:, ::2]", "x[::-1]", "x[None, :, None]", "x[..., 0]", "x[0, 0]", "x[1]", "x.reshape(4, 3)", "x.reshape(-1)",
        "x.T.reshape(12)", "x.T.ravel()", "x.flatten()", "x.squeeze()", "x.swapaxes(0, 1)", "x.transpose(1, 0)",
        "cp.broadcast_to(y, (3, 4))", "cp.expand_dims(y, 0)", "cp.moveaxis(x, 0, 1)", "x.diagonal()", "x.view('i4')",
        "cp.split(x, [1])[1]", "cp.ascontiguousarray(x.T)", "cp.ascontiguousarray(s)", "x.copy()", "x.T.copy()",
        "x.astype('f4', copy=False)", "x.T.astype('f8')", "x.T * 2", "x.T + x.T", "cp.empty_like(x.T)", "cp.zeros_like(x.T)",
        "cp.exp(x.T)", "x.reshape(5, 5)", "x.reshape(3, -1, 2)", "x.T.reshape(12, copy=False)",
    ],
    "indexing": [
        "x[i]", "x[[0, 7]]", "x[:, i]", "x[i, 1]", "x[i, :, None]", "x[i, i]", "x[m]", "x[x > 0]", "x[:, i > 5]", "x[HOST > 1]",
        "x[m, 1:]", "x[y]", "x[1, i]", "x[i[:, None], n[:2]]", "x[0, :, None][:, 0]", "x[5]", "x[:, :, 0]", "n[i]", "x[()]",
        "x[s]", "cp.where(x > 0)", "cp.nonzero(s)", "cp.flatnonzero(m)", "x.take(i)", "x.take(i, axis=0)", "x.take(9, axis=0)",
        "cp.take_along_axis(x, cp.argsort(-x, axis=1), 1)", "cp.take_along_axis(x, y, 1)",
    ],
    "assignment": [
        "put(x, 0, 1)", "put(x, Ellipsis, y)", "put(x, Ellipsis, HOST)", "put(x, 0, HOST)", "put(x, i, 7)",
        "put(x, [0, 1], HOST)", "put(x, m, 0)", "put(x, x > 0, 0)", "put(x, m, x[:2])", "put(x, m, x)", "put(n, 1, 2.7)",
        "put(x, slice(None), [1, 2, 3, 4])", "put(x, (i[:2], 1), y[:2])", "put(x, (slice(None), i), 0)", "put(x, 5, 0)",
        "x.fill(HOST)", "x.fill(y)", "put(x, 0, x)",
    ],
    "joining and products": [
        "cp.concatenate([x, HOST])", "cp.concatenate([x, y])", "cp.concatenate([s, s])", "cp.concatenate([])",
        "cp.concatenate([x, x[:, :3]])", "cp.concatenate([x, n.reshape(3, 2)], axis=1)", "cp.concatenate([n, i])",
        "cp.stack([y, y])", "cp.append(n, 1)", "x @ x", "x @ x.T", "x @ y", "x @ HOST", "x @ s", "cp.dot(x, y[:3])",
        "cp.tensordot(x, x, axes=1)", "cp.tensordot(x, x.T, axes=1)", "cp.matmul(cp.stack([x, x]), x.T)",
        "cp.einsum('ij,kj->ik', x, x)", "n @ n", "cp.linalg.svd(x)[1]",
    ],
    "sorting and counting": [
        "cp.argsort(-x, axis=1)", "cp.sort(x)", "x.T.sort()", "s.sort()", "cp.searchsorted(n, i)", "cp.searchsorted(HOST, i)",
        "cp.searchsorted(n, HOST)", "cp.searchsorted(x, i)", "cp.bincount(n)", "cp.bincount(i)", "cp.bincount(x)",
        "cp.bincount(x.ravel())", "cp.bincount(n, weights=y)", "cp.bincount(n, weights=n, minlength=9)",
        "cp.argpartition(x, 9)", "cp.add.reduceat(x, n[:3:2], axis=0)", "cp.lexsort((n, n))",
    ],
    "making": [
        "cp.arange(5)", "cp.arange(2, 5.0)", "cp.full((2, 2), 3)", "cp.full(2, HOST)", "cp.eye(3)", "cp.ones(3, bool)",
        "cp.zeros((2, 0))", "cp.asarray(HOST)", "cp.asarray(HOST[::2])", "cp.asarray([[1, 2]])", "cp.asarray(['a'])",
        "cp.asarray(2)", "cp.asarray(x)", "cp.array(x)", "cp.asarray(np.asfortranarray(np.ones((2, 3))))", "cp.clip(x, 0, 1)",
        "x.clip(0)", "cp.isneginf(x)", "cp.fill_diagonal(x, 0)", "cp.copyto(x, 0)", "cp.copyto(x, y)", "cp.copyto(n, 1.5)",
        "cp.zeros_like(x, dtype=bool)",
    ],
    "random numbers": [
        "cp.random.Generator.choice", "cp.random.Generator.permutation", "cp.random.Generator.shuffle",
        "cp.random.Philox4x3210(1).state", "draw(cp.random.Philox4x3210(1)).shape", "cp.random.PCG64", "cp.random.SFC64",
        "cp.random.Generator.spawn",
    ],
}


def outcome(cp: Any, expression: str) -> list[Any]:
    """["raises", type, text], ["device"] where a launch was tried without one, else the kind, shape, strides, dtype and values."""
    names: dict[str, Any] = {name: _placed(cp, value) for name, value in ARRAYS.items()}

    def put(array: Any, key: Any, value: Any) -> Any:
        array[key] = value
        return array

    def draw(bits: Any) -> Any:
        return cp.random.Generator(bits).integers(0, 9, (2, 3), dtype=np.uint16)

    scope = {"cp": cp, "np": np, "HOST": HOST, "put": put, "draw": draw, **names}
    try:
        if " += " in expression or " *= " in expression:
            exec(expression, scope)
            result = scope["x"]
        else:
            result = eval(expression, scope)
    except (cupy.cuda.runtime.CUDARuntimeError, ImportError):
        return ["device"]
    except Exception as error:
        return ["raises", type(error).__name__, str(error)]
    if isinstance(result, tuple):
        return ["tuple", *(_described(part) for part in result)]
    return _described(result)


def _placed(cp: Any, value: np.ndarray) -> Any:
    if not cp.cuda.is_available():                                     # the wheel without a device: memory of the host
        array = cupy.ndarray(value.shape, value.dtype, pool.allocate(max(value.nbytes, 1)))
        return array
    return cp.asarray(value)


def _described(result: Any) -> list[Any]:
    if not isinstance(result, cupy.ndarray):
        return ["other", type(result).__name__, repr(result) if isinstance(result, (bool, int, float, tuple)) else ""]
    about = ["array", list(result.shape), list(result.strides), str(result.dtype)]
    try:
        return [*about, np.nan_to_num(result.get().astype(float)).tolist()]
    except cupy.cuda.runtime.CUDARuntimeError:                         # a view without a device
        return about


def outcomes(cp: Any) -> dict[str, list[Any]]:
    """The outcome of every case."""
    return {case: outcome(cp, case) for cases in CASES.values() for case in cases}


if __name__ == "__main__":
    from tests.device.stand_in import stand_in
    with stand_in() as module:
        print(json.dumps(outcomes(module)))
