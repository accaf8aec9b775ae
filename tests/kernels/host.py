"""Run the kernels of kernels/*.cu on a CPU: g++ and the headers in shim/ replace nvcc and the device.

`load` replaces minixl.kernels.load in the launchers, so the tests also check grid, block, and the order and types of the
arguments.  An array must have the dtype that the kernel declares, a scalar exactly its type.
A cache folder keeps the libraries under a hash of everything that they are built from.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.kernels import KERNELS

SHIM = Path(__file__).parent / "shim"
CACHE = Path(os.environ.get("MINIXL_SHIM_CACHE") or Path(tempfile.gettempdir()) / f"minixl-shim-{os.getuid()}")
GUARD = 4096                                    # bytes around every array, outside any array
CHECKED = ("-fsanitize=thread,undefined,float-divide-by-zero", "-fno-sanitize=vptr,float-divide-by-zero",
           "--param", "tsan-instrument-func-entry-exit=0")
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-g1", "-w", "-fno-strict-aliasing", "-ffp-contract=off")
DTYPES = {"float": "float32", "double": "float64", "int": "int32", "long long": "int64", "unsigned": "uint32",
          "bool": "bool"}
SIGNATURE = re.compile(r'extern "C" __global__\s+void(?:\s+__launch_bounds__\(\d+\))?\s+(\w+)\s*\(([^)]*)\)')
executed: set[tuple[str, str]] = set()          # (file, kernel) of every launch without a planted mistake


class KernelFault(AssertionError):
    """A mistake that the shim found: a race, a divergent barrier, an address out of bounds, an argument of the wrong type."""


class Parameter(NamedTuple):
    """One argument of a kernel, as its source declares it."""

    name: str
    dtype: np.dtype
    pointer: bool
    const: bool


def signatures(source: str) -> dict[str, list[Parameter]]:
    """Every kernel of a source, with its parameters."""
    kernels = {}
    for name, declared in SIGNATURE.findall(source):
        declared = re.sub(r"//[^\n]*", "", declared)
        kernels[name] = [_parameter(" ".join(text.split())) for text in declared.split(",")]
    return kernels


def _parameter(text: str) -> Parameter:
    matched = re.fullmatch(r"(const )?([a-z ]+?)(\*?)(?: ?__restrict__)? (\w+)", text)
    if not matched or matched[2].strip() not in DTYPES:
        raise ValueError(f"kernel parameter: expected 'type name' or 'type* name' with one of {list(DTYPES)}, got {text!r}")
    return Parameter(matched[4], np.dtype(DTYPES[matched[2].strip()]), bool(matched[3]), bool(matched[1]))


def all_kernels() -> set[tuple[str, str]]:
    """(file, kernel) of every kernel that exists."""
    return {(path.name, name) for path in sorted(KERNELS.glob("*.cu")) for name in signatures(path.read_text())}


def load(filename: str, function: str) -> HostKernel:
    """Replacement for minixl.kernels.load."""
    return HostKernel(filename, function, (KERNELS / filename).read_text(), record=True)


class HostKernel:
    """One kernel, compiled for the CPU and called like a cupy.RawKernel."""

    def __init__(self, filename: str, function: str, source: str, *, record: bool = False, checked: bool = True) -> None:
        """checked=False: without the search for races and undefined behaviour, ten times as fast."""
        known = signatures(source)
        if function not in known:
            raise KernelFault(f"{filename}: expected one of the kernels {list(known)}, got {function}")
        self.filename, self.function, self.parameters, self.record = filename, function, known[function], record
        self.compiled = _library(source, checked)

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        if len(args) != len(self.parameters):
            raise KernelFault(f"{self.function}: expected {len(self.parameters)} arguments, got {len(args)}")
        self.compiled.shim_clear()
        values, back = [], []
        for parameter, arg in zip(self.parameters, args, strict=True):
            if parameter.pointer:
                values.append(self._array(parameter, arg, back))
            else:
                if type(arg) is not parameter.dtype.type:
                    raise KernelFault(f"{self.function}, {parameter.name}: expected {parameter.dtype}, got {type(arg)}")
                values.append(np.array(arg))
        self._overlaps(args)
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        geometry = (ctypes.c_uint * 6)(*_three(grid), *_three(block))
        getattr(self.compiled, f"host_{self.function}")(geometry, ctypes.c_size_t(shared_mem), pointers)
        message = self.compiled.shim_message()
        if message:
            raise KernelFault(f"{self.function}: {message.decode(errors='replace')}")
        for array, copy in back:
            array[...] = copy
        if self.record:
            executed.add((self.filename, self.function))

    def _array(self, parameter: Parameter, array: Any, back: list) -> np.ndarray:
        """Make a guarded copy for the kernel; return its address as an array of one number."""
        if not isinstance(array, np.ndarray) or array.dtype != parameter.dtype or not array.flags.c_contiguous:
            raise KernelFault(f"{self.function}, {parameter.name}: expected a contiguous {parameter.dtype} array, "
                              f"got {getattr(array, 'dtype', type(array))}")
        memory = np.zeros(array.nbytes + 2 * GUARD, np.uint8)
        start = GUARD + -(memory.ctypes.data + GUARD) % 256                    # cudaMalloc aligns to 256 bytes
        copy = memory[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        back.append((array if not parameter.const else copy.copy(), copy))
        self.compiled.shim_array(ctypes.c_void_p(copy.ctypes.data), ctypes.c_size_t(array.nbytes),
                                 int(not parameter.const), parameter.name.encode())
        return np.array(memory.ctypes.data + start, np.uint64)

    def _overlaps(self, args: Sequence[Any]) -> None:
        """Raise KernelFault if an array that is written is passed twice, since all pointers are __restrict__."""
        arrays = [(parameter, arg) for parameter, arg in zip(self.parameters, args, strict=True) if parameter.pointer]
        for i, (parameter, array) in enumerate(arrays):
            for other, another in arrays[i + 1:]:
                if not (parameter.const and other.const) and np.may_share_memory(array, another) and array.size:
                    raise KernelFault(f"{self.function}: {parameter.name} and {other.name} overlap")


def _three(sizes: Sequence[int]) -> list[int]:
    if not isinstance(sizes, tuple) or not all(isinstance(size, int) for size in sizes):
        raise KernelFault(f"expected grid and block as tuples of int, got {sizes!r}")
    return [*sizes, 1, 1][:3]


@functools.cache
def _library(source: str, checked: bool) -> ctypes.CDLL:
    """Compile the source and link it with the runtime."""
    shared = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"\1* \2 = (\1*)shim::shim_dynamic_shared();", source)
    text = '#include "device.h"\n#line 1 "kernel.cu"\n' + shared + _entries(source)
    options = (*FLAGS, *(CHECKED if checked else ("-O2",)), "-fvisibility=hidden", f"-I{SHIM}", f"-I{KERNELS}")
    headers = "".join(path.read_text() for path in (SHIM / "device.h", *sorted(KERNELS.glob("*.cuh"))))
    compiled = _built(text, ".o", ("g++", *options, "-c"), headers)
    runtime_text = '#include "runtime.h"\n'
    runtime = _built(runtime_text, ".o", ("g++", *FLAGS, "-O2", f"-I{SHIM}", "-c"),
                     "".join(path.read_text() for path in sorted(SHIM.glob("*.h"))))
    linked = _built(f"// {compiled.name} {runtime.name}\n", ".so",
                    ("g++", "-shared", "-fPIC", "-Wl,-Bsymbolic", str(compiled), str(runtime)), "")
    library = ctypes.CDLL(str(linked))
    library.shim_message.restype = ctypes.c_char_p
    return library


def _entries(source: str) -> str:
    """C++ functions, one per kernel, that take the arguments as cuLaunchKernel does: an array of their addresses."""
    spelling = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    text = ""
    for name, parameters in signatures(source).items():
        types = [spelling[parameter.dtype] + "*" * parameter.pointer for parameter in parameters]
        values = ", ".join(f"*({kind}*)((void**)args)[{i}]" for i, kind in enumerate(types))
        text += f"""
__attribute__((no_sanitize("thread", "undefined"))) static void call_{name}(void* args) {{ {name}({values}); }}
extern "C" __attribute__((no_sanitize("thread"), visibility("default")))
void host_{name}(const unsigned* g, size_t shared, void** args) {{
    shim::shim_launch({{g[0], g[1], g[2]}}, {{g[3], g[4], g[5]}}, shared, call_{name}, args);
}}
"""
    return text


def _built(text: str, suffix: str, command: tuple[str, ...], extra: str) -> Path:
    """The file that `command` builds from the text, or its copy in the cache."""
    digest = hashlib.sha256("\0".join([text, extra, suffix, *command]).encode()).hexdigest()[:24]
    target = CACHE / (digest + suffix)
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        source, output = Path(folder) / "source.cpp", Path(folder) / "output"
        source.write_text(text)
        done = subprocess.run([*command, str(source), "-o", str(output)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"g++ could not compile a kernel for the CPU:\n{done.stderr[:4000]}")
        os.replace(output, target)
    return target
