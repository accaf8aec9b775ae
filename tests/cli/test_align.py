"""minixl align: the table, the page, messages, resuming, bad input."""
import json
import re

import numpy as np
import pytest

from minixl.run.folder import locked
from tests.alignment.planted import planted_spaces, write_vectors

WORDS = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("align")
    spaces = planted_spaces(WORDS, 12)
    for language, matrix in {"en": spaces.x, "es": spaces.y}.items():
        write_vectors(folder / f"{language}.vec", [f"<{language}{i}>" if i else "100" for i in range(WORDS)], matrix)
    (folder / "pairs.txt").write_text("".join(f"<en{i}> <es{i}>\n" for i in range(1, 200)), encoding="utf-8")
    return folder


@pytest.fixture
def align(minixl, folder, tmp_path):
    def run(*options, out="out", source="en.vec", target="es.vec"):
        return minixl("align", "--source", f"en={folder / source}", "--target", f"es={folder / target}", "--out", tmp_path / out,
                      *options)
    return run


def test_a_dictionary_gives_a_map(align, folder, tmp_path):
    code, out, err = align("--method", "dictionary", "--dictionary", f"es={folder / 'pairs.txt'}", "--evaluate",
                           f"es={folder / 'pairs.txt'}", "--refine", "2", "--set", "align.criterion_words=300")
    assert code == 0
    head, row = out.splitlines()
    assert head.split()[:4] == ["map", "criterion", "chance", "pairs"] and head.endswith("CSLS @10")
    assert row.startswith("en-es") and len(re.findall(r"\d+\.\d\b", row)) == 6 and row.endswith("100.0")
    assert "en-es attempt 1" in err
    assert err.splitlines()[-1] == f"{tmp_path / 'out'} has the vectors, {tmp_path / 'out' / 'report.html'} " \
        "the curves and pictures"
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(metrics["targets"]["es"]["refinement"]) == 3


def test_the_page(align, folder, tmp_path):
    assert align("--method", "similarity", "--size", "cpu", "--set", "similarity.patience=1", "--evaluate",
                 f"es={folder / 'pairs.txt'}")[0] == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for part in ("<h2>en–es</h2>", "<h2>Objective</h2>", "<h2>Refinement</h2>", "CSLS @1 unrefined", "&lt;en5&gt;</title>",
                 "&lt;es5&gt;</title>"):
        assert part in page, part
    assert page.count("<circle") >= 600 and "<en5>" not in page and "failed" not in page


def test_a_failed_map_is_loud(align, tmp_path):
    code, _, err = align("--set", "adversarial.epoch_size=2000", "--set", "adversarial.hidden=8", "--refine", "0",
                         "--set", "adversarial.epochs=1", "--restarts", "2")
    assert code == 0 and "warning: en-es: THE MAP HAS FAILED" in err and "Try --method similarity" in err
    assert "<strong>This map has failed" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["targets"]["es"]
    assert [attempt["seed"] for attempt in metrics["attempts"]] == [1, 2]


def test_quiet_leaves_only_warnings(align):
    quick = [part for name in ("epoch_size=2000", "hidden=8", "epochs=1") for part in ("--set", f"adversarial.{name}")]
    _, out, err = align(*quick, "--refine", "0", "--quiet")
    assert len(out.splitlines()) == 2 and len(err.splitlines()) == 1 and err.startswith("warning: en-es: THE MAP HAS FAILED")


def test_tsne_pictures(align, tmp_path):
    assert align("--method", "identical", "--set", "align.picture=tsne", "--normalize", "unit")[0] == 0
    drawn = json.loads((tmp_path / "out" / "es" / "picture.json").read_text())
    assert drawn["kind"] == "tsne" and np.shape(drawn["after"]) == (2, 150, 2)


