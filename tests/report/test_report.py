"""Curves, their CSV, the balance of the two adversaries, report.html, and several runs side by side."""
import csv
import io
import json
import re
import statistics

import pytest

from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.evaluation.scores import figures
from minixl.methods import LOSSES, train
from minixl.methods.adversary import verdict
from minixl.report.group_curves import band
from minixl.report.curves import COLUMNS, as_csv, columns_of, curve_rows
from minixl.report.final_scores import final_scores
from minixl.report.folders import expand
from minixl.report.page_of_run import score_curves
from minixl.report.plots import Band, smooth
from minixl.training.log import last_accuracy, read_log
from tests.report.compared import group, read_folder, update_curves, write_comparison
from tests.whole_runs import Quiet, advpicker, assert_same_run, inputs, records, run, settings, stopped, write_data

ADVERSARIAL = {"method": "language-adversarial", "adversary__level": "sentence"}


def update(step, loss, value, accuracy=None):
    return {"kind": "update", "step": step, "loss": loss, "value": value, "accuracy": accuracy}


ALL_COLUMNS = [*COLUMNS, "loss_task", "loss_discriminator", "loss_generator", "discriminator_accuracy"]
LOG = [update(0, "task", 4.0), update(0, "discriminator", 1.0, 0.5), update(0, "generator", 7.0, 0.1),
       update(1, "task", 2.0), update(1, "discriminator", 3.0, 0.75), update(1, "generator", 9.0, 0.2),
       {"kind": "evaluation", "step": 2, "dev": {"en": {"f1": 0.5}, "de": {"f1": 0.7}, "es": {"f1": 0.9}},
        "test": {"es": {"f1": 0.25}, "fr": {"f1": 0.75}}},
       update(2, "task", 1.0), update(2, "discriminator", 5.0, 1.0),
       {"kind": "evaluation", "step": 3, "dev": {}, "test": {"es": {"f1": 0.5}}}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """with/ and without/, each of two seeds; stopped/ has other settings and is not finished."""
    out = tmp_path_factory.mktemp("runs")
    scored = {"train__score_tests": True, "train__eval_every": 2}
    for name, changes in (("with", ADVERSARIAL), ("without", {})):
        train(settings(**changes, **scored), inputs(folder), out / name, seeds=[1, 2], reporter=Quiet())
    stopped(folder, out / "stopped", settings(**scored, optim__lr=0.1), 3)
    return out


def test_rows_are_means_since_the_evaluation_before():
    rows = curve_rows(LOG, "f1", ["en", "de"], LOSSES)
    first = {"step": 2, "source_dev": 0.6, "loss_task": 3.0, "loss_discriminator": 2.0, "loss_generator": 8.0,
             "discriminator_accuracy": 0.625}
    assert rows[:2] == [{**first, "language": "es", "score": 0.25}, {**first, "language": "fr", "score": 0.75}]
    assert rows[2:] == [{"step": 3, "language": "es", "score": 0.5, "source_dev": None, "loss_task": 1.0,
                         "loss_discriminator": 5.0, "loss_generator": None, "discriminator_accuracy": 1.0}]
    assert [row["language"] for row in curve_rows(LOG, "f1", ["en"], LOSSES, "dev")] == ["en", "de", "es", None]
    assert columns_of(rows) == ALL_COLUMNS
    assert as_csv(rows[2:], ALL_COLUMNS) == f"{','.join(ALL_COLUMNS)}\n3,es,0.5,,1.0,5.0,,1.0\n"


def test_rows_without_scores():
    """An evaluation that scored no test file, and the updates after the last evaluation, have a row all the same."""
    log = [{k: v for k, v in record.items() if k != "test"} for record in LOG] + [update(3, "task", 8.0), update(4, "task", 6.0)]
    rows = curve_rows(log, "f1", ["en", "de"], LOSSES)
    assert as_csv(rows, columns_of(rows)).splitlines()[1:] == ["2,,,0.6,3.0,2.0,8.0,0.625", "3,,,,1.0,5.0,,1.0", "5,,,,7.0,,,"]
    assert curve_rows([], "f1", ["en"], LOSSES) == []


def balance(log):
    """What a run says of its discriminator at its end; None if it has none."""
    accuracy = last_accuracy(log, "discriminator")
    return None if accuracy is None else verdict(accuracy, "over the last tenth of the run")


@pytest.mark.parametrize(("accuracies", "said"), [
    ([0.1] * 9 + [0.7], "accuracy 0.700 over the last tenth of the run, 0.5 is chance$"),
    ([0.1] * 18 + [1.0, 0.98], "accuracy 0.990 .*: the adversary has no effect; raise adversary.lr$"),
    ([0.1] * 18 + [1.0, 0.97], "accuracy 0.985 .*0.5 is chance$"),
    ([0.1] * 18 + [0.55, 0.57], "accuracy 0.560 .*0.5 is chance$"),
    ([0.9] * 18 + [0.5, 0.6], "accuracy 0.550 .*: near chance, as intended if it could tell the languages apart before; "
                              "minixl evaluate --probe shows whether a new discriminator can$"),
    ([0.9] * 18 + [0.5, 0.42], "accuracy 0.460 .*: near chance"),
    ([0.9] * 18 + [0.5, 0.38], "accuracy 0.440 .*: the two languages swap sides; lower adversary.lr or raise "
                               "adversary.discriminator_lr$"),
    ([1.0], "no effect"),
])
def test_balance_of_the_last_tenth(accuracies, said):
    log = [record for i, a in enumerate(accuracies)
           for record in (update(i, "task", 1.0), update(i, "discriminator", 1.0, a), update(i, "generator", 1.0, 0.0))]
    assert re.search(said, balance(log))


def test_balance_of_an_adversary_that_moves_now_and_then():
    """adversary.every=5 in a run of 12 steps: no update lies in the last tenth, so the last one counts."""
    assert "accuracy 0.250" in balance([update(0, "discriminator", 1, 0.9), update(10, "discriminator", 1, 0.25),
                                        update(11, "task", 1)])
    assert balance([update(0, "task", 1.0)]) is None


def test_a_run_says_how_its_discriminator_does(folder, tmp_path):
    """Once on the way, at the first evaluation after a quarter of the steps (of 6; every 3), and at the end."""
    told = {}
    for name, changes in (("with", ADVERSARIAL), ("without", {})):
        reporter = Quiet()
        run(folder, tmp_path / name, settings(**changes), reporter=reporter)
        told[name] = [message for message in reporter.messages if message.startswith("discriminator: accuracy")]
    accuracies = [r["accuracy"] for r in records(tmp_path / "with") if r.get("loss") == "discriminator"]
    assert len(told["with"]) == 2 and told["without"] == []
    assert f"accuracy {statistics.fmean(accuracies[:3]):.3f} since the last evaluation" in told["with"][0]
    assert f"accuracy {accuracies[-1]:.3f} over the last tenth" in told["with"][1]


@pytest.mark.parametrize(("every", "steps", "count"), [(1, 10, 2), (2, 8, 2), (5, 4, 1), (4, 4, 1)])
def test_the_discriminator_is_spoken_of_once_on_the_way(folder, tmp_path, every, steps, count):
    reporter = Quiet()
    run(folder, tmp_path / "run", settings(**ADVERSARIAL, train__eval_every=every, train__max_steps=steps, train__epochs=0),
        reporter=reporter)
    assert sum(message.startswith("discriminator: accuracy") for message in reporter.messages) == count


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text(json.dumps(LOG[0]) + '\n{"kind": "upd')
    assert read_log(tmp_path, "f1") == LOG[:1]


@pytest.mark.parametrize("damage", [b"\0" * 9, b'{"kind": "upd', b"\xff\xfe", b"[]", b'{"kind": "\xff"}'])
def test_a_line_that_is_damaged_is_named(tmp_path, damage):
    """As a power cut leaves it."""
    first, last = (json.dumps(record).encode() for record in (LOG[0], LOG[6]))
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([first, damage, last, b""]))
    with pytest.raises(UserError, match=r"^[^\n]*/log.jsonl:2: expected an update or an evaluation with its f1, found [^\n]*; "
                                        r"the file is damaged: put the whole file back, and --resume finishes the run, or start "
                                        r"again with a new --out folder; the trained model is in [^\n]*/model$"):
        read_log(tmp_path, "f1")


