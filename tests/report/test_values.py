"""Pages of runs written by hand: every curve that is drawn, every row of a table, and where a plot says which is which."""
import json
import re
import statistics

import pytest

import minixl.report.page_of_run as report
from minixl.report.comparison import band
from minixl.report.final_scores import final_scores
from minixl.report.plots import PERCENT, Band, bars, svg
from minixl.run.folder import begin
from tests.report.compared import group, read_folder, write_comparison, write_report
from tests.whole_runs import inputs, settings

SPREAD = statistics.stdev([1, 2, 6])               # mean 3, median 2


def update(step, loss, value, accuracy=None):
    return {"kind": "update", "step": step, "loss": loss, "value": value, "accuracy": accuracy}


def scores(test, last, oracle):
    return {"test": {"en": {"f1": 0.9}, "es": {"f1": test}}, "last": {"en": {"f1": 0.8}, "es": {"f1": last}},
            "oracle": {"es": {"f1": oracle}}}


def write_run(folder, seed=1, *, log=(), metrics=None, given=None, **changes):
    """A run folder with this log; finished where there are metrics."""
    folder.mkdir(parents=True)
    begin(folder, settings(**changes), given or inputs(folder.parent), seed, {})
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    if metrics:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def log(test, accuracy):
    """One update and one evaluation, whose scores on es are `test` and half of it."""
    return [update(0, "task", 4.0), update(0, "discriminator", 2.0, accuracy),
            {"kind": "evaluation", "step": 1, "dev": {"en": {"f1": 0.5}, "es": {"f1": test / 2}}, "test": {"es": {"f1": test}}}]


def table(page, heading):
    """The rows of the first table below a heading, head first; what says that there is no figure is empty."""
    below = page.split(f"<h2>{heading}</h2>")[1] if heading else page
    return [[cell.strip("–") for cell in re.findall("<t[hd]>(.*?)</t[hd]>", row)]
            for row in re.findall("<tr>(.*?)</tr>", below.split("</table>")[0])]


@pytest.fixture
def drawn(monkeypatch):
    """(curves, label) of every plot in the order they were drawn."""
    calls = []
    monkeypatch.setattr(report, "svg", lambda curves, label, *_: calls.append((dict(curves), label)) or "")
    return calls


def three_seeds(folder):
    """Scores .01, .02, .06 and accuracies .1, .2, .6 of three seeds."""
    for seed, value in ((1, 1), (2, 2), (3, 6)):
        write_run(folder / "runs" / f"seed-{seed}", seed, given=inputs(folder), log=log(value / 100, value / 10),
                  metrics=scores(value / 100, value / 50, value / 25))
    return folder / "runs"


def test_a_band_is_the_mean_and_not_the_median():
    assert band([[(5, 1.0)], [(5, 2.0)], [(5, 6.0)]]) == Band([(5, pytest.approx(3))], [pytest.approx(SPREAD)])


def test_curves_side_by_side_are_means_in_percent(tmp_path, drawn):
    write_comparison([three_seeds(tmp_path)], tmp_path / "page.html")
    name = "runs (3 seeds)"

    def mean(step, value, spread):
        return {name: Band([(step, pytest.approx(value))], [pytest.approx(spread)])}
    assert drawn == [(mean(1, 3, SPREAD), "f1, %"),                                       # test es
                     (mean(1, 50, 0), "f1, %"), (mean(1, 1.5, SPREAD / 2), "f1, %"),         # dev en, dev es
                     (mean(1, 0.3, SPREAD / 10), "share classified correctly, 0.5 by chance")]
    page = (tmp_path / "page.html").read_text()
    headings = ["Final scores", "Test f1, es", "Dev f1, en", "Dev f1, es", "Accuracy of the discriminator"]
    assert re.findall("<h2>(.*?)</h2>", page) == headings


def long_log(steps, accuracy, every):
    """So many steps of a discriminator that is always as good, and an evaluation every so many and at the end."""
    dev = {"en": {"f1": accuracy}}
    found = []
    for step in range(1, steps + 1):
        found += [update(step - 1, "discriminator", 1.0, accuracy)]
        found += [{"kind": "evaluation", "step": step, "dev": dev}] if step % every == 0 or step == steps else []
    return found


