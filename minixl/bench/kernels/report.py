"""The output of `minixl bench kernels`: the table, its copy in kernels/README.md, and the plot."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from minixl.bench.kernels.resources import markdown as registers
from minixl.bench.kernels.resources import markdown_table
from minixl.errors import UserError

BEGIN, BEGIN_GPU, END = "<!-- begin: minixl bench kernels -->", "<!-- begin: minixl bench kernels, on a GPU -->", "<!-- end -->"
COLUMNS = ("op", "size", "engine", "ms", "10-90 %", "GB/s", "GFLOP/s", "of ceiling", "extra MiB", "time / minixl's")
LEGEND = ("ms: median of a call forward and backward; of ceiling: of the copy or product rate, whichever the op is near; "
          "extra MiB: what a call holds at its peak, results included")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Format one row of the table."""
    size = " x ".join(str(value) for value in row["size"].values())
    spread = f"{1e3 * row['tenth_seconds']:.3g}-{1e3 * row['ninetieth_seconds']:.3g}"
    extra = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2 ** 20:.1f}"
    share = "" if row["percent_of_ceiling"] is None else f"{row['percent_of_ceiling']:.0f} % {row['bound']}"
    return (row["op"], size, row["engine"], f"{1e3 * row['median_seconds']:.3g}", spread,
            f"{row['gigabytes_per_second']:.3g}", f"{row['gigaflops']:.3g}",
            share, extra, f"{row['ratio']:.2f}")


def heading(result: dict[str, Any]) -> str:
    """Say what the figures were measured on."""
    source = f"{result['processor']}, NumPy ops" if result["threads"] else f"{result['device']} (numpy: {result['processor']})"
    return (f"{source}: copy {result['ceiling']['copy']:.0f} GB/s, "
            f"product {result['ceiling']['product']:.0f} GFLOP/s (float32)")


def table(result: dict[str, Any]) -> str:
    """Return the table as text, columns aligned."""
    lines = [COLUMNS, *(cells(row) for row in result["rows"])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in
                      enumerate(zip(line, widths, strict=True))) for line in lines]
    return "\n".join([heading(result), *text, LEGEND])


def markdown(result: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    command = "minixl bench kernels --readme" + (f" --against {result['against']}" if result["against"] else "")
    lines = markdown_table(COLUMNS, map(cells, result["rows"]))
    return "\n".join([f"`{command}`", "", heading(result), "", *lines, "", LEGEND + ".", "", registers(result["resources"])])


def write_readme(result: dict[str, Any], file: Path) -> None:
    """Put the table between the markers of the file for this device.  Raises UserError if they are missing."""
    begin = BEGIN if result["threads"] else BEGIN_GPU
    before, after = split_readme(file, begin)
    file.write_text(f"{before}{begin}\n{markdown(result)}\n{END}{after}", encoding="utf-8")


def split_readme(file: Path, begin: str) -> tuple[str, str]:
    """Return the text before the first marker and after the second.  Raises UserError if they are missing."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    before, marker, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not marker or not end:
        raise UserError(f"{file}: expected the markers {begin} and {END}; put them where the table belongs")
    return before, after


def require_drawable(file: Path) -> None:
    """Raise UserError if matplotlib is missing or cannot write this file format."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise UserError("--plot: matplotlib is not installed; install it with: pip install 'minixl[plots]'") from None
    endings = [f".{ending}" for ending in FigureCanvasBase.get_supported_filetypes()]
    if file.suffix.lower() not in endings:
        raise UserError(f"--plot {file}: expected a name that ends in {', '.join(sorted(endings))}, "
                        f"found {file.suffix or 'no ending'!r}; choose for example --plot {file.with_suffix('.png')}")


def draw(result: dict[str, Any], file: Path) -> None:
    """Plot milliseconds against the bytes that must be moved, log-log, one line for each op and engine."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(9, 6))
    lines = dict.fromkeys((row["op"], row["engine"]) for row in result["rows"])
    for op, engine in lines:
        points = [(row["gigabytes_per_second"] * row["median_seconds"] * 1e9, 1e3 * row["median_seconds"])
                  for row in result["rows"] if (row["op"], row["engine"]) == (op, engine)]
        axes.loglog(*zip(*sorted(points), strict=True), marker="o", label=f"{op}, {engine}")
    axes.set(xlabel="bytes that must be moved", ylabel="ms per call", title=heading(result))
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
