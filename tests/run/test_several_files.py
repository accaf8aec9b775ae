"""Several files of a language are read one after another as one text; messages name the file that they are about."""
import json
from pathlib import Path

import pytest

from minixl.errors import UserError
from minixl.files import digest
from minixl.methods import SCHEMA
from minixl.training.config import read_config
from tests.methods.advpicker.test_settings_of_stages import made_from
from tests.whole_runs import advpicker, inputs, prepared, records, run, settings, stopped, write_data

EN, ES = ("en.1.txt", "en.2.txt"), ("es.1.raw", "es.2.txt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """As write_data, and its files in two: en.1.txt and en.2.txt, gzipped or not; es.raw as one of text and one of columns."""
    folder = write_data(tmp_path_factory.mktemp("data"))
    blocks = (folder / "en.txt").read_text().split("\n\n")
    for name, part in zip(EN, (blocks[:5], blocks[5:]), strict=True):
        (folder / name).write_text("\n\n".join(part) + "\n")
    lines = (folder / "es.raw").read_text().splitlines()
    (folder / ES[0]).write_text("\n".join(lines[:3]) + "\n")
    (folder / ES[1]).write_text("".join(f"{word}\tO\n" for word in lines[3].split()))
    return folder


def parts(folder):
    en = [("en", folder / name) for name in EN]
    return inputs(folder, source=en, dev=en, test=[("es", folder / "es.txt"), *en],
                  unlabelled=[("es", folder / ES[0]), ("fr", folder / "fr.raw"), ("es", folder / ES[1])])


def whole(folder):
    return inputs(folder, dev=[("en", folder / "en.txt")], test=[("es", folder / "es.txt"), ("en", folder / "en.txt")])


def same(one, other):
    """The runs in two folders read the same text: they made the same steps and have the same scores."""
    losses = [[(r["loss"], r["value"]) for r in records(out) if r["kind"] == "update"] for out in (one, other)]
    scores = [json.loads((out / "metrics.json").read_text())["test"] for out in (one, other)]
    return losses[0] == losses[1] and scores[0] == scores[1]


def test_two_files_train_and_score_as_one(folder, tmp_path):
    chosen = settings(adversary__level="token", train__max_steps=4)
    run(folder, tmp_path / "whole", chosen, inputs=whole(folder))
    run(folder, tmp_path / "parts", chosen, inputs=parts(folder))
    assert same(tmp_path / "whole", tmp_path / "parts")
    digests = json.loads((tmp_path / "parts" / "inputs.json").read_text())
    assert {Path(name).name for name in digests} == {"encoder", "config.toml", "es.txt", "fr.raw", *EN, *ES}
    assert read_config(tmp_path / "parts", SCHEMA)[1] == parts(folder)
    assert json.loads((tmp_path / "parts" / "model" / "minixl.json").read_text())["sources"] == ["en"]


def test_a_resumed_run_reads_both_and_notices_a_change_of_the_second(folder, tmp_path):
    chosen = settings(train__max_steps=4)
    run(folder, tmp_path / "whole", chosen, inputs=whole(folder))
    out, second = tmp_path / "run", folder / EN[1]
    stopped(folder, out, chosen, 2, inputs=parts(folder))
    before = second.read_text()
    try:
        second.write_text(before + "\nanna\tO\n")
        with pytest.raises(UserError, match=f"{second} has changed since the run began"):
            run(folder, out, chosen, inputs=parts(folder), resume=True)
    finally:
        second.write_text(before)
    run(folder, out, chosen, inputs=parts(folder), resume=True)
    assert same(tmp_path / "whole", out)


def test_limits_count_all_files_of_a_language(folder):
    read = prepared(settings(data__limit=7, data__test_limit=6), parts(folder))
    assert [Path(s.path).name for s in read.sources[0].corpus.inputs] == [EN[0]] * 5 + [EN[1]] * 2
    assert [s.line for s in read.sources[0].corpus.inputs][5:] == [1, 5]
    assert len(read.evaluation.files["test"]["en"][0].inputs) == 6


def test_pseudo_labels_are_made_from_both(folder, tmp_path):
    """The audit reads the tags only if all files have some."""
    tagged = [("es", folder / "es.txt"), ("es", folder / ES[1])]
    chosen = advpicker(advpicker__audit=True, train__epochs=1)
    files = inputs(folder, unlabelled=tagged)
    run(folder, tmp_path / "run", chosen, inputs=files)
    audit = json.loads((tmp_path / "run" / "audit.json").read_text())["languages"]["es"]
    assert audit["sizes"]["all"] == 7 and "f1" in json.dumps(audit)
    messages = prepared(chosen, inputs(folder, unlabelled=[("es", folder / name) for name in ES])).messages
    assert [message for message in messages if "advpicker.audit" in message] == [
        f"warning: advpicker.audit: {folder / ES[0]} or {folder / ES[1]} has no tags to compare pseudo-labels with"]
    assert made_from(tmp_path / "run" / "pseudo-labels" / "es.safetensors")["unlabelled es"] == \
        " ".join(digest(path) for _, path in tagged)


@pytest.mark.parametrize(("changes", "source", "said"), [
    ({}, "anna\tB-PER\nben\t\n", "b.txt:2: expected a tag in column 2"),
    ({"data__max_length": 8, "data__on_long": "error"}, "ben\tO\n\n" + "anna\tB-PER\n" * 9,
     "b.txt:3: the sentence has 11 word pieces")])
def test_messages_name_the_file(folder, tmp_path, changes, source, said):
    (tmp_path / "a.txt").write_text("anna\tB-PER\nlives\tO\n")
    (tmp_path / "b.txt").write_text(source)
    files = inputs(folder, source=[("en", tmp_path / name) for name in ("a.txt", "b.txt")], dev=[], test=[])
    with pytest.raises(UserError, match=said):
        prepared(settings(**changes), files)


def test_messages_about_labels_name_the_file(folder, tmp_path):
    (tmp_path / "a.tsv").write_text("home\tanna\nhome\tben\ntravel\tanna visits\ntravel\tben visits\n")
    (tmp_path / "b.tsv").write_text("home\tanna\nsport\tben\n")
    a, b = ("en", tmp_path / "a.tsv"), ("en", tmp_path / "b.tsv")
    chosen = settings(task="classification")
    with pytest.raises(UserError, match="b.tsv:2: expected at least 2 texts of every class, found 1 of 'sport'"):
        prepared(chosen, inputs(folder, "classification", source=[a, b], dev=[], test=[]))
    with pytest.raises(UserError, match="b.tsv:2: expected one of the labels home, travel, found 'sport'"):
        prepared(chosen, inputs(folder, "classification", source=[a], dev=[a, b], test=[]))


def test_a_file_twice(folder, tmp_path):
    """Also under another name; one file for two languages or roles is not twice."""
    (tmp_path / "link.txt").symlink_to(folder / "en.txt")
    en = ("en", folder / "en.txt")
    with pytest.raises(UserError, match=f"^--source en={tmp_path}/link.txt: given twice; each of its texts would count double$"):
        prepared(settings(), inputs(folder, source=[en, ("en", tmp_path / "link.txt")]))
    prepared(settings(), inputs(folder, source=[en, ("fr", folder / "en.txt")], test=[en]))
