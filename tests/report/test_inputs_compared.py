"""Runs on other files: what differs between them, which scores are marked, and runs that are skipped."""
import json

import pytest

from minixl.errors import UserError
from minixl.report.final_scores import cell, final_scores, score_marks
from minixl.run.folder import begin
from tests.report.compared import group, read_folder, write_comparison
from tests.report.test_values import log, scores, table
from tests.whole_runs import inputs, settings


def write_run(folder, seed=1, *, digests=None, files=None, finished=True, metrics=None, **changes):
    """A run folder; digests: name of a file -> its digest in inputs.json; files: changed roles."""
    given = inputs(folder.parent, **(files or {}))
    folder.mkdir(parents=True)
    begin(folder, settings(**changes), given, seed, {str(folder.parent / name): text for name, text in (digests or {}).items()})
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log(0.5, 0.5)))
    if finished:
        (folder / "metrics.json").write_text(json.dumps({"task": "ner", **(metrics or scores(0.1, 0.2, 0.3))}))
    return folder


def differences(tmp_path, *folders):
    write_comparison(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    return table(page, "What differs")[1:] if "What differs" in page else []


@pytest.mark.parametrize(("role", "language"), [("source", "en"), ("dev", "en"), ("unlabelled", "es"), ("test", "es"),
                                                ("vectors", "en")])
def test_files_that_differ_are_listed(tmp_path, role, language):
    other = dict(getattr(inputs(tmp_path), role)) | {language: tmp_path / "other.txt"}
    folders = [write_run(tmp_path / "one"), write_run(tmp_path / "two", 2, files={role: [*other.items()]})]
    before = dict(getattr(inputs(tmp_path), role)).get(language)
    assert differences(tmp_path, *folders) == [[f"{role} {language}", before.name if before else "", "other.txt"]]


def test_another_encoder_is_listed(tmp_path):
    folders = [write_run(tmp_path / "one"), write_run(tmp_path / "two", 2)]
    config = folders[1] / "config.toml"
    config.write_text(config.read_text().replace("/encoder", "/larger"))
    assert differences(tmp_path, *folders) == [["encoder", "encoder", "larger"]]


@pytest.mark.parametrize("limit", ["limit", "test_limit", "unlabelled_limit"])
def test_limits_are_listed(tmp_path, limit):
    folders = [write_run(tmp_path / "one"), write_run(tmp_path / "two", 2, **{f"data__{limit}": 7})]
    assert differences(tmp_path, *folders) == [[f"data.{limit}", "0", "7"]]


def test_files_are_compared_by_their_content(tmp_path):
    """The same path with other content differs; the same content elsewhere does not; without a digest, the path decides."""
    moved = {"test": [("en", tmp_path / "en.txt"), ("es", tmp_path / "moved.txt")]}
    one = write_run(tmp_path / "one", digests={"es.txt": "a" * 64})
    changed = write_run(tmp_path / "two", 2, digests={"es.txt": "b" * 64})
    elsewhere = write_run(tmp_path / "three", 3, digests={"es.txt": "a" * 64, "moved.txt": "a" * 64}, files=moved)
    unknown = write_run(tmp_path / "four", 4)
    path = tmp_path / "es.txt"
    assert differences(tmp_path, one, changed) == [[f"{role} es", f"{path} (sha256 {'a' * 12})", f"{path} (sha256 {'b' * 12})"]
                                                   for role in ("dev", "test")]
    assert differences(tmp_path, one, elsewhere) == [] and differences(tmp_path, one, unknown) == []
    (one / "inputs.json").write_text("{")
    with pytest.raises(UserError, match="one/inputs.json: expected the digests of the run's input files, found a damaged file"):
        read_folder(one)
    (one / "inputs.json").unlink()
    assert differences(tmp_path, one, elsewhere) == [["test es", "es.txt", "moved.txt"]]


def test_another_order_of_sources_is_another_run(tmp_path):
    sources = [("en", tmp_path / "en.txt"), ("fr", tmp_path / "fr.txt")]
    folders = [write_run(tmp_path / name, seed, files={"source": order})
               for seed, (name, order) in enumerate((("one", sources), ("two", sources[::-1])))]
    assert differences(tmp_path, *folders) == [["order of --source", "en, fr", "fr, en"]]


def test_scores_of_other_test_data_are_marked(tmp_path):
    """A mark for every kind of test data; those of the first group with the language have none."""
    other = {"test": [("en", tmp_path / "en.txt"), ("es", tmp_path / "other.txt")]}
    folders = [write_run(tmp_path / "one"), write_run(tmp_path / "two", 2, data__test_limit=7),
               write_run(tmp_path / "three", 3, files=other), write_run(tmp_path / "four", 4, optim__lr=0.1)]
    groups, _ = group(map(read_folder, folders))
    shown = {(row["language"], row["group"]): cell(row, "selected") for row in final_scores(groups, "f1")}
    assert {key: text.split()[1:] for key, text in shown.items() if text.split()[1:]} == {
        ("en", "two"): ["*"], ("es", "two"): ["*"], ("es", "three"): ["†"]}
    assert score_marks(groups)[1] == ["* en, es: data.test_limit is 7 in two, 0 in one",
                                      "† es: scored on other.txt in three, on es.txt in one"]
    write_comparison(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<td>10.0 †</td>" in page and all(f">{note}.</p>" in page for note in score_marks(groups)[1])


def on_languages(tmp_path, **f1):
    """A test file for every language, and scores on them."""
    figures = {language: {"f1": value} for language, value in f1.items()}
    return {"files": {"test": [(language, tmp_path / f"{language}.txt") for language in f1]},
            "metrics": {"test": figures, "last": figures, "oracle": {}}}


def test_the_mean_over_the_target_languages(tmp_path):
    """The mean of the seeds' means with its sd; marked where the languages or their test files differ."""
    folders = [write_run(tmp_path / f"seed-{seed}", seed, **on_languages(tmp_path, en=0.9, es=es, fr=fr))
               for seed, es, fr in ((1, 0.1, 0.4), (2, 0.3, 0.4))]
    folders += [write_run(tmp_path / "fewer", **on_languages(tmp_path, en=0.9, es=0.5, de=0.3)),
                write_run(tmp_path / "limited", data__test_limit=7, **on_languages(tmp_path, en=0.9, es=0.5, fr=0.3)),
                write_run(tmp_path / "single", **on_languages(tmp_path, en=0.9, es=0.5))]
    groups, _ = group(map(read_folder, folders))
    name = groups[0][0]
    means = {row["group"]: cell(row, "selected") for row in final_scores(groups, "f1")[-4:] if row["language"] == "target mean"}
    assert means == {name: "30.0 ± 7.1", "fewer": "40.0 *", "limited": "40.0 †"}
    assert [row["group"] for row in final_scores(groups, "f1") if row["language"] == "fr"] == [name, "limited"]
    assert score_marks(groups)[1][-2:] == [f"* target mean: over es, de in fewer, over es, fr in {name}",
                                           "† target mean: over scores that have a mark"]
    write_comparison(folders, tmp_path / "page.html")
    assert f"<td>target mean</td><td>{name}</td><td>30.0 ± 7.1</td>" in (tmp_path / "page.html").read_text()
    assert all(row["language"] != "target mean" for row in final_scores(groups[-1:], "f1"))


def test_scores_of_another_draw_are_marked(tmp_path):
    """A limit that keeps other sentences is other test data; without a limit nothing is drawn."""
    drawn = {"data__test_limit": 7, "data__sample": "random"}
    folders = [write_run(tmp_path / "one", data__test_limit=7), write_run(tmp_path / "two", **drawn),
               write_run(tmp_path / "three", **drawn, data__sample_seed=2)]
    assert score_marks(group(map(read_folder, folders))[0])[1] == [
        "* en, es: data.sample is random in two, first in one", "† en, es: data.sample is random in three, first in one; "
        "data.sample_seed is 2 in three, 1 in one"]
    folders = [write_run(tmp_path / "four"), write_run(tmp_path / "five", data__sample="random")]
    assert score_marks(group(map(read_folder, folders))[0])[1] == []


def test_several_files_of_a_language_are_compared_together(tmp_path):
    """By the contents of all of them, in their order."""
    digests = {"a.txt": "1" * 64, "b.txt": "2" * 64, "c.txt": "2" * 64}
    files = lambda *names: {"test": [("es", tmp_path / f"{name}.txt") for name in names]}
    ab, ac, a, ba = (write_run(tmp_path / "".join(names), i, digests=digests, files=files(*names))
                     for i, names in enumerate(("ab", "ac", "a", "ba")))
    assert differences(tmp_path, ab, ac) == []
    assert differences(tmp_path, ab, a) == [["test es", "a.txt + b.txt", "a.txt"]]
    assert differences(tmp_path, ab, ba) == [["test es", "a.txt + b.txt", "b.txt + a.txt"]]
    assert score_marks(group(map(read_folder, (ab, ac)))[0])[1] == []
    assert len(score_marks(group(map(read_folder, (ab, a)))[0])[1]) == 1