def test_the_fix_in_the_message_about_a_damaged_log_works(folder, tmp_path):
    kept = settings(train__keep_checkpoint=True)
    for name in ("whole", "damaged"):
        run(folder, tmp_path / name, kept)
    out = tmp_path / "damaged"
    (out / "metrics.json").unlink()
    whole = (out / "log.jsonl").read_bytes()
    first, second, *others = whole.splitlines(keepends=True)
    (out / "log.jsonl").write_bytes(b"".join([first, b"\0" * (len(second) - 1) + b"\n", *others]))
    with pytest.raises(UserError, match="log.jsonl:2: .* put the whole file back"):
        run(folder, out, kept, resume=True)
    assert (out / "model" / "model.safetensors").is_file()
    (out / "log.jsonl").write_bytes(whole)
    run(folder, out, kept, resume=True)
    assert_same_run(out, tmp_path / "whole")


def test_smoothing_keeps_the_mean():
    """Over stretches of the longest curve, of which a shorter one ends within one, and another has few points."""
    curve = [(i + 1, float(i)) for i in range(1000)]
    short = smooth({"": curve})[""]
    assert len(short) == 200 and short[-1][0] == 1000 and short[0] == (5, 2.0)
    assert smooth({"": curve[:3]}) == {"": curve[:3]} and smooth({"": []}) == {"": []}
    assert smooth({"": [*curve, (1001, 1000.0)]})[""][-2:] == [(996, 992.5), (1001, 998.0)]         # stretches of 6
    found = smooth({"long": curve, "short": curve[:992], "sparse": curve[::7]})
    assert found["long"] == short and found["short"] == [*short[:198], (995, 990.5)]
    assert found["sparse"][:3] == [(5, 0.0), (10, 7.0), (15, 14.0)] and found["sparse"][-1] == (995, 994.0)


