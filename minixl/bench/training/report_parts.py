"""The part of the report about an iteration and its parts."""
from __future__ import annotations

from typing import Any

LETTERS = {"task": "T", "discriminator": "D", "generator": "G"}
PARTS = ("encoder", "head", "head backward", "encoder backward", "update")
LEGEND = ("parts: every part of T, D and G measured alone; head: with its loss, in D and G the discriminator; update: clip, "
          "AdamW, zero")


def lines_of(figures: dict[str, Any]) -> list[str]:
    """Return the table of an engine's parts, their sum, and how it compares with a whole iteration."""
    width = [max(len(part) + 2, 9) for part in PARTS]
    line = lambda first, cells: f"{first:<14}" + "".join(f"{cell:>{w}}" for cell, w in zip(cells, width, strict=True))
    rows = [line("parts, s", PARTS)]
    for loss, seconds in figures["parts"].items():
        rows.append(line(LETTERS[loss], [f"{seconds[part]:.4f}" if part in seconds else "-" for part in PARTS]))
    return [*rows, f"an iteration takes {figures['step_to_parts']:.2f} times as long as all its parts alone, "
                   f"{figures['parts_seconds']:.3f} s, and {figures['step_to_passes']:.2f} times as long as its forwards and "
                   f"backwards alone, {figures['passes_seconds']:.3f} s"]


def sums_of(parts: dict[str, dict[str, float]], step: float) -> dict[str, float]:
    """Sum the seconds of all parts, and of the forwards and backwards alone; divide the seconds of an iteration by each."""
    total = sum(sum(seconds.values()) for seconds in parts.values())
    passes = total - sum(seconds["update"] for seconds in parts.values())
    return {"parts_seconds": total, "passes_seconds": passes, "step_to_parts": step / total, "step_to_passes": step / passes}
