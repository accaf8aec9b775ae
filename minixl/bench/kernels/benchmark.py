"""`minixl bench kernels`: how fast each op is, and how close to the limit of this device.

On a GPU three engines are timed: the kernels and the same formula in plain CuPy (as with MINIXL_KERNELS=0), both with CUDA
events, and the NumPy ops on the CPU.  Without a GPU only the NumPy ops are timed.  Results are checked against the op in
float64 before anything is timed.  Inputs rotate, so that together they do not fit in the cache.
The ceiling is measured in the same run: the rate of a copy for ops limited by memory, of a float32 matrix product for ops
limited by arithmetic.  Extra memory is the growth of a separate process during one call, including the results.
"""
from __future__ import annotations

import itertools
import json
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
from minixl.bench.kernels.report import BEGIN, BEGIN_GPU, draw, require_drawable, split_readme, table, write_readme
from minixl.bench.kernels.resources import resources
from minixl.bench.timing import seconds_of
from minixl.errors import UserError

CACHE = 64 << 20            # bytes; the rotating inputs exceed this, which is larger than the cache of any current CPU or GPU
MOST_COPIES = 8
SECONDS = 1.0               # minimum duration of a timing, which also takes at least FEWEST calls
FEWEST = 5
MOST_SECONDS = 5.0          # but no more calls on the CPU after this
README = kernels.KERNELS / "README.md"
TOLERANCE = 2e-3            # difference between float32 and float64, as a share of the largest element


def run(names: Sequence[str] = (), *, against: str | None = None, json_file: Path | None = None,
        plot_file: Path | None = None, readme: bool = False, say: Callable[[str], None] = lambda text: None,
        show: Callable[[str], None] = print) -> dict[str, Any]:
    """Time the ops of `names` (all if empty), on the GPU if there is one; return all figures.

    against="torch" also times PyTorch, "faiss" faiss.  `readme` rewrites the table in kernels/README.md.  `say` gets a line
    for each op before it is timed.  `show` gets the table before any file is written, so that it is seen even if writing fails.
    """
    _check_arguments(names, against, json_file, plot_file, readme)
    rows: list[dict[str, Any]] = []
    say("timing a copy and a matrix product, the ceiling")
    ceiling = ceilings()
    result = {"device": device_name(), "threads": None if on_gpu() else threads(), "against": against,
              "processor": f"{processor_name()}, {threads()} threads",
              "ceiling": ceiling, "rows": rows, "resources": resources(names) if readme or json_file else []}
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


def _check_arguments(names: Sequence[str], against: str | None, json_file: Path | None, plot_file: Path | None,
                     readme: bool) -> None:
    for name in names:
        if name not in CASES:
            raise UserError(f"bench kernels: expected some of {', '.join(CASES)}, got {name!r}")
    if against not in (None, "torch", "faiss"):
        raise UserError(f"--against: expected torch or faiss, got {against!r}")
    without = [name for name in names or CASES if CASES[name].faiss is None] if against == "faiss" else []
    if without:
        with_faiss = " ".join(name for name, case in CASES.items() if case.faiss is not None)
        raise UserError(f"--against faiss: {without[0]} has no counterpart in faiss; name the ops: "
                        f"minixl bench kernels {with_faiss}")
    if against:
        require_installed(against, against)
    if readme and names:
        raise UserError("--readme: the table has all ops; leave out the names of ops")
    if readme:
        split_readme(README, BEGIN_GPU if on_gpu() else BEGIN)
        require_writable("--readme", README)
    if plot_file:
        require_drawable(plot_file)
    for option, file in (("--json", json_file), ("--plot", plot_file)):
        require_writable(option, file)


