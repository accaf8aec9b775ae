"""Pseudo-labels on disk: the same bits back, nothing stale, nothing damaged, and a file that people and minixl can read."""
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minixl.data.conll import read_conll
from minixl.data.examples import Sentence
from minixl.methods import SCHEMA
from minixl.methods.advpicker import files
from minixl.methods.advpicker.files import (SCORING, SELECTING, PseudoLabels, content_of_labels, content_of_scores,
                                            read_scored, write_conll)
from minixl.methods.advpicker.labels import Merged, Scored, pseudo_tags
from minixl.run.once import is_made_from, settings_of, write
from tests.methods.advpicker.stored import read_pseudo_labels

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXTS = ["Anna Ort wohnt in Köln", "#", "# 1 .", "New York"]
SENTENCES = [Sentence(tuple(text.split()), None, i + 1) for i, text in enumerate(TEXTS)]
MADE_FROM = {"unlabelled de": "12", "teacher seed-1": "ab", "setting advpicker.rho": "0.8"}


def write_pseudo_labels(path, labels: PseudoLabels, made_from) -> None:
    write(path, files.LABELS, made_from, content_of_labels(labels))


@pytest.fixture
def made(rng) -> PseudoLabels:
    starts = np.cumsum([0, *(len(s.words) for s in SENTENCES)])
    probabilities = rng.dirichlet(np.full(5, 0.3), starts[-1]).astype(np.float32)
    merged = Merged(probabilities, starts, rng.random(4), np.array([0, 1, 1, 0]))
    return PseudoLabels(merged, np.array([True, False, True, True]), LABELS, ["seed-1", "seed-2"])


@pytest.fixture
def stored(made, tmp_path):
    path = tmp_path / "out" / "pseudo-labels-de.safetensors"
    write_pseudo_labels(path, made, MADE_FROM)
    return path


def refused(path, text: str, made_from=None) -> None:
    """Reading fails in one line that names the file."""
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {text}$") as caught:
        read_pseudo_labels(path, made_from)
    assert "\n" not in str(caught.value)


