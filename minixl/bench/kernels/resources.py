"""Registers, spills and shared memory of every kernel, as the CUDA compiler reports them.  Needs nvcc but no GPU."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minixl import kernels
from minixl.errors import UserError

ARCHITECTURES = (75, 80, 90, 100)
REPORT = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers(.*?)(?=\n|$)", re.DOTALL)


def resources(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Compile the kernels of these ops (all if empty); return one entry per kernel and architecture, none if nvcc is not found."""
    if shutil.which("nvcc") is None:
        return []
    files = sorted(kernels.KERNELS.glob("*.cu"))
    jobs = [(file, architecture) for file in files if not names or file.stem in names for architecture in ARCHITECTURES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [entry for entries in pool.map(_compile, jobs) for entry in entries]


def _compile(job: tuple[Path, int]) -> list[dict[str, Any]]:
    file, architecture = job
    done = subprocess.run(["nvcc", *kernels.OPTIONS, "-cubin", f"-arch=sm_{architecture}", "-Xptxas", "-v",
                           "-o", "/dev/null", str(file)], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{file}: nvcc reports: {done.stderr.strip()[:500]}")
    shared_of = lambda rest: int(match[1]) if (match := re.search(r"(\d+) bytes smem", rest)) else 0
    return [{"kernel": kernel, "file": file.name, "architecture": architecture, "registers": int(registers),
             "spilled_bytes": int(spilled), "shared_bytes": shared_of(rest)}
            for kernel, spilled, registers, rest in REPORT.findall(done.stderr)]


def markdown(entries: list[dict[str, Any]]) -> str:
    """Return a Markdown table with a row per kernel and a column per architecture."""
    if not entries:
        return "Registers: nvcc was not found where this table was written."
    names = list(dict.fromkeys((entry["file"], entry["kernel"]) for entry in entries))
    header = ["kernel", *(f"sm_{architecture}" for architecture in ARCHITECTURES), "static shared memory, bytes"]
    rows = []
    for name in names:
        own = [entry for entry in entries if (entry["file"], entry["kernel"]) == name]
        rows.append([name[1], *(f"{e['registers']}" + (f", {e['spilled_bytes']} bytes spilled" if e["spilled_bytes"] else "")
                                for e in own), str(own[0]["shared_bytes"])])
    return "\n".join(["Registers a thread, from `nvcc -Xptxas -v`:", "", *markdown_table(header, rows)])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)]
