"""What plots are made of: round ticks, a frame with its grid, text of a known width, labels that do not overlap."""
from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, NamedTuple

LABEL_GAP = 18                         # pixels between the baselines of two labels


def tag(name: str, **attributes: Any) -> str:
    """Return an empty SVG element; an underscore in a name stands for a hyphen."""
    return f"<{name} {_attributes(attributes)}/>"


def text(x: float, y: float, content: str, **attributes: Any) -> str:
    """Return a line of text whose baseline begins at (x, y)."""
    return f'<text x="{x:.1f}" y="{y:.1f}" {_attributes(attributes)}>{html.escape(content)}</text>'


def _attributes(attributes: dict[str, Any]) -> str:
    return " ".join(f'{name.replace("_", "-")}="{value}"' for name, value in attributes.items())


def text_width(content: str) -> float:
    """Return an upper bound for the width of bold text of 13 pixels, in the widest of the common system fonts."""
    return sum(_character_width(character) for character in content)


def _character_width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 14.0
    if character in "mwMW@%…":
        return 13.5
    if character in "ijl.,:;'| ":
        return 5.5
    return 10.5 if character.isupper() or character in "±–" else 9.2


def wrapped(content: str, width: float, most: int = 3) -> list[str]:
    """Break text into at most `most` lines of `width` pixels; the last ends with … if something is left."""
    average = text_width(content) / max(len(content), 1)
    for columns in range(max(4, int(width / max(average, 1))), 2, -1):
        lines = textwrap.wrap(content, columns, max_lines=most, placeholder="…")
        if lines and all(text_width(line) <= width for line in lines):
            return lines
    return textwrap.wrap(content, 3, max_lines=most, placeholder="…") or [content]


def ticks_within(low: float, top: float, most: int, *, whole: bool = False) -> list[float]:
    """Return round numbers, 1, 2 or 5 times a power of ten apart, that enclose low and top; whole: no fractions.

    There are about `most` intervals.
    """
    raw = (top - low) / most
    power = 10.0 ** floor(log10(raw))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power >= raw * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = floor(low / step + 1e-9), ceil(top / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def decimals_of(ticks: Sequence[float]) -> list[str]:
    """Return the ticks as text, all with as many decimals as the distance between them needs."""
    decimals = max(0, -floor(log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else 0
    return [f"{tick + 0.0:,.{decimals}f}" for tick in ticks]


@dataclass
class Frame:
    """The area of a plot: its axes, and where a point lies.  Margins in pixels."""

    width: float
    height: float
    ticks: Sequence[float]             # of the axis of values, from end to end
    steps: Sequence[float]             # of the axis of steps; those beyond `last` are left out
    last: float                        # value of the right end
    left: float
    top: float
    margin_right: float
    bottom: float
    size: int = 13                     # of the text

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixels of a point."""
        low, top = self.ticks[0], self.ticks[-1]
        return (self.left + x / self.last * (self.width - self.left - self.margin_right),
                self.height - self.bottom - (y - low) / (top - low) * (self.height - self.top - self.bottom))

    def point(self, x: float, y: float) -> str:
        """Return a point as SVG writes it."""
        return "{:.1f},{:.1f}".format(*self.place(x, y))

    def grid(self) -> list[str]:
        """Draw a light grid and the numbers of both axes."""
        parts, right = [], self.width - self.margin_right
        for tick, number in zip(self.ticks, decimals_of(self.ticks), strict=True):
            _, y = self.place(0, tick)
            parts += [tag("path", d=f"M{self.left:.1f},{y:.1f}H{right:.1f}", stroke="var(--grid)"),
                      text(self.left - 6, y + 4, number, text_anchor="end", fill="var(--muted)")]
        steps = [step for step in self.steps if step <= self.last]
        top, bottom = self.top, self.height - self.bottom
        for step, number in zip(steps, decimals_of(steps), strict=True) if steps else ():
            x, _ = self.place(step, self.ticks[0])
            parts += [tag("path", d=f"M{x:.1f},{top:.1f}V{bottom:.1f}", stroke="var(--grid)"),
                      text(x, bottom + 6 + self.size, number, text_anchor="middle", fill="var(--muted)")]
        return [*parts, tag("path", d=f"M{self.left:.1f},{bottom:.1f}H{right:.1f}", stroke="var(--muted)")]

    def title_of_steps(self, unit: str = "step") -> str:
        """Draw the title of the axis of steps, or of another unit."""
        return text((self.left + self.width - self.margin_right) / 2, self.height - 6, unit, text_anchor="middle",
                    fill="var(--muted)")


class Labels(NamedTuple):
    """The lines of one label, and the height at which it should stand."""

    y: float
    lines: Sequence[str]


def spread(labels: Sequence[Labels], top: float, bottom: float) -> list[float]:
    """Return the middle of every label, as near to its own height as the others allow, between top and bottom.

    Labels keep their order.  Neighbours that would overlap form a block, centred on the mean of their heights.
    """
    order = sorted(range(len(labels)), key=lambda i: labels[i].y)
    blocks: list[tuple[list[int], float, float]] = []              # members, height, middle
    for i in order:
        members, height, middle = [i], float(LABEL_GAP * len(labels[i].lines)), labels[i].y
        middle = min(max(middle, top + height / 2), bottom - height / 2)
        while blocks and blocks[-1][2] + blocks[-1][1] / 2 > middle - height / 2:
            above, tall, centre = blocks.pop()
            middle = (len(above) * centre + len(members) * middle) / (len(above) + len(members))
            members, height = above + members, tall + height
            middle = max(min(middle, bottom - height / 2), top + height / 2)
        blocks.append((members, height, middle))
    middles = [0.0] * len(labels)
    for members, height, middle in blocks:
        y = middle - height / 2
        for i in members:
            middles[i] = y + LABEL_GAP * len(labels[i].lines) / 2
            y += LABEL_GAP * len(labels[i].lines)
    return middles
