"""Warnings about labelled text with which training or a score would mislead."""
import pytest

from minixl.data.limits import RANDOM
from tests.whole_runs import inputs, prepared, run, settings, stopped, write_data

CHOSEN = {"task": "classification", "data__min_count": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As write_data, and sorted.tsv: 20 texts of one label, then 20 of another."""
    folder = write_data(tmp_path_factory.mktemp("data"))
    texts = [f"home\tben lives in paris {i}\n" for i in range(20)] + [f"travel\tanna visited paris {i}\n" for i in range(20)]
    (folder / "sorted.tsv").write_text("".join(texts), encoding="utf-8")
    (folder / "one.tsv").write_text("".join(texts[:20]), encoding="utf-8")
    (folder / "none.txt").write_text("ben\tO\n\nlives\tO\n", encoding="utf-8")
    return folder


def warnings_of(folder, task="classification", files=None, **changes):
    names = {"dev": [], "unlabelled": [], "test": [], **(files or {})}
    read = prepared(settings(task=task, data__min_count=1, **changes), inputs(folder, task, **names))
    return [message for message in read.messages if message.startswith("warning")], read


@pytest.mark.parametrize(("role", "language", "limit"), [("source", "fr", "data.limit"), ("dev", "en", "data.test_limit"),
                                                         ("test", "es", "data.test_limit")])
def test_the_first_of_a_sorted_file(folder, role, language, limit):
    """The warning names the cure, and the cure helps."""
    pair = (language, folder / "sorted.tsv")
    files = {role: [("en", folder / "en.tsv"), pair] if role == "source" else [pair]}
    changes = {limit.replace(".", "__"): 6}
    said, _ = warnings_of(folder, files=files, **changes)
    assert said == [f"warning: {role} {language}: all 6 texts have the label 'home', and 1 more label in the rest of the text; "
                    "--set data.sample=random draws the 6 from all of it"]
    assert warnings_of(folder, files=files, **changes, data__sample=RANDOM)[0] == []
    assert warnings_of(folder, files=files)[0] == []


def test_a_draw_that_has_one_label_too(folder):
    texts = [("test", folder / "most.tsv")]
    (folder / "most.tsv").write_text("travel\tanna\n" + "home\tben lives\n" * 30, encoding="utf-8")
    assert warnings_of(folder, files={"test": texts}, data__test_limit=2, data__sample=RANDOM)[0] == [
        "warning: test test: all 2 texts have the label 'home', and 1 more label in the rest of the text; raise data.test_limit"]


def test_a_whole_file_of_one_label(folder):
    assert warnings_of(folder, files={"test": [("es", folder / "one.tsv")]})[0] == [
        "warning: test es: all 20 texts have the label 'home'; without other labels it cannot show how well these are told apart"]
    assert warnings_of(folder, "ner", files={"test": [("es", folder / "none.txt")]})[0] == [
        f"warning: --test es={folder}/none.txt: expected entities, found only the tag O: every F1 on this file is 0"]


def test_test_and_dev_texts_in_the_training_text(folder):
    """Exactly the same words, whatever their labels and language; unlabelled text is no training text with labels."""
    copied = "anna\tO\nvisited\tO\nparis\tO\n.\tO\n\nAnna\tB-PER\nvisited\tO\nparis\tO\n.\tO\n"
    (folder / "copied.txt").write_text(copied, encoding="utf-8")
    en, es = ("en", folder / "en.txt"), ("es", folder / "es.txt")
    said = "warning: test es: 1 of 2 sentences (50.0 %) also stands in the training text; their scores may show memory instead " \
        "of transfer"
    assert warnings_of(folder, "ner", {"test": [("es", folder / "copied.txt")]})[0] == [said]
    assert [message.partition(" also")[0] for message in warnings_of(folder, "ner", {"dev": [en], "test": [es]})[0]] == [
        "warning: dev en: 12 of 12 sentences (100.0 %)"]
    assert warnings_of(folder, "ner", {"unlabelled": [es], "test": [es]}, adversary__level="token")[0] == []
    assert warnings_of(folder, "ner", {"test": [es]})[0] == []


def test_only_what_a_limit_keeps_is_training_text(folder):
    lines = [f"{label}\tanna visited {i}\n" for i, label in enumerate(["home", "travel"] * 4)]
    (folder / "many.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "last.tsv").write_text("".join(lines[4:]), encoding="utf-8")
    files = {"source": [("en", folder / "many.tsv")], "test": [("es", folder / "last.tsv")]}
    for limit, shared in ((0, 4), (4, 0), (6, 2)):
        said, _ = warnings_of(folder, files=files, data__limit=limit)
        assert len(said) == (shared > 0) and all(f"test es: {shared} of 4 texts" in line for line in said)


def test_every_limit_draws_and_every_seed_draws_the_same(folder):
    files = {"dev": [("en", folder / "sorted.tsv")], "test": [("es", folder / "sorted.tsv")],
             "unlabelled": [("es", folder / "sorted.tsv")], "source": [("en", folder / "sorted.tsv")]}
    limits = {"data__limit": 8, "data__test_limit": 8, "data__unlabelled_limit": 8, "adversary__level": "sentence"}

    def lines(seed, **changes):
        read = prepared(settings(**CHOSEN, **limits, **changes), inputs(folder, "classification", **files), seed)
        corpora = [read.sources[0].corpus, read.unlabelled_targets["es"].corpus,
                   *(read.evaluation.files[part][language][0] for part, language in (("dev", "en"), ("test", "es")))]
        found = [[item.line for item in corpus.inputs] for corpus in corpora]
        assert all(one == found[0] for one in found)
        return found[0]

    drawn = lines(1, data__sample=RANDOM)
    assert drawn == lines(2, data__sample=RANDOM) != lines(1, data__sample=RANDOM, data__sample_seed=2)
    assert len(drawn) == 8 and max(drawn) > 20 > min(drawn)


def test_a_resumed_run_draws_the_same(folder, tmp_path):
    chosen = settings(**CHOSEN, data__limit=8, data__sample=RANDOM, train__max_steps=4)
    files = inputs(folder, "classification", source=[("en", folder / "sorted.tsv")], unlabelled=[])
    whole = run(folder, tmp_path / "whole", chosen, inputs=files)
    stopped(folder, tmp_path / "run", chosen, 2, inputs=files)
    resumed = run(folder, tmp_path / "run", chosen, inputs=files, resume=True)
    assert whole["test"] == resumed["test"]
    assert (tmp_path / "whole" / "model" / "model.safetensors").read_bytes() == \
        (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
