"""Plots as SVG, for pages without scripts: lines over steps, small panels for many of them, bars.

Every plot is drawn twice, for a wide and for a narrow window, so that its text has the same size in both; the page shows one
of the two.  Curves are labelled at their ends.  The text alternative says where each curve starts, turns and ends.
"""
from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil
from statistics import fmean
from typing import NamedTuple

from minixl.report.drawing import LABEL_GAP, Frame, Labels, decimals_of, spread, tag, text, text_width, ticks_within, wrapped

WIDTHS = {"wide": 704, "narrow": 358}  # pixels: the text column of the page, and that of a phone
HEIGHT = 280
PANEL = (168, 136)                     # width and height of a small panel
COLOURS = tuple(f"var(--s{i})" for i in range(6))
MOST_LINES = len(COLOURS)              # in one plot; more lines are drawn as small panels
MOST_DOTS = 30                         # a line with fewer points shows each of them

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


def axis(heights: Sequence[float], within: Range | None, most: int = 5) -> list[float]:
    """Return the ticks of the axis for `heights`, round numbers; the first and the last are its ends.

    The axis includes 0.  With `within`, the ends of the scale, it spans the heights and a small margin inside the scale:
    differences between curves are visible however high they lie.
    """
    low, top = min(heights), max(heights)
    if within is None:
        low, top = min(0.0, low), max(0.0, top)
        return ticks_within(low, top if top > low else low + 1.0, most)                    # if all are 0
    margin = 0.05 * (top - low) or 0.01 * (within[1] - within[0])
    return ticks_within(max(low - margin, min(within[0], low)), min(top + margin, max(within[1], top)), most)


def svg(curves: Mapping[str, Curve | Band], label: str, within: Range | None = None, unit: str = "step") -> str:
    """Plot named curves over steps; the deviation of a Band is shaded on both sides.  Returns "" if there are no points.

    unit: of the axis, if it is not that of steps.  The axis of values includes 0; with `within` it spans the curves, see axis().
    """
    bands = {name: curve if isinstance(curve, Band) else Band(curve, [0.0] * len(curve)) for name, curve in curves.items()}
    bands = {name: band for name, band in bands.items() if band.mean}
    if not bands:
        return ""
    if len(bands) > MOST_LINES:
        return _panels(bands, label, within)
    heights, right = _heights(bands), _last_step(bands)
    about = f"{label}, over {right:,g} {unit}s. " + " ".join(_in_words(name, band, unit) for name, band in bands.items())
    return "".join(_lines(bands, label, axis(heights, within), right, about, kind, unit) for kind in WIDTHS)


def _heights(bands: Mapping[str, Band]) -> list[float]:
    return [y + side * d for band in bands.values() for (_, y), d in zip(band.mean, band.deviation, strict=True)
            for side in (-1, 1)]


def _last_step(bands: Mapping[str, Band]) -> float:
    return max(x for band in bands.values() for x, _ in band.mean)


def _in_words(name: str, band: Band, unit: str = "step") -> str:
    """Say where a curve starts, its lowest and highest point and where it ends."""
    (first, start), (last, end) = band.mean[0], band.mean[-1]
    (at_low, low), (at_high, high) = (pick(band.mean, key=lambda point: point[1]) for pick in (min, max))
    return (f"{name}: starts at {start:.3g} ({unit} {first:,g}), lowest {low:.3g} ({unit} {at_low:,g}), highest {high:.3g} "
            f"({unit} {at_high:,g}), ends at {end:.3g} ({unit} {last:,g}).")


