"""Vector files that cannot be mapped: one line that names the file and the problem."""
import re
from pathlib import Path

import numpy as np
import pytest

from minixl.alignment import spaces
from minixl.alignment.spaces import read_spaces
from minixl.errors import UserError
from tests.alignment.planted import write_vectors

STEPS = ["unit", "center", "unit"]


@pytest.fixture
def write(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(spaces, "FEWEST", 20)

    def write_file(name, words=20, dim=3, change=None):
        matrix = rng.normal(size=(words, dim))
        if change:
            change(matrix)
        return str(write_vectors(tmp_path / name, [f"w{i}" for i in range(words)], matrix))
    return write_file


def refused(files, top=0):
    with pytest.raises(UserError) as error:
        read_spaces(files, top, STEPS, lambda message: None)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_spaces_are_read_and_normalised(write):
    read = read_spaces({"en": write("a.vec"), "es": write("b.vec", 30)}, 25, STEPS, print)
    assert [len(space.words) for space in read.values()] == [20, 25]
    for space in read.values():
        np.testing.assert_allclose(np.linalg.norm(space.matrix, axis=1), 1, rtol=1e-5)


def test_too_few_words(write):
    path = write("a.vec", 19)
    assert refused({"en": path}) == f"{path}: expected at least 20 words, found 19; a map learnt from so few is noise"


def test_different_dimensions(write):
    first, second = write("a.vec"), write("b.vec", dim=4)
    assert refused({"en": first, "es": second}).startswith(f"{second}: expected vectors of 3 dimensions, as in {first}, found 4;")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite(write, value):
    def change(matrix):
        matrix[4, 1] = value
    path = write("a.vec", change=change)
    assert re.match(rf"{re.escape(path)}:6: expected 3 finite float32 numbers .* found '{value}'", refused({"en": path}))


def test_a_header_that_promises_other_words_or_dimensions(write, tmp_path):
    text = Path(write("a.vec")).read_text(encoding="utf-8")
    for header, message in (("90 3", "the header promises 90 words, but the file has 20"), ("20 4", "expected 4 numbers")):
        path = tmp_path / "liar.vec"
        path.write_text(text.replace("20 3", header, 1), encoding="utf-8")
        assert message in refused({"en": str(path)})


def test_zero_vectors_are_reported(write):
    reports = []

    def change(matrix):
        matrix[3] = 0
    path = write("a.vec", change=change)
    read_spaces({"en": path}, 0, STEPS, reports.append)
    assert reports == [f"warning: {path}: 1 of 20 vectors are zero; these words have no translation"]
