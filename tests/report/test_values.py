"""Pages of runs written by hand: every curve that is drawn, every row of a table, and where a plot says which is which."""
import json
import re
import statistics

import pytest

import minixl.report.page_of_run as report
from minixl import __version__
from minixl.evaluation.scores import score
from minixl.report.breakdown import breakdown
from minixl.report.group_curves import band
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
    assert f">runs ({len(lengths)} seeds): {made}; a point of a curve is the mean of" in (tmp_path / "page.html").read_text()


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
    assert re.findall("<h2>(.*?)</h2>", page) == ["Settings", "Input files", "Loss", "Accuracy of the discriminator",
                                                  "Dev f1", "Test f1"]
    head, *found = table(page, "")
    assert head[1:] == ["selected", "last", "oracle"]
    assert found == [["en", "90.0", "80.0", ""], ["es", "10.0", "20.0", "30.0"]]
    assert re.search("<p class=\"note\">40 steps, [^;]* from step 30; 12 s of training at 345 word pieces a second; "
                     "1.50 GiB of host memory at the peak", page)


def texts(picture):
    """(content, attributes) of every text in a plot for a wide window."""
    return [(content, dict(re.findall(r'([\w-]+)="([^"]*)"', attributes)))
            for attributes, content in re.findall("<text ([^>]*)>([^<]*)</text>", picture.split("</svg>")[0])]


def test_a_label_names_a_curve_by_its_colour_and_stands_at_its_end():
    """The first curve rises, the second falls."""
    picture = svg({"rising": [(1, 0.0), (2, 10.0)], "falling": [(1, 10.0), (2, 0.0)]}, "score")
    labels = {attributes["fill"]: (content, float(attributes["y"])) for content, attributes in texts(picture)}
    directions = {}
    for line in re.findall("<polyline [^>]*>", picture):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', line))
        left, right = (float(point.split(",")[1]) for point in attributes["points"].split())
        name, height = labels[attributes["stroke"]]
        directions[name] = "up" if right < left else "down"                            # y counts from the top of the page
        assert height == pytest.approx(right, abs=6)
    assert directions == {"rising": "up", "falling": "down"}


@pytest.mark.parametrize(("values", "within"), [((2.0, 8.0), None), ((-5.0, -1.0), None), ((40.0, 80.0), PERCENT)])
def test_the_numbers_of_the_axes_stand_where_they_belong(values, within):
    """A curve's points are where the numbers of both axes say."""
    picture = svg({"a": [(1, values[0]), (4, values[1])]}, "score", within)
    points = [tuple(map(float, point.split(","))) for point in re.search('<polyline[^>]*points="([^"]*)"', picture)[1].split()]
    for anchor, place, numbers in (("end", "y", values), ("middle", "x", (1, 4))):
        axis = [(float(content), float(attributes[place])) for content, attributes in texts(picture)
                if attributes.get("text-anchor") == anchor and content != "step"]
        (low, start), *_, (high, end) = sorted(axis)
        assert low <= numbers[0] < numbers[1] <= high
        for number, point in zip(numbers, points, strict=True):
            at = point[0] if place == "x" else point[1] + 4                            # the baseline of a number is lower
            assert at == pytest.approx(start + (number - low) / (high - low) * (end - start), abs=0.11)


def test_bars_are_named_by_their_colours():
    """The whole is as high as the numbers of the axis say, its part a fourth of it."""
    picture = bars([(8, 2)], ("first", "last"), ("all", "selected"))
    places = {content: attributes for content, attributes in texts(picture)}
    names = {places[name]["fill"]: name for name in ("all", "selected")}
    heights = {names[colour]: float(height) for height, colour in re.findall(' height="([0-9.]+)" fill="([^"]*)"', picture)}
    assert len(names) == 2 and heights["all"] == pytest.approx(4 * heights["selected"], abs=0.2)
    assert heights["all"] == pytest.approx(float(places["0"]["y"]) - float(places["8"]["y"]), abs=0.2)
    assert float(places["first"]["x"]) < float(places["last"]["x"])


def test_a_page_says_what_was_run_and_with_what(tmp_path):
    """The date, the version, changed settings, the files with digests and counts."""
    write_run(tmp_path / "run", optim__lr=0.25)
    en, encoder = (str(tmp_path / name) for name in ("en.txt", "encoder"))
    (tmp_path / "run" / "inputs.json").write_text(json.dumps({en: "0123456789abcdef", encoder: "fedcba9876543210"}))
    metrics = {"method": "finetune", "task": "ner", "seed": 1, **scores(0.1, 0.2, 0.3), "steps": 0}
    write_report(tmp_path / "run", metrics, counts={("source", "en"): 14041, ("test", "es"): 1517})
    page = (tmp_path / "run" / "report.html").read_text()
    assert f'<p class="about">1 March 2026, 14:05 · minixl {__version__}</p>' in page
    assert '<p class="summary">Test f1 in the target language es: <strong>10.0 %</strong>.</p>' in page
    changed = table(page, "Settings")
    assert changed[0] == ["setting", "value", "default"] and ["optim.lr", "0.25", "5e-05"] in changed
    assert all(value != default for _, value, default in changed[1:])
    files = table(page, "Input files")
    assert files[:2] == [["role", "language", "file", "items", "SHA-256"], ["encoder", "", "encoder", "", "fedcba987654"]]
    assert ["source", "en", "en.txt", "14041", "0123456789ab"] in files and ["test", "es", "es.txt", "1517", ""] in files
    assert "<script" not in page and "http" not in page


