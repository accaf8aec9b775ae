"""Every .cu file compiles for every architecture in ARCHITECTURES; every kernel has a launcher and was executed.

NVRTC from PyPI (nvidia-cuda-nvrtc, cuda-bindings) needs no device; nvcc is used where NVRTC is not installed.
"""
import os
import re
import shutil
import subprocess

import pytest

from minixl import backend, kernels
from tests.kernels import host

ARCHITECTURES = (75, 80, 90, 100)
FILES = sorted(path.name for path in kernels.KERNELS.glob("*.cu"))


def compile_with_nvrtc(filename: str, architecture: int) -> None:
    """Raise AssertionError with the compiler's log unless NVRTC compiles the file for this architecture."""
    from cuda.bindings import nvrtc
    source = (kernels.KERNELS / filename).read_text().encode()
    status, program = nvrtc.nvrtcCreateProgram(source, filename.encode(), 0, [], [])
    assert status == 0, status
    options = [option.encode() for option in (*kernels.OPTIONS, f"-arch=sm_{architecture}", "-Werror=all-warnings")]
    status, = nvrtc.nvrtcCompileProgram(program, len(options), options)
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * max(size, 2)          # NVRTC writes into it, so it must not be Python's shared one-byte object
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(program)
    assert status == 0, log.decode(errors="replace")


def compile_with_nvcc(filename: str, architecture: int) -> None:
    """Raise AssertionError with the compiler's log unless nvcc compiles the file for this architecture."""
    done = subprocess.run(["nvcc", *kernels.OPTIONS, "-cubin", f"-arch=sm_{architecture}", "-o", os.devnull,
                           str(kernels.KERNELS / filename)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def has_nvrtc() -> bool:
    """Whether NVRTC is installed.  Calls it, because the bindings can be imported without the library."""
    try:
        from cuda.bindings import nvrtc
        return nvrtc.nvrtcVersion()[0] == 0
    except (ImportError, RuntimeError):
        return False


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("filename", FILES)
def test_compiles(filename, architecture):
    if has_nvrtc():
        compile_with_nvrtc(filename, architecture)
    elif shutil.which("nvcc"):
        compile_with_nvcc(filename, architecture)
    elif os.environ.get("CI"):
        pytest.fail("neither NVRTC (pip install nvidia-cuda-nvrtc cuda-bindings) nor nvcc is installed")
    else:
        pytest.skip("neither NVRTC (pip install nvidia-cuda-nvrtc cuda-bindings) nor nvcc is installed")


@pytest.mark.parametrize("filename", FILES)
def test_the_header_names_every_kernel(filename):
    source = (kernels.KERNELS / filename).read_text()
    head = source[:source.index("*/")]
    for kernel in host.signatures(source):
        assert re.search(rf"\b{kernel}\b", head), f"{filename}: the header does not list {kernel}"
    for line in ("launched by  kernels/", "test         pytest tests/kernels/", "benchmark    minixl bench kernels"):
        assert line in head, f"{filename}: the header has no line {line!r}"


def test_the_table_of_ops_is_complete():
    assert sorted(kernels.OPS) == [name.removesuffix(".cu") for name in FILES]
    for name, functions in kernels.OPS.items():
        launcher = __import__(f"minixl.kernels.{name}", fromlist=functions)
        assert all(callable(getattr(launcher, function)) for function in functions)
        op = __import__(f"minixl.ops.{name}", fromlist=functions)
        assert all(hasattr(getattr(op, function), "__wrapped__") for function in functions), f"{name} lacks @op"


def test_load_without_a_device_says_so():
    if backend.cupy is not None and backend.cupy.cuda.is_available():
        pytest.skip("there is a device")
    with pytest.raises(ValueError, match="kernel gelu_forward: expected a CUDA device, found none"):
        kernels.load("gelu.cu", "gelu_forward")


def test_every_kernel_was_executed(request):
    """Runs last (see conftest.py); skipped unless all tests of this folder run."""
    collected = {item.path.name for item in request.session.items if item.path.parent == request.path.parent}
    if len(collected) < len(list(request.path.parent.glob("test_*.py"))) or request.config.option.keyword:
        pytest.skip("only a part of tests/kernels runs")
    if backend.cupy is not None and backend.cupy.cuda.is_available():
        pytest.skip("the kernels ran on the device, not on the shim")
    print(f"kernels executed {len(host.executed)} / kernels that exist {len(host.all_kernels())}")
    assert host.executed == host.all_kernels()
