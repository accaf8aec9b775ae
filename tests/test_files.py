"""Atomic replacement of files and folders; digests, which depend on contents and not on dates or folder names."""
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from minixl.errors import UserError
from minixl.files import digest, folder_digest, replaced_file, replaced_folder


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def write(folder, text):
    with replaced_folder(folder) as fresh:
        (fresh / "config.json").write_text(text)


def test_new_and_replaced(tmp_path):
    for text in ("1", "2"):
        write(tmp_path / "a" / "model", text)
        assert (tmp_path / "a" / "model" / "config.json").read_text() == text
        assert listing(tmp_path / "a") == ["model"]


def test_a_failure_leaves_the_old_folder(tmp_path):
    write(tmp_path / "model", "old")
    with pytest.raises(ZeroDivisionError), replaced_folder(tmp_path / "model") as fresh:
        (fresh / "config.json").write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "model" / "config.json").read_text() == "old"
    assert listing(tmp_path) == ["model"]


def test_a_failing_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    write(tmp_path / "model", "old")
    rename = type(tmp_path).rename

    def fail(self, target):
        if "partial" in self.name:
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", fail)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        write(tmp_path / "model", "new")
    assert (tmp_path / "model" / "config.json").read_text() == "old"
    assert listing(tmp_path) == ["model"]


WRITER = """
import sys
from minixl.files import replaced_folder
with replaced_folder(sys.argv[1]) as fresh:
    (fresh / "config.json").write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_the_partial_folder_of_a_killed_process_is_removed(tmp_path):
    """But not while the process is running; folders with similar names are never touched."""
    similar = [".model.tex.partial", ".model.0.partial", ".model-2.99999999.partial", "model.99999999.partial"]
    for name in similar:
        (tmp_path / name).mkdir()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "model")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"written\n"
        write(tmp_path / "model", "1")
        assert listing(tmp_path) == sorted([*similar, f".model.{other.pid}.partial", "model"])
        other.kill()
    write(tmp_path / "model", "2")
    assert listing(tmp_path) == sorted([*similar, "model"])


def test_the_partial_folder_of_an_earlier_process_with_our_pid_is_removed(tmp_path):
    """In a container a process often has the same PID each time."""
    (tmp_path / f".model.{os.getpid()}.partial").mkdir()
    write(tmp_path / "model", "1")
    assert listing(tmp_path) == ["model"]


def test_the_partial_folder_of_another_users_process_stays(tmp_path, monkeypatch):
    def forbidden(pid, signal):
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / ".model.99999999.partial").mkdir()
    monkeypatch.setattr(os, "kill", forbidden)
    write(tmp_path / "model", "1")
    assert listing(tmp_path) == [".model.99999999.partial", "model"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds 'thesis.tex' that minixl did not write"):
        write(tmp_path, "new")
    assert listing(tmp_path) == ["config.json", "thesis.tex"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(UserError, match="expected a folder to write to, found a file"):
        write(tmp_path / "model", "new")


def test_the_target_of_a_link_is_replaced(tmp_path):
    write(tmp_path / "real", "1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "config.json").read_text() == "2"


def test_a_file_new_and_replaced(tmp_path):
    for text in ("a longer one", "2"):
        with replaced_file(tmp_path / "a" / "b.json") as fresh:
            fresh.write_text(text)
        assert (tmp_path / "a" / "b.json").read_text() == text
        assert listing(tmp_path / "a") == ["b.json"]


@pytest.mark.parametrize("error, expected, message", [
    (ZeroDivisionError("half"), ZeroDivisionError, "half"),
    (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
    (OSError(28, "No space left on device"), UserError, r"b.json: cannot be written \(No space left on device\); do this$")])
def test_a_failure_leaves_the_old_file(tmp_path, error, expected, message):
    (tmp_path / "b.json").write_text("old")
    with pytest.raises(expected, match=message), replaced_file(tmp_path / "b.json", "do this") as fresh:
        fresh.write_text("half")
        raise error
    assert (tmp_path / "b.json").read_text() == "old" and listing(tmp_path) == ["b.json"]


def test_a_file_in_a_place_where_none_can_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file/b: cannot be written \((File exists|Not a directory)\); make room"), \
            replaced_file(tmp_path / "file" / "b"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder: cannot be written \(Is a directory\)"), replaced_file(tmp_path / "folder"):
        pass
    assert listing(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_decides_who_may_read(tmp_path, umask, mode):
    """Although save_file allows only the owner, and whatever the mode of a file that a killed process left."""
    (tmp_path / "w.new").write_text("half")
    (tmp_path / "w.new").chmod(0o666)
    before = os.umask(umask)
    try:
        with replaced_file(tmp_path / "w") as fresh:
            save_file({"w": np.zeros(3)}, fresh)
    finally:
        os.umask(before)
    assert (tmp_path / "w").stat().st_mode & 0o777 == mode


def write_files(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_a_folder_digest_depends_on_contents_not_on_dates_or_its_name(tmp_path):
    first = folder_digest(write_files(tmp_path / "one", config_json="{}", vocab_txt="a", model_safetensors="1"))
    moved = (tmp_path / "one").rename(tmp_path / "two")
    os.utime(moved / "vocab.txt", (0, 0))
    write_files(moved / "onnx", model_safetensors="other")                          # subfolders are never read
    for name in ("README.md", "pytorch_model.bin"):
        (moved / name).write_text("x")
    assert folder_digest(moved) == first != ""
    seen = {first}
    for name, text in (("config.json", "{ }"), ("vocab.txt", "b"), ("model.safetensors", "2"), ("tokenizer.json", "")):
        (moved / name).write_text(text)
        seen.add(folder_digest(moved))
    assert len(seen) == 5
    (moved / "vocab.txt").rename(moved / "merges.txt")                        # the same bytes under another name
    assert folder_digest(moved) not in seen


def test_digests_of_what_is_not_there(tmp_path):
    assert folder_digest(tmp_path / "no") == folder_digest(write_files(tmp_path / "card", README_md="x")) == ""
    with pytest.raises(UserError, match=r"no.txt: cannot be read \(No such file or directory\)$"):
        digest(tmp_path / "no.txt")
