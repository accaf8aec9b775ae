"""The table of `minixl bench predict`."""
from __future__ import annotations

from typing import Any

from minixl.bench.prediction.texts import LENGTHS
from minixl.bench.training.report import counted

NAME = 20                              # width of the first column
LEGEND = ("tokens: word pieces without padding; difference: the largest of a log-probability from minixl's; same tags: words whose "
          "most\nprobable tag is minixl's; engines in brackets compute in lower precision and are left out of the comparison")


def table(result: dict[str, Any]) -> str:
    """Return the report as text, with a legend below the tables."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [f"prediction with a tagger: {result['model']}, {result['weights'] / 1e6:.1f} M weights; {result['encoder']}",
             f"{counted(result['threads'], 'thread')}, the median of {counted(result['repeats'], 'time')}; {versions}"]
    for length, figures in result["lengths"].items():
        lines += ["", *block(length, figures)]
    return "\n".join([*lines, "", LEGEND])


def block(length: str, figures: dict[str, Any]) -> list[str]:
    """Return the lines for texts of one length."""
    waste = 1 - figures["tokens"] / figures["padded_tokens"]
    lines = [f"{length} ({LENGTHS[length]}): {counted(figures['texts'], 'text')}, {counted(figures['tokens'], 'token')}, "
             f"{figures['tokens'] / figures['texts']:.0f} on average; padding is {waste:.0%} of a padded batch",
             f"{'engine':<{NAME}}{'seconds':>10}{'tokens/s':>10}{'minixl is':>11}{'difference':>12}{'same tags':>11}"]
    ours = figures["engines"]["minixl"]["seconds"]
    for name, own in figures["engines"].items():
        shown = name if own["float32"] else f"({name})"
        compared = ("", "", "") if name == "minixl" else (f"{own['seconds'] / ours:.2f} x", f"{own['largest_difference']:.1e}",
                                                          f"{own['same_tags']:.1%}")
        lines.append(f"{shown:<{NAME}}{own['seconds']:>10.3f}{own['tokens_per_second']:>10.0f}{compared[0]:>11}{compared[1]:>12}"
                     f"{compared[2]:>11}".rstrip())
    if "ratio" in figures:
        lines.append(f"minixl is {figures['ratio']:.2f} times as fast as {figures['fastest']}, the fastest of the others in "
                     "float32")
    return lines
