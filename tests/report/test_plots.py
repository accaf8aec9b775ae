"""Plots: to scale, with round numbers on their axes, labels that do not overlap and a text alternative."""
import re

import pytest

from minixl.report.drawing import Labels, spread, text_width, wrapped
from minixl.report.plots import PERCENT, Band, bars, svg


def numbers(text):
    return [tuple(map(float, point.split(","))) for point in text.split()]


def test_plots_are_to_scale():
    picture = svg({"a<b": [(1, 0.0), (2, 5.0), (4, 10.0)], "flat": Band([(1, 4.0), (4, 4.0)], [2.0, 1.0])}, "score")
    picture = wide(picture)
    (ax, ay), (bx, by), (cx, cy) = numbers(re.search(r'polyline[^>]*points="([^"]*)"', picture)[1])
    assert (ay - by) == pytest.approx(by - cy) and (cx - bx) == pytest.approx(2 * (bx - ax), abs=0.2) and cy < by < ay
    upper, upper_end, lower_end, lower = numbers(re.search(r'polygon[^>]*points="([^"]*)"', picture)[1])
    assert lower[1] - upper[1] == pytest.approx(2 * (lower_end[1] - upper_end[1]))         # 4 high, then 2
    assert picture.count("<polygon") == 1 and "a&lt;b" in picture
    assert svg({}, "score") == "" and wide(svg({"zero": [(1, 0.0)]}, "score")).count("<polyline") == 1
    assert svg({"below": [(1, -3.0), (2, -1.0)]}, "score").count("nan") == 0
    assert "nan" not in svg({"zero": [(1, 0.0)]}, "score", PERCENT)
    heights = re.findall(r' height="([0-9.]+)"', wide(bars([(4, 1), (2, 2)], ("0", "1"), ("all", "selected"))))
    assert [float(h) / float(heights[0]) for h in heights] == pytest.approx([1, 0.5, 0.25, 0.5], abs=1e-2)


def wide(picture):
    """The plot for a wide window, which comes first."""
    return picture.split("</svg>")[0]


def ticks(curve, within):
    """The numbers of the axis of values from below, and how much of its height the curve takes."""
    picture = wide(svg({"score": curve}, "f1", within))
    heights = [y for _, y in numbers(re.search(r'polyline[^>]*points="([^"]*)"', picture)[1])]
    rows = re.findall(r'<text x="[^"]*" y="([^"]*)" text-anchor="end"[^>]*>([^<]*)</text>', picture)
    places = [float(y) for y, _ in rows]
    return [number for _, number in rows], (max(heights) - min(heights)) / (max(places) - min(places))


@pytest.mark.parametrize(("values", "numbers"), [
    ((62.3, 71.9), "60 65 70 75"), ((71.23, 71.27), "71.22 71.23 71.24 71.25 71.26 71.27 71.28"),
    ((0.0, 100.0), "0 20 40 60 80 100"),
    ((70.0, 70.0), "69.0 69.5 70.0 70.5 71.0"), ((0.0, 0.0), "0.0 0.2 0.4 0.6 0.8 1.0"),
    ((100.0, 100.0), "99.0 99.2 99.4 99.6 99.8 100.0"), ((35.0, 98.0), "20 40 60 80 100")])
def test_the_axis_of_scores_spans_them(values, numbers):
    """So that a difference of a point is visible near 90 too; round numbers, never beyond 0 and 100."""
    labels, share = ticks(list(enumerate(values, 1)), PERCENT)
    assert " ".join(labels) == numbers
    assert share > (0.6 if values[0] < values[1] else -1)


def test_the_axis_of_losses_begins_at_0():
    assert ticks([(1, 62.3), (2, 71.9)], None)[0] == ["0", "20", "40", "60", "80"]
    assert ticks([(1, 0.04), (2, 0.02)], None)[0] == ["0.00", "0.01", "0.02", "0.03", "0.04"]
    assert ticks([(1, 1234.0)], None)[0] == ["0", "500", "1,000", "1,500"]
    assert ticks([(1, -3.0), (2, -1.0)], None)[0] == ["-3", "-2", "-1", "0"]