def test_curves_of_a_run(folder, tmp_path):
    out = tmp_path / "run"
    run(folder, out, settings(**ADVERSARIAL, train__score_tests=True, train__eval_every=2))
    rows = list(csv.DictReader(io.StringIO((out / "curves.csv").read_text())))
    assert list(rows[0]) == ALL_COLUMNS and [(row["step"], row["language"]) for row in rows] == [
        (step, language) for step in "246" for language in ("en", "es")]
    log = records(out)
    evaluations = [r for r in log if r["kind"] == "evaluation"]
    assert [float(row["score"]) for row in rows[1::2]] == [r["test"]["es"]["f1"] for r in evaluations]
    metrics = json.loads((out / "metrics.json").read_text())
    assert evaluations[-1]["test"] == figures(metrics["last"])
    losses = [r["value"] for r in log if r.get("loss") == "generator"]
    assert float(rows[2]["loss_generator"]) == pytest.approx(statistics.fmean(losses[2:4]))
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2 * 4 and "<h2>Test f1</h2>" in page and "<h2>Accuracy of the discriminator</h2>" in page
    assert set(score_curves(log, "test", "f1")) == {"en", "es"} and set(update_curves(log)[1]) == {"discriminator"}


def test_the_report_counts_what_the_model_reads(folder, tmp_path):
    """A transformer reads word pieces, a bilstm-crf words."""
    words = Inputs(None, source=[("en", folder / "en.txt")])
    for name, how, unit in (("pieces", {}, "word pieces"), ("words", {"inputs": words}, "words")):
        run(folder, tmp_path / name, settings(train__max_steps=1, **({"model__type": "bilstm-crf"} if how else {})), **how)
        assert re.search(rf"training at \d+ {unit} a second", (tmp_path / name / "report.html").read_text())


def test_scoring_tests_on_the_way_changes_no_training(folder, tmp_path):
    for name, scored in (("a", False), ("b", True)):
        run(folder, tmp_path / name, settings(train__score_tests=scored))
    a, b = ([{k: v for k, v in r.items() if k != "test"} for r in records(tmp_path / name)] for name in "ab")
    assert a == b
    plain, scored = (list(csv.DictReader(io.StringIO((tmp_path / name / "curves.csv").read_text()))) for name in "ab")
    assert [(row["step"], row["language"], row["score"]) for row in plain] == [("3", "", ""), ("6", "", "")]
    assert [row["loss_task"] for row in plain] == [row["loss_task"] for row in scored if row["language"] == "es"]
    assert "<h2>Test f1</h2>" not in (tmp_path / "a" / "report.html").read_text()