@pytest.mark.parametrize("third", [None, 1400, 1203])
def test_runs_of_several_lengths_are_no_zigzag(tmp_path, drawn, third):
    """The shorter ends within a stretch of the longer one's curve, and at a step at which only it is evaluated."""
    lengths = {1: 998, 2: 1400, **({3: third} if third else {})}
    for seed, steps in lengths.items():
        log = long_log(steps, 0.6 if seed == 1 else 0.9, every=100)
        write_run(tmp_path / "runs" / f"seed-{seed}", seed, given=inputs(tmp_path), log=log)
    write_comparison([tmp_path / "runs"], tmp_path / "page.html")
    (scores,), (accuracies,) = (curves.values() for curves, _ in drawn)
    mean, last = (0.8, third) if third else (0.75, 998)
    last_stretch = -(-last // 7) * 7                                   # 200 stretches of 7 steps
    for found, unit, steps in ((scores, 100, [*range(100, last + 1, 100)]), (accuracies, 1, [*range(7, last_stretch + 1, 7)])):
        assert [step for step, _ in found.mean] == steps
        early = [value for step, value in found.mean if step < 998]
        assert early == [pytest.approx(mean * unit)] * len(early)
        later = found.mean[len(early) + (unit == 1):]                  # the stretch in which the first run ends is of all
        assert [value for _, value in later] == [pytest.approx(0.9 * unit)] * len(later) and bool(later) == bool(third)
    made = ", ".join(f"seed {seed} made {steps} steps" for seed, steps in lengths.items())
    assert f"<p>runs ({len(lengths)} seeds): {made}; a point of a curve is the mean of" in (tmp_path / "page.html").read_text()


def test_no_message_about_runs_of_one_length(tmp_path, drawn):
    write_comparison([three_seeds(tmp_path)], tmp_path / "page.html")
    assert " made " not in (tmp_path / "page.html").read_text()


def test_final_scores_of_several_seeds(tmp_path):
    groups = write_comparison([three_seeds(tmp_path)], tmp_path / "page.html").groups
    row = next(row for row in final_scores(groups, "f1") if row["language"] == "es")
    for heading, unit in (("selected", 0.01), ("last", 0.02), ("oracle", 0.04)):
        assert row[heading] == {"mean": pytest.approx(3 * unit), "sd": pytest.approx(SPREAD * unit), "runs": 3}
    head, *found = table((tmp_path / "page.html").read_text(), "Final scores")
    assert head[1:] == ["run", "selected", "last", "oracle"]
    assert found == [["en", "runs (3 seeds)", "90.0 ± 0.0", "80.0 ± 0.0", ""],
                     ["es", "runs (3 seeds)", "3.0 ± 2.6", "6.0 ± 5.3", "12.0 ± 10.6"]]


def test_final_scores_and_settings_of_two_runs(tmp_path):
    for name, batch_size, values in (("one", 4, (0.1, 0.2, 0.3)), ("two", 8, (0.4, 0.5, 0.6))):
        write_run(tmp_path / name, log=log(0.5, 0.5), metrics=scores(*values), train__batch_size=batch_size)
    write_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert table(page, "Final scores")[1:] == [["en", "one", "90.0", "80.0", ""], ["en", "two", "90.0", "80.0", ""],
                                               ["es", "one", "10.0", "20.0", "30.0"], ["es", "two", "40.0", "50.0", "60.0"]]
    head, *found = table(page, "What differs")
    assert head[1:] == ["one", "two"] and found == [["train.batch_size", "4", "8"]]


@pytest.mark.parametrize(("role", "file"), [("source", "other.txt"), ("test", "other.txt"), ("unlabelled", "other.raw")])
def test_runs_on_other_data_are_another_group(tmp_path, role, file):
    """The same settings and another seed, but not the same text."""
    other = inputs(tmp_path, **{role: [("en", tmp_path / file)]})
    write_run(tmp_path / "one", 1)
    write_run(tmp_path / "two", 2, given=other)
    write_run(tmp_path / "three", 3)
    runs = [read_folder(tmp_path / name) for name in ("one", "two", "three")]
    assert [(name, [run.seed for run in members]) for name, members in group(runs)[0]] == [("one (2 seeds)", [1, 3]), ("two", [2])]
    assert [name for name, _ in group(runs[:2])[0]] == ["one", "two"]


@pytest.mark.parametrize(("changed", "groups"), [({"train__score_tests": True}, 1), ({"train__checkpoint_every": 7}, 1),
                                                 ({"advpicker__audit": True}, 1), ({"optim__lr": 0.1}, 2)])
def test_settings_that_change_no_figure_divide_no_group(tmp_path, changed, groups):
    folders = [write_run(tmp_path / "one", 1), write_run(tmp_path / "two", 2, **changed)]
    assert len(group(map(read_folder, folders))[0]) == groups
    again = read_folder(write_run(tmp_path / "three", 1, **changed))
    if groups == 1:
        (one,), warnings = group([read_folder(folders[0]), again])
        assert one[1] == [read_folder(folders[0])]
        assert warnings == [f"{tmp_path / 'three'}: skipped, since it has the same settings, inputs and seed as {folders[0]}"]


def test_the_report_of_a_run(tmp_path, drawn):
    records = [*log(0.25, 0.75), update(1, "task", 2.0), update(1, "discriminator", 3.0, 0.5),
               {"kind": "evaluation", "step": 2, "dev": {"en": {"f1": 0.625}}, "test": {"es": {"f1": 0.5}}}]
    metrics = {"method": "finetune", "task": "ner", "seed": 1, **scores(0.1, 0.2, 0.3), "steps": 40, "selected_step": 30,
               "seconds": 12.0, "tokens_per_second": 345.0, "peak_memory_bytes": 3 * 2 ** 29}
    write_run(tmp_path / "run", log=records)
    write_report(tmp_path / "run", metrics)
    assert drawn == [({"task": [(1, 4.0), (2, 2.0)], "discriminator": [(1, 2.0), (2, 3.0)]}, "loss"),
                     ({"discriminator": [(1, 0.75), (2, 0.5)]}, "share classified correctly, 0.5 by chance"),
                     ({"en": [(1, 50.0), (2, 62.5)], "es": [(1, 12.5)]}, "f1, %"),
                     ({"es": [(1, 25.0), (2, 50.0)]}, "f1, %")]
    page = (tmp_path / "run" / "report.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", page) == ["Loss", "Accuracy of the discriminator", "Dev f1", "Test f1"]
    head, *found = table(page, "")
    assert head[1:] == ["selected", "last", "oracle"]
    assert found == [["en", "90.0", "80.0", ""], ["es", "10.0", "20.0", "30.0"]]
    assert re.search("<p>40 steps, [^;]* from step 30; 12 s of training at 345 word pieces a second; 1.50 GiB of host memory at "
                     "the peak", page)


def texts(picture):
    """(content, attributes) of every text in a plot."""
    return [(content, dict(re.findall(r'([\w-]+)="([^"]*)"', given)))
            for given, content in re.findall("<text ([^>]*)>([^<]*)</text>", picture)]


def test_the_legend_names_a_curve_by_its_colour():
    """The first curve rises, the second falls."""
    picture = svg({"rising": [(1, 0.0), (2, 10.0)], "falling": [(1, 10.0), (2, 0.0)]}, "score")
    names = {given["fill"]: content for content, given in texts(picture) if "fill" in given}
    found = {}
    for line in re.findall("<polyline [^>]*>", picture):
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', line))
        left, right = (float(point.split(",")[1]) for point in given["points"].split())
        found[names[given["stroke"]]] = "up" if right < left else "down"               # y counts from the top of the page
    assert found == {"rising": "up", "falling": "down"}


@pytest.mark.parametrize(("values", "how"), [((2.0, 8.0), {}), ((-5.0, -1.0), {}), ((40.0, 80.0), {"within": PERCENT})])
def test_the_numbers_of_the_axis_stand_where_they_belong(values, how):
    """A curve's points are as high as the two numbers say."""
    picture = svg({"a": [(1, values[0]), (4, values[1])]}, "score", **how)
    axis = [(float(content), float(given["y"])) for content, given in texts(picture) if given["x"] == "4"]
    (low, bottom), (high, top) = sorted(axis)
    assert low <= values[0] < values[1] <= high
    heights = [float(point.split(",")[1]) for point in re.search('<polyline[^>]*points="([^"]*)"', picture)[1].split()]
    for value, height in zip(values, heights, strict=True):
        assert height == pytest.approx(bottom - (value - low) / (high - low) * (bottom - top), abs=0.06)
    assert heights[1] < heights[0] and "step 4" in [content for content, _ in texts(picture)]


def test_bars_are_named_by_their_colours():
    """The whole is as high as the number at the axis says, its part a fourth of it."""
    picture = bars([(8, 2)], ("0", "1"), ("all", "selected"))
    names = {given["fill"]: content for content, given in texts(picture) if "fill" in given}
    found = {names[colour]: float(height) for height, colour in re.findall('height="([0-9.]+)" fill="([^"]*)"', picture)}
    assert set(found) == {"all", "selected"} and found["all"] == pytest.approx(4 * found["selected"], abs=0.2)
    ends = {content: float(given["x"]) for content, given in texts(picture) if "fill" not in given and given["x"] != "4"}
    assert ends["0"] < ends["1"] and "8" in [content for content, _ in texts(picture)]