def test_a_band_stays_on_the_axis():
    """Mean and deviation together may lie above 100."""
    picture = svg({"band": Band([(1, 98.0), (2, 99.0)], [4.0, 3.0])}, "f1", PERCENT)
    top = min(float(y) for y in re.findall(r'<path d="M[0-9.]+,([0-9.]+)H', wide(picture)))
    assert min(y for _, y in numbers(re.search(r'polygon[^>]*points="([^"]*)"', picture)[1])) >= top


def test_labels_at_the_ends_of_lines_are_pushed_apart():
    labels = [Labels(100.0, ["a"]), Labels(101.0, ["b", "c"]), Labels(99.0, ["d"]), Labels(250.0, ["e"])]
    assert spread(labels, 0, 280) == pytest.approx([91, 118, 73, 250])
    assert spread([Labels(0.0, ["a"]), Labels(0.0, ["b"]), Labels(279.0, ["c"])], 0, 280) == [9, 27, 271]
    assert spread(labels[:1] * 3, 90, 280) == [99, 117, 135]


def test_long_names_are_broken_and_cut():
    assert wrapped("es", 100) == ["es"] and wrapped("with-adversary (3 seeds)", 150) == ["with-adversary", "(3 seeds)"]
    lines = wrapped("/data/somewhere/deep/" * 9, 100)
    assert len(lines) == 3 and lines[-1].endswith("…") and all(text_width(line) <= 100 for line in lines)
    assert len(wrapped("日本語の実験の名前", 60)) > 1


def test_a_plot_says_in_words_what_its_curves_do():
    about = re.search('aria-label="([^"]*)"', svg({"e<s": [(10, 20.0), (20, 71.26), (1000, 60.0)]}, "f1, %", PERCENT))[1]
    assert about == ("f1, %, over 1,000 steps. e&lt;s: starts at 20 (step 10), lowest 20 (step 10), highest 71.3 (step 20), "
                     "ends at 60 (step 1,000).")
    about = re.search('aria-label="([^"]*)"', bars([(4, 1), (6, 2)], ("0", "1"), ("all", "selected")))[1]
    assert about == "2 bars from 0 to 1. all: 10 in total, the highest bar is number 2 with 6. selected: 3 in total."


def test_more_lines_than_colours_are_small_panels():
    """All with the same axes, their own name and last value, and the mean of all in grey at the steps that all have."""
    curves = {f"l{i}": [(1, 10.0 * i), (3, 20.0 + i)] + [(4, 50.0)] * (i == 0) for i in range(7)}
    assert svg(dict(list(curves.items())[:6]), "f1, %", PERCENT).count("<svg") == 2
    page = svg(curves, "f1, %", PERCENT)
    panels = page.split("<svg")[1:]
    assert len(panels) == 7 and "The grey line is the mean of all 7." in page
    axes = [re.findall(r'text-anchor="(?:end|middle)" fill="var\(--muted\)">([^<]*)<', panel) for panel in panels]
    assert axes == [["0", "50", "100", "0", "4"]] * 7
    for i, panel in enumerate(panels):
        assert f">l{i}</text>" in panel and f">{50.0 if i == 0 else 20.0 + i:.1f}</text>" in panel
        grey, own = re.findall('<polyline[^>]*stroke="([^"]*)"[^>]*points="([^"]*)"', panel)
        assert grey[0] == "var(--muted)" and own[0] == "var(--s0)" and len(grey[1].split()) == 2
    middle = panels[3]                                     # 30, 23: the mean itself
    assert len({points for _, points in re.findall('<polyline[^>]*stroke="([^"]*)"[^>]*points="([^"]*)"', middle)}) == 1
