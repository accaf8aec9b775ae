"""Curves of several groups: the mean over the target languages, marks, and panels where there are many languages."""
import json
import re

import pytest

from minixl.methods import LOSSES
from minixl.report.group_curves import score_plots
from minixl.report.plots import PERCENT, Band, panels
from tests.report.compared import group, read_folder
from tests.report.test_inputs_compared import write_run


def write_curves(folder, values, **changes):
    """A run with test scores at steps 1 and 2: language -> two scores."""
    files = {"test": [(language, folder.parent / f"{language}.txt") for language in values]}
    write_run(folder, files=files, finished=False, **changes)
    scores = [{language: {"f1": f1[step]} for language, f1 in values.items()} for step in (0, 1)]
    records = [{"kind": "evaluation", "step": step, "dev": {}, "test": test} for step, test in enumerate(scores, 1)]
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def drawn(monkeypatch, *folders):
    """What is plotted: heading -> name of a curve -> its values; and the titles of the panels."""
    plots, titles = {}, []
    monkeypatch.setattr("minixl.report.group_curves.plot", lambda title, curves, *_: plots.setdefault(
        title, {name: [round(y, 6) for _, y in curve.mean] for name, curve in curves.items()}) and [title])
    monkeypatch.setattr("minixl.report.group_curves.panels", lambda curves, *_: titles.extend(curves) or "")
    score_plots(group(map(read_folder, folders))[0], LOSSES)
    return plots, titles


def test_the_mean_over_the_target_languages_is_drawn(tmp_path, monkeypatch):
    """Not over the source language en."""
    one = write_curves(tmp_path / "one", {"en": (0.9, 0.9), "es": (0.1, 0.2), "fr": (0.3, 0.6)})
    plots, titles = drawn(monkeypatch, one)
    assert plots["Test f1, target mean"] == {"one": [20.0, 40.0]} and plots["Test f1, es"] == {"one": [10.0, 20.0]}
    fewer = write_curves(tmp_path / "fewer", {"en": (0.9, 0.9), "es": (0.1, 0.2)})
    assert "Test f1, target mean" not in drawn(monkeypatch, one, fewer)[0] and titles == []


def test_curves_on_other_test_data_are_marked(tmp_path, monkeypatch):
    one = write_curves(tmp_path / "one", {"es": (0.1, 0.2)})
    two = write_curves(tmp_path / "two", {"es": (0.1, 0.2)}, data__test_limit=7)
    assert list(drawn(monkeypatch, one, two)[0]["Test f1, es"]) == ["one", "two *"]


def test_many_languages_are_drawn_as_panels(tmp_path, monkeypatch):
    values = {f"l{i}": (0.1, 0.2) for i in range(6)}
    one = write_curves(tmp_path / "one", values)
    plots, titles = drawn(monkeypatch, one, write_curves(tmp_path / "two", values, data__test_limit=7))
    assert list(plots) == ["Test f1, target mean"] and titles == [f"l{i} *" for i in range(6)]


def test_panels_of_groups():
    """The same axes in all panels, the colours of the key, and the last values."""
    band = lambda *values: Band(list(enumerate(values, 1)), [0.0] * len(values))
    curves = {"es": {"plain": band(10.0, 20.0), "with<": band(15.0, 30.0)}, "fr": {"with<": band(70.0, 80.0)}}
    page = panels(curves, "f1, %", PERCENT)
    colours = dict(re.findall('<strong style="color:([^"]*)">([^<]*)</strong>', page))
    assert list(colours.values()) == ["plain", "with&lt;"] and len(colours) == 2
    first, second = re.findall("<svg.*?</svg>", page)
    assert [colours[line] for line in re.findall('<polyline[^>]*stroke="([^"]*)"', first)] == ["plain", "with&lt;"]
    assert [colours[line] for line in re.findall('<polyline[^>]*stroke="([^"]*)"', second)] == ["with&lt;"]
    ends = {text: colours[colour] for colour, text in re.findall(r'fill="(var\(--s\d\))"[^>]*>([\d.]+)<', first)}
    assert ends == {"20.0": "plain", "30.0": "with&lt;"}
    places = [float(re.findall('points="[^"]*,([^" ]*)"', panel)[-1]) for panel in (first, second)]
    axis = 'y="([^"]*)" text-anchor="end" fill="var[(]--muted[)]">([^<]*)<'
    numbers = [{text: float(y) for y, text in re.findall(axis, panel)} for panel in (first, second)]
    assert numbers[0] == numbers[1] and places[1] < places[0]
    low, high = (numbers[0][text] - 4 for text in ("0", "100"))
    assert places == [pytest.approx(low + value / 100 * (high - low), abs=0.1) for value in (30, 80)]
