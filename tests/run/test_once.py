"""Files that a stage makes once: made again only where they are missing, refused where what they were made from has changed."""
from pathlib import Path

import numpy as np
import pytest

from minixl.errors import UserError
from minixl.run.once import Content, once, read, text_digest, where, write

FROM = {"unlabelled es": "12", "teacher seed-1": "ab", "setting data.max_length": "32"}
CONTENT = Content({"values": np.arange(6, dtype=np.float32).reshape(2, 3), "starts": np.array([0, 2])}, {"labels": ["O", "B-X"]})


class Maker:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Content:
        self.calls += 1
        return CONTENT


def assert_content(content: Content) -> None:
    assert content.notes["labels"] == CONTENT.notes["labels"]
    for name, array in CONTENT.arrays.items():
        assert content.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(content.arrays[name], array)


def test_a_file_is_made_once(tmp_path):
    make, path = Maker(), tmp_path / "deep" / "file.safetensors"
    for _ in range(2):
        assert_content(once(path, "scores", FROM, make))
    assert make.calls == 1 and [entry.name for entry in path.parent.iterdir()] == [path.name]
    path.unlink()
    once(path, "scores", FROM, make)
    assert make.calls == 2


@pytest.mark.parametrize(("changed", "said"), [
    ({**FROM, "unlabelled es": "13"}, "unlabelled es has changed"), ({**FROM, "teacher seed-2": "cd"}, "teacher seed-2 is new"),
    ({"unlabelled es": "12"}, "teacher seed-1 is gone")])
def test_a_file_made_from_something_else_is_refused(tmp_path, changed, said):
    path, make = tmp_path / "file.safetensors", Maker()
    once(path, "scores", FROM, make)
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"^{path}: made from something else: {said}; delete the file to have it made again$"):
        once(path, "scores", changed, make)
    assert make.calls == 1 and path.read_bytes() == before


def test_the_digest_of_a_text_is_those_of_its_files_in_their_order():
    files = [("es", Path("/b")), ("fr", Path("/c")), ("es", Path("/a"))]
    assert text_digest(files, "es", {"/a": "1", "/b": "2", "/c": "3"}) == "2 1"


def test_another_kind_of_file_is_refused(tmp_path):
    write(tmp_path / "file", "labels", FROM, CONTENT)
    with pytest.raises(UserError, match="^[^\n]*: expected scores, found labels$"):
        once(tmp_path / "file", "scores", FROM, Maker())


def test_a_file_elsewhere_is_used_if_it_was_made_from_the_same_and_never_written(tmp_path):
    other, own, make = tmp_path / "other", tmp_path / "own", Maker()
    write(other, "scores", FROM, CONTENT)
    before = other.read_bytes()
    assert where(own, FROM, [other]) == other
    assert_content(once(own, "scores", FROM, make, [other]))
    assert make.calls == 0 and not own.exists()
    assert_content(once(own, "scores", {**FROM, "unlabelled es": "13"}, make, [other]))
    assert make.calls == 1 and own.is_file() and other.read_bytes() == before


def test_a_maker_that_fails_leaves_nothing(tmp_path):
    def fail() -> Content:
        raise FloatingPointError("nan")

    with pytest.raises(FloatingPointError):
        once(tmp_path / "file", "scores", FROM, fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda text: text[:-1], lambda text: text[:-20] + bytes([text[-20] ^ 1]) + text[-19:],
                                    lambda text: b""])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "file.safetensors"
    write(path, "scores", FROM, CONTENT)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"^[^\n]*: the file is damaged \([^\n]+\); delete the file to have it made again$"):
        read(path, "scores")