def test_the_report_of_a_study(folder, tmp_path):
    run(folder, tmp_path / "run", advpicker(advpicker__audit=True),
        inputs=inputs(folder, unlabelled=[("es", folder / "es.txt"), ("fr", folder / "fr.raw")]))
    page = (tmp_path / "run" / "report.html").read_text()
    studies = json.loads((tmp_path / "run" / "audit.json").read_text())
    selected = studies["languages"]["es"]["pseudo_labels"][0]
    assert f"<tr><td>es</td><td>selected</td><td>4</td><td>{100 * selected['f1']:.1f}</td></tr>" in page
    assert "<tr><td>fr</td><td>selected</td><td>1</td><td>–</td></tr>" in page
    assert "<td>student</td>" in page and "<h3>es: selected sentences by ρ</h3>" in page
    assert "<h3>fr: selected sentences by ρ</h3>" not in page and page.count("<rect") == 2 * 2 * 2 * 20


def test_a_band_is_mean_and_sample_deviation():
    """Where two have a value; of one curve alone, wherever it has one."""
    one, two = [(2, 1.0), (4, 5.0)], [(2, 3.0)]
    assert band([one, two, []]) == Band([(2, 2.0)], [pytest.approx(2 ** 0.5)])
    assert band([one, []]) == Band(one, [0.0, 0.0]) and band([[], []]) == Band([], [])
    assert band([one, two, [(4, 1.0)]]) == Band([(2, 2.0), (4, 3.0)], [pytest.approx(2 ** 0.5), pytest.approx(8 ** 0.5)])


def test_runs_side_by_side(runs, tmp_path):
    folders = [runs / "with", runs / "without", runs / "stopped"]
    groups = write_comparison(folders, tmp_path / "page.html", tmp_path / "rows.csv").groups
    assert [(name, len(members)) for name, members in groups] == [("with (2 seeds)", 2), ("without (2 seeds)", 2), ("stopped", 1)]
    page = (tmp_path / "page.html").read_text()
    assert "<h2>Test f1, es</h2>" in page and "<h2>Accuracy of the discriminator</h2>" in page
    assert '<td>adversary.level</td><td>&quot;sentence&quot;</td><td>&quot;none&quot;</td>' in page
    assert "train.batch_size" not in page
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert len(rows) == 2 * (4 * 3 * 2 + 1 * 2)                        # test and dev, 3 evaluations of 2 languages; 1 of stopped
    mine = [float(r["score"]) for r in rows if (r["run"], r["part"], r["language"]) == (str(runs / "with/seed-2"), "test", "es")]
    assert mine == [r["test"]["es"]["f1"] for r in records(runs / "with" / "seed-2") if r["kind"] == "evaluation"]
    stored = json.loads((runs / "with" / "metrics.json").read_text())["test"]["es"]["f1"]
    row = next(row for row in final_scores(groups, "f1") if (row["language"], row["group"]) == ("es", "with (2 seeds)"))
    assert row["selected"] == {"mean": pytest.approx(stored["mean"]), "sd": pytest.approx(stored["sd"]), "runs": 2}
    assert all(row[name] is None for row in final_scores(groups, "f1") if row["group"] == "stopped"
               for name in ("selected", "last", "oracle"))


def test_grouping(runs):
    folders = [read_folder(folder) for name in ("without", "with") for folder in expand(runs / name)]
    groups, warnings = group([*folders, folders[-1]])
    assert [len(members) for _, members in groups] == [2, 2] and warnings == [f"{runs / 'with/seed-2'}: given twice; counted once"]


def test_what_cannot_be_compared(runs, folder, tmp_path):
    page = tmp_path / "page.html"
    with pytest.raises(UserError, match="none: expected a run folder with config.toml, or one of several seeds, found no such"):
        write_comparison([tmp_path / "none"], page)
    with pytest.raises(UserError, match="expected a run folder .* found none in it"):
        write_comparison([folder], page)
    run(folder, tmp_path / "topics", settings(task="classification", train__max_steps=1))
    with pytest.raises(UserError, match="with/seed-1 has the task ner, .*topics the task classification: their scores cannot"):
        write_comparison([runs / "with", tmp_path / "topics"], page)
    assert not page.exists()
