"""Two groups against each other: predictions that runs keep, the table of differences, and what is said where there is none."""
import json

import pytest

from minixl.data.corpus import read_corpus
from minixl.errors import UserError
from minixl.evaluation.predictions import Predictions, read_predictions, write_predictions
from minixl.evaluation.scores import score
from minixl.report.paired import compare
from tests.report.compared import group, read_folder, write_comparison
from tests.report.test_inputs_compared import write_run
from tests.tiny import write_topics
from tests.whole_runs import advpicker, inputs, run, settings, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(("task", "suffix"), [("ner", "txt"), ("classification", "tsv")])
def test_a_run_keeps_the_predictions_behind_its_scores(folder, tmp_path, task, suffix):
    """Those of the selected model, also where an oracle was scored after it, and where the last model is not the selected one."""
    metrics = run(folder, tmp_path / "run", settings(task=task, train__epochs=4, optim__head_lr=0.05))
    for language in ("en", "es"):
        predictions = read_predictions(tmp_path / "run", language, task, "fix")
        corpus = read_corpus(task, language, folder / f"{language}.{suffix}")
        assert predictions.gold == corpus.gold() and predictions.lines == [item.line for item in corpus.inputs]
        assert score(task, predictions.gold, predictions.predicted) == metrics["test"][language]


def test_teachers_that_tag_together_keep_predictions(folder, tmp_path):
    metrics = run(folder, tmp_path / "run", advpicker(advpicker__variant="without-kd"), inputs=inputs(folder))
    predictions = read_predictions(tmp_path / "run", "es", "ner", "fix")
    assert score("ner", predictions.gold, predictions.predicted) == metrics["test"]["es"]


def test_predictions_on_disk(tmp_path):
    corpus = read_corpus("classification", "es", write_topics(tmp_path / "es.tsv", "es"))
    write_predictions(tmp_path, corpus, ["home", "home"])
    path = tmp_path / "predictions" / "es.jsonl"
    assert path.read_text().splitlines()[0] == '{"line": 1, "gold": "travel", "predicted": "home"}'
    assert read_predictions(tmp_path, "es", "classification", "fix") == Predictions([1, 2], ["travel", "home"], ["home", "home"])
    assert read_predictions(tmp_path, "fr", "classification", "fix") is None
    for task, line in (("ner", ""), *(("classification", line) for line in ("{", "[]", '{"line": 1, "gold": "a"}'))):
        path.write_text(path.read_text().splitlines()[0] + "\n" + line + "\n" * bool(line))
        number = 1 if task == "ner" else 2
        with pytest.raises(UserError, match=f"predictions/es.jsonl:{number}: expected line, gold and predicted of the task {task}, "
                                            "found .*; fix$"):
            read_predictions(tmp_path, "es", task, "fix")


LANGUAGES = ("en", "es", "fr")
GOLD = {"en": ["B-PER"], "es": ["B-PER"], "fr": ["B-LOC"]}


def finished(tmp_path, name, seed, right, *, predictions=True, count=40, **changes):
    """A run whose first `right` one-word sentences of es and fr are tagged correctly, and all of en."""
    files = {"test": [(language, tmp_path / f"{language}.txt") for language in LANGUAGES]}
    tags = {language: [GOLD[language] if i < right or language == "en" else ["O"] for i in range(count)] for language in LANGUAGES}
    figures = {language: score("ner", [GOLD[language]] * count, tags[language]) for language in LANGUAGES}
    path = write_run(tmp_path / name, seed, files=files, metrics={"test": figures, "last": figures, "oracle": {}}, **changes)
    for language in LANGUAGES if predictions else ():
        (tmp_path / f"{language}.conll").write_text(f"x\t{GOLD[language][0]}\n\n" * count)
        write_predictions(path, read_corpus("ner", language, tmp_path / f"{language}.conll"), tags[language])
    return path


def paired(*folders):
    return compare(group(map(read_folder, folders))[0])


def f1(right, count=40):
    return 100 * 2 * right / (right + count)


