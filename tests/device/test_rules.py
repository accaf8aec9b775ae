"""The stand-in against the installed CuPy, and on a machine with a GPU against the device itself."""
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cupy
import numpy as np
import pytest

from tests.conftest import HAS_DEVICE
from tests.device import rules
from tests.device.arrays import DeviceArray
from tests.device.kernels import REPLACED
from tests.device.memory import pool
from tests.device.reductions import Reductions
from tests.device.stand_in import replacements, stand_in
from tests.device.ufuncs import Ufunc

READ = "14.2."                      # the version whose source the stand-in follows; a new one must be read first

# what CuPy does with views and numbers alone; everything else of its arrays must stand in arrays.py
WITHOUT_A_LAUNCH = {"T", "mT", "base", "data", "dtype", "flags", "flat", "imag", "itemsize", "nbytes", "ndim", "real", "shape",
                    "size", "strides", "cstruct", "reduced_view", "squeeze", "swapaxes", "transpose", "diagonal", "mdspan"}
# not in the stand-in: a test that uses one ends in CuPy's error that there is no device
ABSENT = {"byteswap", "choose", "dump", "dumps", "scatter_add", "scatter_max", "scatter_min", "toDlpack", "tofile"}

OURS = {**vars(Reductions), **vars(DeviceArray)}
CASES = [case for cases in rules.CASES.values() for case in cases]


def test_the_version_that_was_read():
    assert cupy.__version__.startswith(READ), f"the stand-in follows CuPy {READ}x: read what has changed in cupy/_core/*.pyx"
    assert f"\n    cupy-cuda13x=={READ}" in (Path(__file__).resolve().parents[2] / "setup.cfg").read_text()


@pytest.fixture(scope="module")
def theirs():
    """Outcomes of CuPy itself: on a device, or on memory of the host up to the first launch."""
    if HAS_DEVICE:
        return rules.outcomes(cupy)
    allocator = cupy.cuda.get_allocator()
    cupy.cuda.set_allocator(pool.allocate)
    try:
        return rules.outcomes(cupy)
    finally:
        cupy.cuda.set_allocator(allocator)


