"""`minixl bench kernels`: how fast each op is, and how far from what this device can do.

On a GPU three engines are timed: the kernels and the same formula in plain CuPy (as with MINIXL_KERNELS=0), both with CUDA
events, and the NumPy ops on the CPU beside it.  Without a GPU it is the NumPy ops.  Results are checked against the op in
float64 before anything is timed.  Inputs rotate, so that together they do not fit the cache.
The ceiling is measured in the same run: the rate of a copy for ops that move memory, of a float32 matrix product for ops
that compute.  Extra memory is what the process grows by during one call, results included, in a process of its own.
"""
from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minixl import kernels
from minixl.backend import cupy, threads, to_numpy
from minixl.bench.checks import require_installed, require_writable
from minixl.bench.kernels.cases import CASES
from minixl.bench.kernels.engines import device_name, engine, functions, kinds, on_gpu, placed, processor_name
from minixl.bench.kernels.memory import peak
from minixl.bench.kernels.report import draw, require_drawable, split_readme, table, write_readme
from minixl.bench.kernels.resources import resources
from minixl.errors import UserError

CACHE = 64 << 20            # bytes that the rotating inputs exceed: no cache of a CPU or GPU of today is larger
MOST_COPIES = 8
SECONDS = 1.0               # each timing goes on for so long, and for at least FEWEST calls
FEWEST = 5
README = kernels.KERNELS / "README.md"
TOLERANCE = 2e-3            # of the largest element, float32 against float64


def run(names: Sequence[str] = (), *, against: str | None = None, json_file: Path | None = None,
        plot_file: Path | None = None, readme: bool = False, say: Callable[[str], None] = lambda text: None,
        show: Callable[[str], None] = print) -> dict[str, Any]:
    """Time the ops of `names` (all if empty) on the GPU if there is one; returns all figures.

    against="torch" times PyTorch's way too.  `readme` rewrites the table in kernels/README.md.  `say` gets a line for each
    op before it is timed, `show` the table, before any file is written: whatever becomes of the files, it is seen.
    """
    _check_wishes(names, against, json_file, plot_file, readme)
    rows: list[dict[str, Any]] = []
    say("timing a copy and a matrix product, the ceiling")
    ceiling = ceilings()
    result = {"device": device_name(), "threads": None if on_gpu() else threads(), "against": against,
              "processor": f"{processor_name()}, {threads()} threads",
              "ceiling": ceiling, "rows": rows, "resources": resources() if readme or json_file else []}
    for turn, name in enumerate(names or CASES, 1):
        say(f"{turn} of {len(names or CASES)}: timing {name}")
        for number, size in enumerate(CASES[name].sizes[1:], 1):
            rows += _rows(name, number, size, against, ceiling)
    show(table(result))
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if plot_file:
        draw(result, plot_file)
    if readme:
        write_readme(result, README)
    return result


def _check_wishes(names: Sequence[str], against: str | None, json_file: Path | None, plot_file: Path | None,
                  readme: bool) -> None:
    for name in names:
        if name not in CASES:
            raise UserError(f"bench kernels: expected some of {', '.join(CASES)}, got {name!r}")
    if against not in (None, "torch"):
        raise UserError(f"--against: expected torch, got {against!r}")
    if against:
        require_installed(against, against)
    if readme and names:
        raise UserError("--readme: the table holds all ops; name none")
    if readme:
        split_readme(README)
        require_writable("--readme", README)
    if plot_file:
        require_drawable(plot_file)
    for option, file in (("--json", json_file), ("--plot", plot_file)):
        require_writable(option, file)


