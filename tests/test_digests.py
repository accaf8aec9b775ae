"""Contents count, names of folders and dates do not."""
import os

import pytest

from minixl.files import digest, folder_digest
from minixl.errors import UserError


def write(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_folders(tmp_path):
    first = folder_digest(write(tmp_path / "one", config_json="{}", vocab_txt="a", model_safetensors="1"))
    moved = (tmp_path / "one").rename(tmp_path / "two")
    os.utime(moved / "vocab.txt", (0, 0))
    write(moved / "onnx", model_safetensors="other")                          # nothing reads what lies deeper
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


def test_nothing_there(tmp_path):
    assert folder_digest(tmp_path / "no") == folder_digest(write(tmp_path / "card", README_md="x")) == ""
    with pytest.raises(UserError, match=r"no.txt: cannot be read \(No such file or directory\)$"):
        digest(tmp_path / "no.txt")