@pytest.fixture(scope="module")
def ours():
    """Outcomes of the stand-in: beside a device in a process that does not see it."""
    if not HAS_DEVICE:
        with stand_in() as module:
            return rules.outcomes(module)
    done = subprocess.run([sys.executable, "-m", "tests.device.rules"], cwd=Path(__file__).resolve().parents[2],
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_the_stand_in_does_what_cupy_does(theirs, ours, case):
    """The same error; the same shape, strides and dtype; and where there is a device the same values."""
    real, found = theirs[case], ours[case]
    assert found[0] != "device", "the stand-in has no kernel for this"
    if real[0] == "device":                                            # without a device this is all that can be known
        assert case in REFUSED or found[0] != "raises", found
    elif real[0] == "array":
        assert found[:4] == real[:4]
        if len(real) > 4 and case not in NOT_WRITTEN:
            np.testing.assert_allclose(np.array(found[4]), np.array(real[4]), rtol=1e-6, atol=1e-6)
    elif real[0] == "raises" and HAS_DEVICE:
        assert found[:2] == real[:2]                                   # a text may name another array
    else:
        assert json.loads(json.dumps(found)) == json.loads(json.dumps(real))


# whose values are whatever the memory holds
NOT_WRITTEN = {"cp.empty_like(x.T)"}

# refused by CuPy's source after the question for a device, which is the first that ufuncs and reductions ask
REFUSED = {
    "HOST + x", "x + HOST", "x += HOST", "x + np.array(2.0)", "x == HOST[:1]", "float(x)", "cp.asarray([s, 2])", "np.add(x, HOST)",
    "np.concatenate([x, x.get()])", "np.spacing(x)", "cp.exp(x, where=x > 0)", "cp.sum(x, where=x > 0)",
    "cp.concatenate([x, x], out=x, dtype='f4')", "cp.repeat(i, i)", "cp.add(x, x, out=x[:2])", "cp.add(n, 1.5, out=n)",
    "cp.add(x, 1, out=HOST)", "x.sum(axis=0, out=cp.empty(3, 'f4'))", "n - 2 ** 40", "-(x > 0)", "x[:0].max()", "x[:, i > 5]",
    "x[HOST > 1]", "cp.nonzero(s)", "put(x, m, x)", "put(x, 0, x)", "cp.concatenate([x, HOST])", "cp.concatenate([x, y])",
    "cp.concatenate([s, s])", "cp.concatenate([])", "cp.concatenate([x, x[:, :3]])", "x @ x", "x @ s", "cp.bincount(i)",
    "cp.bincount(n, weights=y)", "cp.asarray(['a'])"}


def test_every_method_that_launches_a_kernel_is_replaced():
    public = {name for name in dir(cupy.ndarray) if not name.startswith("_")}
    assert public - set(OURS) == WITHOUT_A_LAUNCH | ABSENT


def documented(method):
    """The parameters of a function or method of CuPy that is compiled: the first line of its docstring has them."""
    text = re.match(r"(?:_ndarray_base\.)?\w+\((.*?)\)(?: -> \w+)?(?:\n|$)", method.__doc__ or "")
    if text is None:
        return None
    parameters = re.sub(r"\b(_ndarray_base|int|bool|str|scan_op|Py_ssize_t|bint) (?=\w)", "", text[1])
    return [part.strip() for part in parameters.split(",")]


PARAMETERS = {name: documented(getattr(cupy._core.core._ndarray_base, name)) for name, value in sorted(OURS.items())
              if not name.startswith("_") and inspect.isfunction(value) and name != "view"}      # which CuPy writes in Python


@pytest.mark.parametrize("name", [name for name, expected in PARAMETERS.items() if expected is not None])
def test_methods_have_cupys_parameters(name):
    expected = PARAMETERS[name]
    signature = inspect.signature(getattr(DeviceArray, name))
    ours = [f"{'*' if p.kind is p.VAR_POSITIONAL else ''}{p.name}" + ("" if p.default is p.empty else f"={p.default!r}")
            for p in signature.parameters.values()]
    assert ours == expected


def real(place):
    module, _, name = place.rpartition(".")
    return getattr(sys.modules[module], name)


def names_of(place):
    """The names of the parameters of one of CuPy's functions; None for a kernel, which has no names for them."""
    if inspect.isfunction(real(place)):
        return list(inspect.signature(real(place)).parameters)
    if not inspect.isbuiltin(real(place)):
        return None
    documents = documented(real(place))
    return None if documents is None else [re.sub(r"^.* ", "", part.partition("=")[0]) for part in documents]


@pytest.mark.parametrize("place", [place for place in REPLACED if names_of(place) is not None])
def test_replaced_functions_have_cupys_parameters(place):
    assert list(inspect.signature(REPLACED[place]).parameters) == names_of(place)


def ufunc_pairs():
    return {value.name: value for _, _, value in replacements() if isinstance(value, Ufunc)}


NO_DEVICE = pytest.mark.skipif(HAS_DEVICE, reason="the stand-in would stand beside a real device")


@NO_DEVICE
@pytest.mark.parametrize("name", ["cupy_add", "cupy_true_divide", "cupy_exp", "cupy_power", "cupy_less", "cupy_where", "cupy_sqrt",
                                  "cupy_maximum", "cupy_isnan", "cupy_floor_divide"])
def test_loops_are_chosen_by_cupy(name):
    """Every loop of CuPy's table gives its dtypes; NumPy's choice plays no part.  E, bfloat16, is there with ml_dtypes only."""
    ufunc = ufunc_pairs()[name]
    with stand_in() as cp:
        for loop in ufunc.types:
            given, _, result = loop.partition("->")
            if not set("FDE") & set(loop):
                assert ufunc(*(cp.ones(2, kind) for kind in given)).dtype == np.dtype(result), loop


@NO_DEVICE
@pytest.mark.parametrize("name, method", [("sum_auto_dtype", "sum"), ("prod_auto_dtype", "prod")])
def test_reductions_have_cupys_dtypes(name, method):
    reduction = getattr(cupy._core._routines_math, name)
    with stand_in() as cp:
        for loop in reduction._ops.ops:
            given, result = np.dtype(loop.in_types[0]), np.dtype(loop.out_types[0])
            if given.kind in "biuf":
                assert getattr(cp.ones(3, given), method)().dtype == result, given


@NO_DEVICE
def test_nothing_is_left_behind():
    """Outside the block CuPy is what it was, also after an error."""
    before = [getattr(module, key) for module, key, _ in replacements()]
    with pytest.raises(ZeroDivisionError), stand_in():
        assert cupy.cuda.is_available()
        1 / 0                                                          # noqa: B018
    assert all(getattr(module, key) is value for (module, key, _), value in zip(replacements(), before, strict=True))
    assert not cupy.cuda.is_available()