def test_the_differences_of_two_groups(tmp_path):
    """Of the mean scores, language by language, and of the target means; beside them those of each seed."""
    one = [finished(tmp_path, f"one-{seed}", seed, right) for seed, right in ((1, 10), (2, 12))]
    two = [finished(tmp_path, f"two-{seed}", seed, right, optim__lr=0.1) for seed, right in ((2, 38), (1, 36))]
    (table,), notes = paired(*one, *two)
    assert table.head == ["language", "difference", "95 % interval", "seed 1", "seed 2", "sd"]
    by_seed = [f1(36) - f1(10), f1(38) - f1(12)]
    assert [row[0] for row in table.rows] == ["en", "es", "fr", "target mean"]
    assert table.rows[0][1:] == ["+0.0", "+0.0 to +0.0", "+0.0", "+0.0", "0.0"]
    for row in table.rows[1:]:
        assert row[1] == f"{sum(by_seed) / 2:+.1f}" and row[3:5] == [f"{value:+.1f}" for value in by_seed]
        low, _, high = row[2].split()
        assert 0 < float(low) < sum(by_seed) / 2 < float(high)
    widths = {row[0]: float(row[2].split()[2]) - float(row[2].split()[0]) for row in table.rows}
    assert 0.5 * widths["es"] < widths["target mean"] < 0.95 * widths["es"]
    assert "nothing about other seeds" in notes[1] and table.title == "two-2 (2 seeds) minus one-1 (2 seeds)"


def test_groups_with_other_seeds_have_no_differences_by_seed(tmp_path):
    (table,), notes = paired(finished(tmp_path, "one", 1, 10), finished(tmp_path, "two", 2, 30, optim__lr=0.1))
    assert table.head == ["language", "difference", "95 % interval"] and table.rows[1][1] == f"{f1(30) - f1(10):+.1f}"
    assert len(notes) == 2 and "marks" not in notes[0]


def test_runs_that_cannot_be_paired(tmp_path):
    one, two = finished(tmp_path, "one", 1, 10), finished(tmp_path, "two", 1, 30, optim__lr=0.1)
    old = finished(tmp_path, "old", 1, 30, predictions=False, optim__lr=0.2)
    shorter = finished(tmp_path, "shorter", 1, 10, count=20, optim__lr=0.3)
    assert paired(one) == ([], [])
    said = f"no predictions are kept in {old} (a run of an older version?), so the paired comparison leaves it out"
    assert paired(one, old) == ([], [said])
    tables, notes = paired(one, old, two)
    assert [table.title for table in tables] == ["two minus one"] and notes[-1] == said
    assert paired(one, shorter) == ([], [f"{language}: one and shorter were scored on different test inputs, which cannot be paired"
                                         for language in LANGUAGES])
    write_comparison([one, old], tmp_path / "page.html")
    assert f">{said}.</p>" in (tmp_path / "page.html").read_text()


def test_every_later_group_is_compared_with_the_first(tmp_path):
    one, two = finished(tmp_path, "one", 1, 10), finished(tmp_path, "two", 1, 30, optim__lr=0.1)
    tables, _ = paired(one, two, finished(tmp_path, "three", 1, 20, optim__lr=0.2))
    assert [(table.title, table.rows[1][1]) for table in tables] == [
        ("two minus one", f"{f1(30) - f1(10):+.1f}"), ("three minus one", f"{f1(20) - f1(10):+.1f}")]


def test_differences_between_scores_of_other_test_files_are_marked(tmp_path):
    """The same gold tags, but another content: other words."""
    folders = [finished(tmp_path, name, 1, right, optim__lr=lr) for name, right, lr in (("one", 10, 0.1), ("two", 30, 0.2))]
    for folder, digest in zip(folders, "ab", strict=True):
        (folder / "inputs.json").write_text(json.dumps({str(tmp_path / "es.txt"): digest}))
    (table,), notes = paired(*folders)
    assert [row[1].endswith(" *") for row in table.rows] == [False, True, False, True]
    assert notes[0].endswith("; marks: as in the final scores")


def test_the_difference_on_the_page(tmp_path):
    one, two = finished(tmp_path, "one", 1, 10), finished(tmp_path, "two", 1, 30, optim__lr=0.1)
    (table,), notes = write_comparison([one, two], tmp_path / "page.html").differences
    page = (tmp_path / "page.html").read_text()
    assert "".join(f"<td>{text}</td>" for text in table.rows[1]) in page and f">{notes[1]}.</p>" in page
