"""Line plots as SVG, for pages without scripts."""
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil, floor, log10
from statistics import fmean
from typing import NamedTuple

WIDTH, HEIGHT, MARGIN = 640, 260, 48
COLOURS = ("#1b6ca8", "#d1495b", "#3c8d5a", "#b8860b", "#6a4c93", "#444444")

Curve = Sequence[tuple[float, float]]              # (step, value)
Range = tuple[float, float]
PERCENT: Range = (0.0, 100.0)


class Band(NamedTuple):
    """A mean over runs and its standard deviation."""

    mean: Curve
    deviation: Sequence[float]         # at each point; 0 draws no band


def smooth(curves: Mapping[str, Curve], most: int = 200) -> dict[str, Curve]:
    """Average each curve over at most `most` intervals of steps; a mean is placed at the end of its interval.

    All curves have the intervals of the longest one, so that their points lie at the same steps.
    """
    last = max((step for curve in curves.values() for step, _ in curve), default=0)
    size = ceil(last / most)
    return {name: [(min((number + 1) * size, last), fmean(value for _, value in points))
                   for number, points in groupby(curve, lambda point: (point[0] - 1) // size)] for name, curve in curves.items()}


def axis(heights: Sequence[float], within: Range | None) -> tuple[float, float, int]:
    """Return both ends of the axis for `heights`, and the number of decimals of its labels.

    The axis begins at 0.  With `within`, the ends of the scale, it spans the heights and a small margin inside the scale,
    between round numbers: differences between curves are visible however high they lie.
    """
    low, top = min(heights), max(heights)
    if within is None:
        low, top = min(0.0, low), top if top > min(0.0, low) else min(0.0, low) + 1.0      # if all are 0
        return low, top, max(0, 2 - floor(log10(top - low)))
    margin = 0.05 * (top - low) or 0.01 * (within[1] - within[0])
    power = floor(log10((top - low) / 2 + margin))
    unit = 10.0 ** power
    return (max(unit * floor((low - margin) / unit), min(within[0], low)),
            min(unit * ceil((top + margin) / unit), max(within[1], top)), max(0, -power))


def svg(curves: Mapping[str, Curve | Band], label: str, within: Range | None = None) -> str:
    """Plot named curves over steps; the deviation of a Band is shaded on both sides.  Returns "" if there are no points.

    The axis begins at 0; with `within` it spans the curves, see axis().
    """
    bands = {name: curve if isinstance(curve, Band) else Band(curve, [0.0] * len(curve)) for name, curve in curves.items()}
    heights = [y + side * d for band in bands.values() for (_, y), d in zip(band.mean, band.deviation, strict=True)
               for side in (-1, 1)]
    if not heights:
        return ""
    low, top, decimals = axis(heights, within)
    right = max(x for band in bands.values() for x, _ in band.mean)

    def place(x: float, y: float) -> str:
        return (f"{MARGIN + x / right * (WIDTH - 2 * MARGIN):.1f},"
                f"{HEIGHT - MARGIN - (y - low) / (top - low) * (HEIGHT - 2 * MARGIN):.1f}")

    lines = [f'<line x1="{MARGIN}" y1="{HEIGHT - MARGIN}" x2="{WIDTH - MARGIN}" y2="{HEIGHT - MARGIN}" stroke="#999"/>',
             f'<text x="4" y="{MARGIN}">{top:.{decimals}f}</text>', f'<text x="4" y="{HEIGHT - MARGIN}">{low:.{decimals}f}</text>',
             f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN + 18}" text-anchor="end">step {right:g}</text>',
             f'<text x="{MARGIN}" y="20">{html.escape(label)}</text>']
    for i, (name, band) in enumerate(bands.items()):
        colour = COLOURS[i % len(COLOURS)]
        points = [place(x, y) for x, y in band.mean]
        if any(band.deviation):
            spread = list(zip(band.mean, band.deviation, strict=True))
            edge = [place(x, y + d) for (x, y), d in spread] + [place(x, y - d) for (x, y), d in reversed(spread)]
            lines.append(f'<polygon fill="{colour}" opacity="0.18" points="{" ".join(edge)}"/>')
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{" ".join(points)}"/>')
        for point in points if len(points) < 30 else []:
            x, y = point.split(",")
            lines.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        lines.append(f'<text x="{WIDTH - MARGIN}" y="{24 + 18 * i}" text-anchor="end" fill="{colour}">{html.escape(name)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13" role="img">{"".join(lines)}</svg>'


def bars(heights: Sequence[tuple[float, float]], ends: tuple[str, str], names: tuple[str, str]) -> str:
    """Plot bars, each (total, part of it) in two colours.  ends: labels below the first and the last bar."""
    top, width = max((total for total, _ in heights), default=0) or 1, (WIDTH - 2 * MARGIN) / max(len(heights), 1)
    lines = [f'<text x="4" y="{MARGIN}">{top:g}</text>',
             f'<text x="{MARGIN}" y="{HEIGHT - MARGIN + 18}">{html.escape(ends[0])}</text>',
             f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN + 18}" text-anchor="end">{html.escape(ends[1])}</text>']
    for kind, (name, colour) in enumerate(zip(names, ("#bbbbbb", COLOURS[0]), strict=True)):
        lines.append(f'<text x="{MARGIN + 160 * kind}" y="20" fill="{colour}">{html.escape(name)}</text>')
        for i, pair in enumerate(heights):
            height = pair[kind] / top * (HEIGHT - 2 * MARGIN)
            lines.append(f'<rect x="{MARGIN + i * width:.1f}" y="{HEIGHT - MARGIN - height:.1f}" width="{0.9 * width:.1f}" '
                         f'height="{height:.1f}" fill="{colour}"/>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" font-size="13" role="img">{"".join(lines)}</svg>'