def _lines(bands: Mapping[str, Band], label: str, ticks: Sequence[float], right: float, about: str, kind: str,
           unit: str) -> str:
    """Draw up to MOST_LINES curves in one frame, their names beside their ends."""
    width = WIDTHS[kind]
    names = {name: wrapped(name, width // 3, most=min(3, (HEIGHT - 30) // LABEL_GAP // len(bands))) for name in bands}
    room = max(text_width(line) for lines in names.values() for line in lines)
    frame = Frame(width, HEIGHT, ticks, ticks_within(0, right, 6 if kind == "wide" else 3, whole=True), right,
                  left=max(text_width(tick) for tick in decimals_of(ticks)) + 12, top=38, margin_right=room + 26, bottom=44)
    parts = [text(0, 14, label, fill="var(--muted)"), *frame.grid(), frame.title_of_steps(unit)]
    colours = dict(zip(bands, COLOURS, strict=False))
    for name, band in bands.items():
        parts += _curve(frame, band, colours[name], dots=len(band.mean) < MOST_DOTS)
    ends = {name: frame.place(*band.mean[-1]) for name, band in bands.items()}
    labels = [Labels(ends[name][1], names[name]) for name in bands]
    for (name, lines), middle in zip(names.items(), spread(labels, frame.top - 12, HEIGHT - 2), strict=True):
        x, y = ends[name]
        start = width - room
        parts.append(tag("path", d=f"M{x + 5:.1f},{y:.1f}L{start - 6:.1f},{middle:.1f}", fill="none", stroke=colours[name],
                         stroke_width=1, opacity=0.5))
        first = middle - LABEL_GAP * (len(lines) - 1) / 2 + 4.5
        parts += [text(start, first + LABEL_GAP * i, line, fill=colours[name], font_weight=600) for i, line in enumerate(lines)]
    return _picture(parts, width, HEIGHT, about, kind)


def _curve(frame: Frame, band: Band, colour: str, *, dots: bool, width: float = 2) -> list[str]:
    """Draw the shaded deviation, the line and its points."""
    parts, points = [], [frame.point(x, y) for x, y in band.mean]
    if any(band.deviation):
        edges = list(zip(band.mean, band.deviation, strict=True))
        edge = [frame.point(x, y + d) for (x, y), d in edges] + [frame.point(x, y - d) for (x, y), d in reversed(edges)]
        parts.append(f'<polygon fill="{colour}" opacity="0.18" points="{" ".join(edge)}"/>')
    parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round" '
                 f'points="{" ".join(points)}"/>')
    for point in points if dots or len(points) == 1 else []:
        x, y = point.split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="{1.5 * width:g}" fill="{colour}"/>')
    return parts


def _panels(bands: Mapping[str, Band], label: str, within: Range | None) -> str:
    """Draw a small panel for each curve, all with the same axes and with the mean of all curves in grey."""
    right, ticks = _last_step(bands), axis(_heights(bands), within, 3)
    values: dict[float, list[float]] = {}
    for band in bands.values():
        for step, value in band.mean:
            values.setdefault(step, []).append(value)
    mean = Band([(step, fmean(at)) for step, at in sorted(values.items()) if len(at) == len(bands)], [])
    note = f"{label}, by step.  All panels have the same axes." + \
        (f"  The grey line is the mean of all {len(bands)}." if mean.mean else "")
    decimals = 2 if within is None else 1
    panels = []
    for name, band in bands.items():
        lines = [(mean, "var(--muted)", 1)] if mean.mean else []
        end = f"{band.mean[-1][1]:.{decimals}f}"
        panels.append(_panel(name, [*lines, (band, COLOURS[0], 2)], ticks, right, [(end, COLOURS[0])],
                             f"{label}. {_in_words(name, band)}"))
    return _grid(note, panels)


def panels(curves: Mapping[str, Mapping[str, Band]], label: str, within: Range | None = None) -> str:
    """Plot the curves of up to MOST_LINES groups in a small panel for each title, all with the same axes.

    curves: title -> group -> curve.  The key above the panels has the colours of the groups.
    """
    names = list(dict.fromkeys(name for of_title in curves.values() for name in of_title))
    colours = dict(zip(names, COLOURS, strict=False))
    bands = {f"{title} {name}": band for title, of_title in curves.items() for name, band in of_title.items()}
    ticks, right = axis(_heights(bands), within, 3), _last_step(bands)
    decimals = 2 if within is None else 1
    drawn = []
    for title, of_title in curves.items():
        ends = [(f"{band.mean[-1][1]:.{decimals}f}", colours[name]) for name, band in of_title.items()]
        about = " ".join(_in_words(name, band) for name, band in of_title.items())
        drawn.append(_panel(title, [(band, colours[name], 2) for name, band in of_title.items()], ticks, right, ends,
                            f"{label}, {title}. {about}"))
    key = " ".join(f'<strong style="color:{colours[name]}">{html.escape(name)}</strong>' for name in names)
    return f'<p class="key">{key}</p>' + _grid(f"{label}, by step.  All panels have the same axes.", drawn)


def _panel(title: str, curves: Sequence[tuple[Band, str, float]], ticks: Sequence[float], right: float,
           ends: Sequence[tuple[str, str]], about: str) -> str:
    """Draw a small panel.  curves: band, colour and width of the line; ends: last values and their colours, as far as they fit."""
    width, height = PANEL
    frame = Frame(width, height, ticks, [0, right], right, size=12, left=max(map(text_width, decimals_of(ticks))) + 8, top=30,
                  margin_right=text_width(f"{right:,g}") / 2 + 2, bottom=24)
    parts, x = frame.grid(), float(width)
    for value, colour in reversed(ends) if sum(text_width(value) + 8 for value, _ in ends) < 0.75 * width else ():
        parts.append(text(x, 13, value, text_anchor="end", fill=colour, font_weight=600))
        x -= text_width(value) + 8
    parts.append(text(0, 13, wrapped(title, x - 8, most=1)[0], font_weight=600, fill="var(--ink)"))
    for band, colour, line in curves:
        parts += _curve(frame, band, colour, dots=False, width=line)
    return _picture(parts, width, height, about)


def _grid(note: str, drawn: Sequence[str]) -> str:
    return f'<p class="note">{html.escape(note)}</p><div class="panels">{"".join(drawn)}</div>'


def bars(heights: Sequence[tuple[float, float]], ends: tuple[str, str], names: tuple[str, str]) -> str:
    """Plot bars, each (total, part of it) in two colours.

    ends: labels below the first and the last bar; names: of the total and the part.
    """
    top = max((whole for whole, _ in heights), default=0) or 1
    sums = [sum(pair[kind] for pair in heights) for kind in (0, 1)]
    largest = max(range(len(heights)), key=lambda i: heights[i][0]) + 1 if heights else 0
    about = (f"{len(heights)} bars from {ends[0]} to {ends[1]}. {names[0]}: {sums[0]:,g} in total, the highest bar is number "
             f"{largest} with {top:,g}. {names[1]}: {sums[1]:,g} in total.")
    return "".join(_bars(heights, ends, names, ticks_within(0, top, 4, whole=True), about, kind) for kind in WIDTHS)


def _bars(heights: Sequence[tuple[float, float]], ends: tuple[str, str], names: tuple[str, str], ticks: Sequence[float],
          about: str, kind: str) -> str:
    width, height = WIDTHS[kind], 220
    frame = Frame(width, height, ticks, [], max(len(heights), 1), left=max(map(text_width, decimals_of(ticks))) + 12, top=34,
                  margin_right=2, bottom=26)
    bottom = height - frame.bottom
    parts = [*frame.grid(), text(frame.left, bottom + 20, ends[0], fill="var(--muted)"),
             text(width - 2, bottom + 20, ends[1], fill="var(--muted)", text_anchor="end")]
    x = 0.0
    for name, colour, part, opacity in zip(names, ("var(--muted)", COLOURS[0]), (0, 1), (0.45, 1), strict=True):
        parts += [tag("circle", cx=x + 5, cy=9.5, r=5, fill=colour, opacity=opacity), text(x + 16, 14, name, fill=colour)]
        x += text_width(name) + 40
        for i, pair in enumerate(heights):
            (left, y), (right, _) = frame.place(i, pair[part]), frame.place(i + 1, 0)
            parts.append(tag("rect", x=f"{left:.1f}", y=f"{y:.1f}", width=f"{0.9 * (right - left):.1f}",
                             height=f"{bottom - y:.1f}", fill=colour, opacity=opacity))
    return _picture(parts, width, height, about, kind)


def _picture(parts: Sequence[str], width: int, height: int, about: str, kind: str = "") -> str:
    """Return an SVG with a text alternative.  kind: the window that it is for, "" for any."""
    return (f'<svg viewBox="0 0 {width} {height}" font-size="{13 if kind else 12}" role="img" aria-label="{html.escape(about)}"'
            + (f' class="{kind}"' if kind else "") + f'>{"".join(parts)}</svg>')