def _rows(name: str, number: int, size: dict[str, int], against: str | None,
          ceiling: dict[str, float]) -> Iterator[dict[str, Any]]:
    """One row a kind: minixl's own first, the one that the ratios are to."""
    check(name, size)
    own = None
    for kind in (*kinds(), *(["torch"] if against else [])):
        times = measure(name, size, kind)
        own = own or times[len(times) // 2]
        yield _row(name, size, kind, times, ceiling) | {
            "ratio": times[len(times) // 2] / own, "peak_bytes": peak(name, number, kind)}


def _row(name: str, size: dict[str, int], kind: str, times: list[float], ceiling: dict[str, float]) -> dict[str, Any]:
    case = CASES[name]
    median, moved, done = times[len(times) // 2], case.bytes(**size), case.operations(**size)
    rates = {"copy": moved / median / 1e9, "product": done / median / 1e9}
    elsewhere = on_gpu() and kind == "numpy"                           # the ceiling is the GPU's
    return {"op": name, "size": size, "engine": case.torch_name if kind == "torch" else kind, "calls": len(times),
            "median_seconds": median, "tenth_seconds": times[len(times) // 10], "ninetieth_seconds": times[len(times) * 9 // 10],
            "gigabytes_per_second": rates["copy"], "gigaflops": rates["product"], "bound": case.bound,
            "percent_of_ceiling": None if elsewhere else 100 * rates[case.bound] / ceiling[case.bound]}


def check(name: str, size: dict[str, int]) -> None:
    """UserError unless the engine of minixl agrees with the op in float64, at a size that takes a moment."""
    case = CASES[name]
    inputs = case.inputs(np.random.default_rng(7), **{key: min(value, 300) for key, value in size.items()})
    wide = {key: array.astype(np.float64) if array.dtype == np.float32 else array.copy() for key, array in inputs.items()}
    ours = case.call(functions(name, kinds()[0]), placed(inputs, kinds()[0]))
    for number, (found, exact) in enumerate(zip(ours, case.call(functions(name, "numpy"), wide), strict=True)):
        difference = np.abs(to_numpy(found).astype(np.float64) - exact).max(initial=0)
        if not difference <= TOLERANCE * np.abs(exact).max(initial=1e-30):
            raise UserError(f"bench kernels: {name} {size}, result {number}: expected float64's within {TOLERANCE}, "
                            f"found a difference of {difference:.3g}")


def measure(name: str, size: dict[str, int], kind: str) -> list[float]:
    """Seconds of each call, sorted."""
    case, rng = CASES[name], np.random.default_rng(0)
    once = case.inputs(rng, **size)
    copies = max(1, min(MOST_COPIES, -(-CACHE // sum(array.nbytes for array in once.values()))))
    sets = [once, *(case.inputs(rng, **size) for _ in range(copies - 1))]
    call, prepared = engine(name, kind, sets)
    turn = itertools.cycle(prepared)
    if on_gpu() and kind != "numpy":
        from cupyx.profiler import benchmark
        first = benchmark(lambda: call(next(turn)), (), n_repeat=FEWEST, n_warmup=2).gpu_times[0]
        repeats = int(min(200, max(FEWEST, SECONDS / max(first.mean(), 1e-6))))
        return sorted(benchmark(lambda: call(next(turn)), (), n_repeat=repeats, n_warmup=2).gpu_times[0].tolist())
    for _ in range(2):
        call(next(turn))
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < SECONDS:
        item = next(turn)
        begin = time.perf_counter()
        call(item)
        times.append(time.perf_counter() - begin)
    return sorted(times)


def ceilings() -> dict[str, float]:
    """GB/s of a copy (read and written bytes) and GFLOP/s of a float32 product, measured here and now."""
    xp, side, bytes_copied = (cupy, 8192, 1 << 30) if on_gpu() else (np, 2048, 1 << 28)
    source = xp.ones(bytes_copied // 4, xp.float32)
    target, a = xp.empty_like(source), xp.ones((side, side), xp.float32)
    product = xp.empty_like(a)
    best = {"copy": lambda: xp.copyto(target, source), "product": lambda: xp.matmul(a, a, out=product)}
    work = {"copy": 2 * source.nbytes, "product": 2 * side ** 3}
    return {name: work[name] / _median(function) / 1e9 for name, function in best.items()}


def _median(function: Callable[[], Any]) -> float:
    if on_gpu():
        from cupyx.profiler import benchmark
        return float(np.median(benchmark(function, (), n_repeat=20, n_warmup=3).gpu_times[0]))
    function()
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return sorted(times)[3]
