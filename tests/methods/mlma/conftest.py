"""Tiny text in two languages, and a finished run on it."""
from __future__ import annotations

import gzip

import numpy as np
import pytest

from tests.methods.mlma.small import LINES, run
from tests.tiny import write_ner, write_vectors


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for language in ("en", "es"):
        write_ner(folder / f"{language}.txt", language, repeat=3)
    text = {language: "".join(f"{lines[i % 4]}\n" for i in range(26)) for language, lines in LINES.items()}
    (folder / "en.raw").write_text(text["en"], encoding="utf-8")
    with gzip.open(folder / "es.raw.gz", "wt", encoding="utf-8") as file:
        file.write(text["es"])
    rng = np.random.default_rng(5)
    for language in ("en", "es"):
        words = sorted({word for line in LINES[language] for word in line.lower().split()})
        write_vectors(folder / f"{language}.vec", {word: np.round(rng.normal(size=8), 3).tolist() for word in words[1:]})
    return folder


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, run(data, out)