def test_several_files_of_a_language_are_one_input(tmp_path):
    given = inputs(tmp_path, test=[("es", tmp_path / "a.txt"), ("es", tmp_path / "b.txt")])
    folder = write_run(tmp_path / "run", given=given)
    (folder / "inputs.json").write_text(json.dumps({str(tmp_path / "a.txt"): "a" * 64, str(tmp_path / "b.txt"): "b" * 64}))
    write_report(folder, {"method": "finetune", "task": "ner", "seed": 1, **scores(0.1, 0.2, 0.3), "steps": 0},
                 counts={("test", "es"): 7})
    files = table((folder / "report.html").read_text(), "Input files")
    assert ["test", "es", "a.txt + b.txt", "7", f"{'a' * 12} + {'b' * 12}"] in files


def test_means_over_the_target_languages(tmp_path):
    """Not over the source language en, and only in columns that have all of them."""
    values = {"en": 0.9, "es": 0.2, "fr": 0.4}
    by_type = {name: {"precision": 0.5, "recall": 0.25, "f1": 0.375, "support": 7} for name in ("LOC", "PER")}
    metrics = {"method": "finetune", "task": "ner", "seed": 1, "steps": 0, "oracle": {"es": {"f1": 0.5}},
               "test": {language: {"f1": value, "by_type": by_type} for language, value in values.items()},
               "last": {language: {"f1": value / 2} for language, value in values.items()}}
    write_report(write_run(tmp_path / "run"), metrics)
    page = (tmp_path / "run" / "report.html").read_text()
    assert table(page, "")[1:] == [["en", "90.0", "45.0", ""], ["es", "20.0", "10.0", "50.0"], ["fr", "40.0", "20.0", ""],
                                   ["target mean", "30.0", "15.0", ""]]
    assert ("Mean test f1 over 2 target languages: <strong>30.0 %</strong>, from 20.0 (es) to 40.0 (fr)." in page
            and "target mean: over the test languages that are not source languages." in page)
    assert table(page, "Entity types") == [["language", "type", "precision", "recall", "f1", "support"]] + [
        [language, name, "50.0", "25.0", "37.5", support] for language in values
        for name, support in (("LOC", "7"), ("PER", "7"), ("macro", ""))]


def test_entity_types_of_many_languages_are_summed_up(tmp_path):
    row = {"precision": 0.5, "recall": 0.25, "support": 7}
    test = {f"l{i:02}": {"f1": 0.5, "by_type": {"LOC": {**row, "f1": i / 100}, "PER": {**row, "f1": 0.5}}} for i in range(13)}
    metrics = {"method": "finetune", "task": "ner", "seed": 1, "steps": 0, "test": test, "last": test, "oracle": {}}
    write_report(write_run(tmp_path / "run"), metrics)
    page = (tmp_path / "run" / "report.html").read_text()
    assert table(page, "Entity types") == [["type", "precision", "recall", "f1", "support"],
                                           ["LOC", "50.0", "25.0", "6.0", "91"], ["PER", "50.0", "25.0", "50.0", "91"],
                                           ["macro", "50.0", "25.0", "28.0", ""]]
    assert "<summary>Each language: 39 rows</summary>" in page


def test_classes_and_confusions_of_documents(tmp_path):
    """The matrix of the target languages together, each language to open; of many classes, what is confused most often."""
    gold, predicted = ["home", "home", "trip"], {"en": ["home"] * 3, "es": ["trip", "home", "home"], "fr": ["trip", "trip", "trip"]}
    test = {language: score("classification", gold, labels) for language, labels in predicted.items()}
    metrics = {"method": "finetune", "task": "classification", "seed": 1, "steps": 0, "test": test, "last": test, "oracle": {}}
    folder = write_run(tmp_path / "run", task="classification")
    (folder / "log.jsonl").write_text("")
    write_report(folder, metrics)
    page = (folder / "report.html").read_text()
    assert table(page, "Classes")[1] == ["en", "home", "66.7", "100.0", "80.0", "2"]
    confusions = page.split("<h2>Confusions</h2>")[1]
    cells = [re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", confusions)]
    assert cells[:3] == [["gold", "home", "trip"], ["home", "1", "3"], ["trip", "1", "1"]]
    assert cells[3:6] == [["gold", "home", "trip"], ["home", "2", "0"], ["trip", "1", "0"]]
    names = [f"class {i:02}" for i in range(13)]
    scores = {"es": score("classification", names, [*names[:11], *reversed(names[11:])])}
    page = "".join(breakdown(scores, ["en"]))
    assert table(page, "Confusions") == [["gold", "predicted", "documents"], ["class 11", "class 12", "1"],
                                         ["class 12", "class 11", "1"]]
