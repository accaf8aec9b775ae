"""The table of `minixl bench train`."""
from __future__ import annotations

from typing import Any

from minixl.bench.work import SETTINGS

COLUMNS = ("engine", "step s", "alone s", "tokens/s", "predict tokens/s", "peak MiB")
WIDTHS = (14, 10, 10, 11, 18, 10)
LEGEND = ("step s: forward, backward, clip, AdamW, zero; the mean of every batch's median, engines in turn",
          "alone s: every batch once more, in a process that holds this engine only; peak MiB: resident memory there",
          "tokens: word pieces without padding")


def table(result: dict[str, Any]) -> str:
    """Readable text; what the columns mean stands below."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [f"{result['family']}: {result['layers']} layers, {result['hidden']} wide, "
             f"{result['trained'] / 1e6:.1f} of {result['weights'] / 1e6:.1f} M weights trained; {result['encoder']}",
             f"{result['threads']} threads, batches of {result['batch_size']} sentences, each timed "
             f"{result['repeats']} times; {versions}"]
    for setting, figures in result["settings"].items():
        lines += ["", *block(SETTINGS[setting], figures)]
    return "\n".join([*lines, "", *LEGEND])


def block(title: str, figures: dict[str, Any]) -> list[str]:
    """One setting."""
    waste = 1 - figures["tokens"] / figures["padded_tokens"]
    lines = [f"batches {title}: {figures['batches']} batches, {figures['tokens']} tokens; padding would be "
             f"{waste:.0%} of a padded batch", row(COLUMNS)]
    for engine, f in figures["engines"].items():
        lines.append(row((engine, f"{f['step_seconds']:.3f}", f"{f['alone_step_seconds']:.3f}",
                          f"{f['train_tokens_per_second']:.0f}", f"{f['predict_tokens_per_second']:.0f}",
                          f"{f['peak_memory_bytes'] / 2 ** 20:.0f}")))
    if "ratio" in figures:
        ratio = figures["ratio"]
        lines.append(row(("minixl is", "", "", f"{ratio['train']:.2f} x", f"{ratio['predict']:.2f} x",
                          f"{ratio['peak_memory']:.0%}")))
    p = figures["products"]
    lines.append(f"matrix products: {p['operations_per_second'] / 1e9:.0f} GFLOP/s at these shapes; the "
                 f"{p['operations_per_step'] / 1e9:.1f} GFLOP of a step need {p['seconds']:.3f} s, "
                 f"{p['share_of_step']:.0%} of minixl's")
    return lines


def row(cells: tuple[str, ...]) -> str:
    """The first cell to the left, the others to the right."""
    first, *rest = zip(cells, WIDTHS, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)
