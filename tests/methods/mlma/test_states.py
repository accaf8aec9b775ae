"""States for any text: those of the language model, in a file that says which words they belong to."""
from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from minixl.building.language_model import load_language_model
from minixl.cli.main import cli
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.methods import SCHEMA, train
from minixl.methods.mlma.states import load_reader, states_of, write_states
from minixl.packing import starts_of
from tests.whole_runs import Quiet

LINES = ["Anna visita Madrid .", "", "ben lives in paris"]


def test_states_are_those_of_the_language_model(finished, tmp_path):
    out, _ = finished
    folder, file = out / "language-model" / "model", tmp_path / "states.safetensors"
    shapes = write_states(load_reader(folder), LINES, file)
    stored = load_file(file)
    assert stored["starts"].tolist() == [0, 4, 4, 8] and shapes["states"] == stored["states"].shape == (8, 3, 16)
    assert bytes(stored["words"]).decode().split("\n") == "Anna visita Madrid . ben lives in paris".split()
    model, lexicon = load_language_model(folder)
    for language, words, rows in (("es", LINES[0], slice(0, 4)), ("en", LINES[2], slice(4, 8))):
        known = lexicon.words_of(language)
        ids = np.array([2 + known.index(word) if word in known else 1 for word in words.lower().split()])
        states, _ = model.states(language, ids, starts_of([len(ids)]))
        for layer in range(3):
            expected = np.concatenate([states[direction][layer] for direction in ("forward", "backward")], axis=1)
            np.testing.assert_allclose(stored["states"][rows, layer], expected, rtol=1e-5, atol=1e-6)


def test_a_tagger_has_representations_too(finished):
    out, _ = finished
    reader = load_reader(out / "model")
    found = states_of(reader, [LINES[0].split()], "es")
    alone = states_of(load_reader(out / "language-model" / "model"), [LINES[0].split()], "es")
    np.testing.assert_allclose(found["states"], alone["states"], rtol=1e-6)
    lowest, highest = found["states"].min(axis=1), found["states"].max(axis=1)
    assert found["representations"].shape == (4, 16) and "representations" not in alone
    assert (found["representations"] >= lowest - 1e-5).all() and (found["representations"] <= highest + 1e-5).all()
    assert not np.allclose(states_of(reader, [LINES[0].split()], "en")["states"], found["states"])


def test_the_command(finished, tmp_path):
    out, _ = finished
    model, file = str(out / "language-model" / "model"), tmp_path / "x.safetensors"
    done = CliRunner().invoke(cli, ["states", model, "--language", "es", "--out", str(file)], input="anna vive .\n")
    assert done.exit_code == 0, done.output
    assert "states          3 x 3 x 16" in done.output and load_file(file)["starts"].tolist() == [0, 3]


def test_mistakes(data, finished, tmp_path):
    out, _ = finished
    with pytest.raises(UserError, match="^expected lines of text, found no word$"):
        write_states(load_reader(out / "model"), ["", " "], tmp_path / "x")
    with pytest.raises(UserError, match="^language fr: expected one of en, es"):
        write_states(load_reader(out / "model"), LINES, tmp_path / "x", "fr")
    tagger = Inputs(None, source=[("en", data / "en.txt")])
    train(SCHEMA.settings({"model.type": "bilstm-crf", "train.max_steps": 1, "train.epochs": 0}), tagger, tmp_path / "run",
          reporter=Quiet())
    with pytest.raises(UserError, match="expected a language model or a tagger on one, found a bilstm-crf; `minixl train mlma`"):
        load_reader(tmp_path / "run" / "model")
    with pytest.raises(UserError, match="expected a model folder with minixl.json, found none in it"):
        load_reader(tmp_path)
    assert not (tmp_path / "x").exists()