def test_round_trip(made, stored):
    for made_from in (MADE_FROM, None):
        found = read_pseudo_labels(stored, made_from)
        assert (found.labels, found.teachers) == (made.labels, made.teachers)
        for ours, theirs in zip((*found.merged, found.selected), (*made.merged, made.selected), strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    assert [path.name for path in stored.parent.iterdir()] == [stored.name], "nothing else is left"


def test_scores_of_a_teacher(rng, tmp_path, stored):
    path = tmp_path / "teacher" / "scored-de.safetensors"
    scored = Scored(rng.random((3, 5)), np.array([0, 1, 3]), rng.random(2), rng.random(2))
    write(path, files.SCORED, MADE_FROM, content_of_scores(scored))
    for ours, theirs in zip(read_scored(path, MADE_FROM), scored, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    refused(path, "expected pseudo-labels, found scores of a teacher")
    with pytest.raises(ValueError, match="expected scores of a teacher, found pseudo-labels$"):
        read_scored(stored, MADE_FROM)
    with pytest.raises(ValueError, match=r"made from something else: teacher seed-1 has changed; delete the file"):
        read_scored(path, MADE_FROM | {"teacher seed-1": "other"})


@pytest.mark.parametrize("changed, text", [
    (MADE_FROM | {"unlabelled de": "13"}, "unlabelled de has changed"),
    (MADE_FROM | {"setting advpicker.rho": "0.9"}, "setting advpicker.rho has changed"),
    (MADE_FROM | {"teacher seed-2": "cd"}, "teacher seed-2 is new"), ({}, "unlabelled de is gone")])
def test_what_was_made_from_something_else_is_refused(stored, changed, text):
    refused(stored, f"made from something else: {text}; delete the file to have it made again", changed)


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "no.safetensors", "expected pseudo-labels, found no file")
    refused(tmp_path, "expected pseudo-labels, found a folder")


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_file_that_is_cut_short(stored, length):
    stored.write_bytes(stored.read_bytes()[:length])
    refused(stored, r"the file is damaged \(.+\); delete the file to have it made again")


def test_a_bit_that_flipped(stored):
    content = bytearray(stored.read_bytes())
    content[-20] ^= 1
    stored.write_bytes(content)
    refused(stored, r"the file is damaged \(the arrays have changed\); delete the file to have it made again")


@pytest.mark.parametrize("metadata", [None, {"format": "np"}, {"minixl": "{"}, {"minixl": "[]"}, {"minixl": "{}"}])
def test_a_file_of_someone_else(stored, metadata):
    save_file(load_file(stored), stored, metadata)
    refused(stored, r"the file is damaged \(no minixl header\); delete the file to have it made again")


def test_arrays_that_do_not_fit(made, tmp_path):
    path, merged = tmp_path / "bad.safetensors", made.merged
    for change, why in [(merged._replace(starts=merged.starts[:-1]), "the arrays do not fit each other"),
                        (merged._replace(p_bar=merged.p_bar[:2]), "the arrays do not fit each other"),
                        (merged._replace(starts=merged.starts[[0, 2, 1, 3, 4]]), "the arrays do not fit each other"),
                        (merged._replace(starts=merged.starts + 1), "the arrays do not fit each other"),
                        (merged._replace(teacher=merged.teacher + 1), "labels or teachers do not fit the arrays"),
                        (merged._replace(probabilities=merged.probabilities[:, :4]), "labels or teachers do not fit the arrays")]:
        write_pseudo_labels(path, PseudoLabels(change, made.selected, made.labels, made.teachers), MADE_FROM)
        refused(path, rf"the file is damaged \({why}\); delete the file to have it made again")


def test_the_old_file_stays_when_the_new_one_cannot_be_written(made, stored, monkeypatch):
    def full(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minixl.run.once.save_file", full)
    with pytest.raises(ValueError, match=r"cannot be written \(.*No space left.*\); make room and continue with --resume$"):
        write_pseudo_labels(stored, made, MADE_FROM)
    assert read_pseudo_labels(stored, MADE_FROM).labels == LABELS and len(list(stored.parent.iterdir())) == 1


def test_the_settings_in_an_origin():
    settings = SCHEMA.settings({})
    before = settings_of(settings, SELECTING)
    assert before["setting advpicker.rho"] == "0.8"
    assert list(settings_of(settings, SCORING)) == [f"setting {name}" for name in SCORING]
    changed = settings_of(settings.override(["advpicker.rho=0.5"]), SELECTING)
    assert [name for name in before if before[name] != changed[name]] == ["setting advpicker.rho"]
    json.dumps(before)


def test_what_a_file_was_made_from_is_read_of_its_header(stored, tmp_path):
    assert is_made_from(stored, MADE_FROM) and is_made_from(stored, dict(reversed(MADE_FROM.items())))
    assert not is_made_from(stored, {}) and not is_made_from(stored, MADE_FROM | {"teacher seed-1": "other"})
    assert not is_made_from(tmp_path / "no.safetensors", MADE_FROM) and not is_made_from(tmp_path, MADE_FROM)
    for content in (stored.read_bytes()[:100], b"{}"):
        (tmp_path / "cut").write_bytes(content)
        assert not is_made_from(tmp_path / "cut", MADE_FROM)
    save_file(load_file(stored), tmp_path / "other", {"format": "np"})
    assert not is_made_from(tmp_path / "other", MADE_FROM)


def test_the_file_for_people(made, tmp_path):
    path = tmp_path / "pseudo-labels-de.conll"
    write_conll(path, SENTENCES, made)
    all_tags, selected = pseudo_tags(made.merged, LABELS, "IOB2"), [0, 2, 3]
    blocks = path.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    for i, block in zip(selected, blocks, strict=True):
        comment, *lines = block.split("\n")
        p_bar = made.merged.p_bar[i]
        assert comment == (f"# sentence {i + 1}: teacher seed-{made.merged.teacher[i] + 1}, source probability {p_bar:.4f}, "
                           f"independence {1 - abs(p_bar - 0.5):.4f}")
        for j, line in enumerate(lines):
            word, probability, tag = line.split("\t")
            row = made.merged.probabilities[made.merged.starts[i] + j]
            assert (word, tag) == (SENTENCES[i].words[j], all_tags[i][j])
            assert float(probability) == pytest.approx(row[LABELS.index(tag)], abs=6e-5)
    read = read_conll(path)
    assert [s.words for s in read.sentences] == [SENTENCES[i].words for i in selected]
    assert [list(s.tags) for s in read.sentences] == [all_tags[i] for i in selected]
    assert read.scheme == "IOB2" and not read.repaired


def test_words_that_were_cut(made, tmp_path):
    longer = [Sentence((*SENTENCES[0].words, "am", "Rhein"), None, 1), *SENTENCES[1:]]
    write_conll(tmp_path / "x.conll", longer, made)
    assert ", first 5 of 7 words\n" in (tmp_path / "x.conll").read_text(encoding="utf-8")
    assert read_conll(tmp_path / "x.conll").sentences[0].words == SENTENCES[0].words


def test_a_place_that_cannot_be_written(made, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x.conll: cannot be written \(.*(File exists|Not a directory).*\); make room"):
        write_conll(tmp_path / "file" / "x.conll", SENTENCES, made)
