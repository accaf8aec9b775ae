"""Replacing a folder in one go."""
import pytest

from minixl.errors import UserError
from minixl.weights.atomic import replaced_folder


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
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        write(tmp_path / "model", "new")
    assert (tmp_path / "model" / "config.json").read_text() == "old"
    assert listing(tmp_path) == ["model"]


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds 'thesis.tex' that minixl did not write"):
        write(tmp_path, "new")
    assert listing(tmp_path) == ["config.json", "thesis.tex"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(UserError, match="expected a folder to write to, found a file"):
        write(tmp_path / "model", "new")


def test_a_link_keeps_pointing_to_the_place(tmp_path):
    write(tmp_path / "real", "1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "config.json").read_text() == "2"