def _rows(name: str, number: int, size: dict[str, int], against: str | None,
          ceiling: dict[str, float]) -> Iterator[dict[str, Any]]:
    """Time an op with every engine; yield a row for each.  Ratios are to the first, minixl's default."""
    check(name, size)
    first = None
    for kind in (*kinds(), *([against] if against else [])):
        times = measure(name, size, kind)
        first = first or times[len(times) // 2]
        yield _row(name, size, kind, times, ceiling) | {
            "ratio": times[len(times) // 2] / first, "peak_bytes": peak(name, number, kind)}


def _row(name: str, size: dict[str, int], kind: str, times: list[float], ceiling: dict[str, float]) -> dict[str, Any]:
    case = CASES[name]
    median = times[len(times) // 2]
    rates = {"copy": case.bytes(**size) / median / 1e9, "product": case.operations(**size) / median / 1e9}
    no_ceiling = on_gpu() and kind == "numpy"                          # the ceiling was measured on the GPU
    return {"op": name, "size": size, "engine": case.torch_name if kind == "torch" else kind, "calls": len(times),
            "median_seconds": median, "tenth_seconds": times[len(times) // 10], "ninetieth_seconds": times[len(times) * 9 // 10],
            "gigabytes_per_second": rates["copy"], "gigaflops": rates["product"], "bound": case.bound,
            "percent_of_ceiling": None if no_ceiling else 100 * rates[case.bound] / ceiling[case.bound]}


def check(name: str, size: dict[str, int]) -> None:
    """Raise UserError unless minixl's default engine agrees with the op in float64; large sizes are reduced for this."""
    case = CASES[name]
    inputs = case.inputs(np.random.default_rng(7), **{key: min(value, 300) for key, value in size.items()})
    wide = {key: array.astype(np.float64) if array.dtype == np.float32 else array.copy() for key, array in inputs.items()}
    ours = case.call(functions(name, kinds()[0]), placed(inputs, kinds()[0]))
    for number, (result, exact) in enumerate(zip(ours, case.call(functions(name, "numpy"), wide), strict=True)):
        difference = np.abs(to_numpy(result).astype(np.float64) - exact).max(initial=0)
        if not difference <= TOLERANCE * np.abs(exact).max(initial=1e-30):
            raise UserError(f"bench kernels: {name} {size}, result {number}: expected the float64 result within {TOLERANCE}, "
                            f"found a difference of {difference:.3g}")


def measure(name: str, size: dict[str, int], kind: str) -> list[float]:
    """Time the calls of an op; return the seconds of each call, sorted."""
    case, rng = CASES[name], np.random.default_rng(0)
    inputs = case.inputs(rng, **size)
    copies = max(1, min(MOST_COPIES, -(-CACHE // sum(array.nbytes for array in inputs.values()))))
    sets = [inputs, *(case.inputs(rng, **size) for _ in range(copies - 1))]
    call, prepared = engine(name, kind, sets)
    turn = itertools.cycle(prepared)
    if on_gpu() and kind != "numpy":
        first = _gpu_seconds(lambda: call(next(turn)), FEWEST, warmup=2)
        repeats = int(min(200, max(FEWEST, SECONDS / max(first.mean(), 1e-6))))
        return sorted(_gpu_seconds(lambda: call(next(turn)), repeats, warmup=2).tolist())
    times = [seconds_of(call, next(turn)) for _ in range(2)]
    if sum(times) < MOST_SECONDS:
        times.clear()                                                  # they were the warm-up
    while (len(times) < FEWEST or sum(times) < SECONDS) and sum(times) < MOST_SECONDS:
        times.append(seconds_of(call, next(turn)))
    return sorted(times)


def ceilings() -> dict[str, float]:
    """Measure the GB/s of a copy (bytes read and written) and the GFLOP/s of a float32 matrix product."""
    xp, side, bytes_copied = (cupy, 8192, 1 << 30) if on_gpu() else (np, 2048, 1 << 28)
    source = xp.ones(bytes_copied // 4, xp.float32)
    target, a = xp.empty_like(source), xp.ones((side, side), xp.float32)
    product = xp.empty_like(a)
    calls = {"copy": lambda: xp.copyto(target, source), "product": lambda: xp.matmul(a, a, out=product)}
    work = {"copy": 2 * source.nbytes, "product": 2 * side ** 3}
    return {name: work[name] / _median(function) / 1e9 for name, function in calls.items()}


def _median(function: Callable[[], Any]) -> float:
    if on_gpu():
        return float(np.median(_gpu_seconds(function, 20, warmup=3)))
    function()
    return sorted(seconds_of(function) for _ in range(7))[3]


def _gpu_seconds(function: Callable[[], Any], repeats: int, *, warmup: int) -> np.ndarray:
    """Time calls with CUDA events; return the seconds of each (repeats,)."""
    from cupyx.profiler import benchmark
    return benchmark(function, (), n_repeat=repeats, n_warmup=warmup).gpu_times[0]