def test_a_used_folder_is_refused(align, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    code, _, err = align("--method", "identical")
    assert code == 1 and "the folder is in use; choose another" in err and "--resume" not in err
    (tmp_path / "out" / "config.toml").touch()
    assert "or continue with the same command and --resume" in align("--method", "identical")[2]


def test_stopping_and_resuming(align, tmp_path, monkeypatch):
    from minixl.cli import align as command
    options = ("--method", "similarity", "--set", "similarity.patience=1", "--size", "cpu")
    real = command.Progress.advance

    def interrupt(self, steps, text):
        import os
        import signal
        real(self, steps, text)
        if self.bar.pos == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(command.Progress, "advance", interrupt)
        code, out, err = align(*options)
    assert code == 143 and not out and err.endswith("stopped; continue with the same command and --resume\n")
    assert align(*options, "--resume")[0] == 0 and align(*options, out="whole")[0] == 0
    assert (tmp_path / "out" / "es.vec").read_bytes() == (tmp_path / "whole" / "es.vec").read_bytes()


def edited(folder, name, change):
    lines = (folder / "es.vec").read_text(encoding="utf-8").splitlines()
    (folder / name).write_text("\n".join(change(lines)) + "\n", encoding="utf-8")
    return name


@pytest.mark.parametrize("name, change, message", [
    ("narrow.vec", lambda lines: [f"{WORDS} 11", *(line.rpartition(" ")[0] for line in lines[1:])],
     "expected vectors of 12 dimensions"),
    ("few.vec", lambda lines: ["999 12", *lines[1:1000]], "expected at least 1,000 words, found 999"),
    ("nan.vec", lambda lines: [*lines[:9], re.sub(r" \S+$", " nan", lines[9]), *lines[10:]], "expected 12 finite float32 numbers"),
    ("words.vec", lambda lines: ["5000 12", *lines[1:]], "the header promises 5,000 words, but the file has 1,000"),
    ("wide.vec", lambda lines: ["1000 13", *lines[1:]], "expected 13 numbers (as the header on line 1), found 12"),
], ids=["dimensions", "few words", "NaN", "header: words", "header: dimensions"])
def test_bad_vectors_are_one_line(align, folder, tmp_path, name, change, message):
    code, out, err = align("--method", "identical", target=edited(folder, name, change))
    assert code == 1 and not out and len(err.splitlines()) == 1
    assert err.startswith(f"Error: {folder / name}:") and message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options, message", [
    (("--method", "dictionary"), "--method dictionary: expected --dictionary es=FILE as well"),
    (("--evaluate", "es=EMPTY"), "expected lines with a source word and its translation, found an empty file"),
    (("--normalize", "unit,long"), "--normalize: expected unit and center, separated by commas, or none, got 'long'"),
    (("--set", "align.topp=3"), "there is no setting 'align.topp'; did you mean align.top?"),
    (("--target", "es=x.vec"), "--target es=...: expected one file per language, found "),
])
def test_bad_options_are_one_line(align, folder, options, message):
    (folder / "EMPTY").touch()
    code, out, err = align(*(option.replace("EMPTY", str(folder / "EMPTY")) for option in options))
    assert code == 1 and not out and len(err.splitlines()) == 1 and message in err


@pytest.mark.parametrize("options, files, message", [
    ((), {"source": "eng.vec"}, "eng.vec: expected a file, found nothing; did you mean en.vec?"),
    (("--resume",), {}, "has no config.toml, so there is nothing to continue; leave out --resume")])
def test_a_mistyped_path_leaves_no_folder(align, tmp_path, options, files, message):
    code, out, err = align("--method", "identical", *options, **files)
    assert code == 1 and not out and len(err.splitlines()) == 1 and message in err
    assert not (tmp_path / "out").exists()


def test_two_commands_do_not_write_to_one_folder(align, tmp_path, monkeypatch):
    """The folder is locked, and checked again when the files have been read: another command may have used it meanwhile."""
    from minixl.alignment import align as module
    real, out = module.read_spaces, tmp_path / "out"

    def meanwhile(*arguments):
        out.mkdir()
        (out / "config.toml").touch()
        return real(*arguments)

    monkeypatch.setattr(module, "read_spaces", meanwhile)
    code, _, err = align("--method", "identical")
    assert code == 1 and "the folder is in use; choose another" in err and not (out / "config.toml").read_text()
    monkeypatch.setattr(module, "read_spaces", real)
    with locked(out):
        (out / "config.toml").unlink()
        code, _, err = align("--method", "identical")
    assert code == 1 and f"--out {out}: another process is writing to this folder" in err


def test_wrong_usage(align, minixl):
    assert align("--method", "magic")[0] == 2 and minixl("align")[0] == 2
