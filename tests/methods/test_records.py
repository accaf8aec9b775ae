"""Warnings about an audit without labels, before anything is trained; tables of the report that are missing or damaged."""
import pytest

from minixl.errors import UserError
from minixl.methods import records
from minixl.methods.advpicker.page import report_section as advpicker_section
from minixl.methods.records import read_table
from minixl.methods.self_learning.page import report_section as self_learning_section
from minixl.methods.zero_resource.page import report_section as zero_resource_section
from tests.tiny import write_vectors
from tests.whole_runs import advpicker, inputs, prepared, settings, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    words = "anna ben paris madrid visita vive en .".split()
    write_vectors(folder / "all.vec", {word: [float(i), 1.0, -1.0] for i, word in enumerate(words)})
    return folder


def cases(folder):
    """Method -> its settings and inputs; both languages, or the only one, have unlabelled text without labels."""
    raw = {"unlabelled": [("es", folder / "es.raw")]}
    words = {"vectors": [("en", folder / "all.vec")], "dev": [], "test": []}
    return {"advpicker": (advpicker(advpicker__audit=True), inputs(folder)),
            "self_learning": (settings(method="self-learning", self_learning__audit=True), inputs(folder)),
            "self_learning of topics": (settings(method="self-learning", task="classification", self_learning__audit=True),
                                        inputs(folder, "classification", **raw)),
            "zero_resource": (settings(method="zero-resource", model__type="augmented-tagger", zero_resource__audit=True,
                                       zero_resource__shortest=3), inputs(folder, **raw, **words))}


@pytest.mark.parametrize("name", ["advpicker", "self_learning", "self_learning of topics", "zero_resource"])
def test_an_audit_without_labels_is_announced_before_training(folder, monkeypatch, name):
    """Every file is read once; a file with labels has no warning."""
    calls, real = [], records.read_gold
    monkeypatch.setattr(records, "read_gold", lambda settings, corpora: calls.append(1) or real(settings, corpora))
    chosen, files = cases(folder)[name]
    if name == "zero_resource":
        files.encoder = None
    said = [message for message in prepared(chosen, files).messages if ".audit" in message]
    method, labels = name.split()[0], "labels" if "topics" in name else "tags"
    assert said == [f"warning: {method}.audit: {path} has no {labels} to compare pseudo-labels with"
                    for _, path in files.unlabelled] and len(calls) == 1
    files.unlabelled = [("es", folder / ("es.tsv" if "topics" in name else "es.txt"))]
    assert not [message for message in prepared(chosen, files).messages if ".audit" in message]


def test_nothing_is_read_without_an_audit(folder, monkeypatch):
    monkeypatch.setattr(records, "read_gold", lambda *a: pytest.fail("labels of unlabelled text were read"))
    prepared(advpicker(), inputs(folder))


def test_tables(tmp_path):
    assert read_table(tmp_path / "none.json", list) == [] and read_table(tmp_path / "none.json", dict) == {}
    (tmp_path / "rounds.json").write_text('[{"round": 1}]')
    assert read_table(tmp_path / "rounds.json", list) == [{"round": 1}]


@pytest.mark.parametrize("section, name", [
    (advpicker_section, "audit.json"), (self_learning_section, "rounds.json"), (zero_resource_section, "rounds.json"),
    (zero_resource_section, "lengths.json"), (zero_resource_section, "picture.json")])
@pytest.mark.parametrize("content, found", [(b'[{"round": 1', r"a damaged file \(.+\)"), (b"\xff", r"a damaged file \(.+\)"),
                                            (b"3", "other content")])
def test_damaged_tables_are_one_line(tmp_path, section, name, content, found):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: expected the tables of a report, found {found}; put it back, or delete it for a "
                       "report without them$"):
        section(tmp_path, {"task": "ner", "steps": 1})
    path.unlink()
    section(tmp_path, {"task": "ner", "steps": 1})
