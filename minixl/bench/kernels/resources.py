"""Registers, spills and shared memory of every kernel, as the CUDA compiler reports them.  Needs nvcc, but no GPU."""
from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

from minixl import kernels
from minixl.errors import UserError

ARCHITECTURES = (75, 80, 90, 100)
REPORT = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers(.*?)(?=\n|$)", re.DOTALL)


def resources() -> list[dict[str, Any]]:
    """One entry a kernel and architecture; none where nvcc is not found."""
    if shutil.which("nvcc") is None:
        return []
    found = []
    for file in sorted(kernels.KERNELS.glob("*.cu")):
        for architecture in ARCHITECTURES:
            done = subprocess.run(["nvcc", *kernels.OPTIONS, "-cubin", f"-arch=sm_{architecture}", "-Xptxas", "-v",
                                   "-o", "/dev/null", str(file)], capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"{file}: nvcc found mistakes: {done.stderr.strip()[:500]}")
            for kernel, spilled, registers, rest in REPORT.findall(done.stderr):
                shared = re.search(r"(\d+) bytes smem", rest)
                found.append({"kernel": kernel, "file": file.name, "architecture": architecture, "registers": int(registers),
                              "spilled_bytes": int(spilled), "shared_bytes": int(shared[1]) if shared else 0})
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    """A Markdown table: a line a kernel, a column an architecture."""
    if not found:
        return "Registers: nvcc was not found where this table was written."
    names = list(dict.fromkeys((entry["file"], entry["kernel"]) for entry in found))
    head = ["kernel", *(f"sm_{architecture}" for architecture in ARCHITECTURES), "static shared memory, bytes"]
    lines = [head, ["---"] * len(head)]
    for name in names:
        own = [entry for entry in found if (entry["file"], entry["kernel"]) == name]
        lines.append([name[1], *(f"{e['registers']}" + (f", {e['spilled_bytes']} bytes spilled" if e["spilled_bytes"] else "")
                                 for e in own), str(own[0]["shared_bytes"])])
    return "\n".join(["Registers a thread, from `nvcc -Xptxas -v`:", "", *("| " + " | ".join(line) + " |" for line in lines)])
