"""Sizes of config.json that the weights do not have are an error before any memory is allocated for them."""
import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from safetensors.numpy import load_file, save_file

from minixl.building import load_model
from minixl.errors import UserError
from minixl.evaluation.translations import load_encoder
from minixl.methods import SCHEMA, train
from tests.tiny import write_xlm_r
from tests.whole_runs import Quiet, inputs, prepared, settings, write_data

HUGE = 10**9
SIZES = ("hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings", "type_vocab_size")
WORDS = ("word_size", "char_size", "char_hidden", "word_hidden", "dense_size", "vocabulary_size", "alphabet_size")


def in_shards(folder: Path) -> None:
    """Divide the weights of a folder into two files with an index."""
    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(arrays)}
    for file in set(files.values()):
        save_file({name: array for name, array in arrays.items() if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tiny data, an encoder, and a model of each family."""
    folder = write_data(tmp_path_factory.mktemp("data"))
    train(settings(train__max_steps=1), inputs(folder), folder / "bert", reporter=Quiet())
    files = replace(inputs(folder, unlabelled=[]), encoder=None)
    words = SCHEMA.recipe("bilstm-crf-ner").override(["train.epochs=0", "train.max_steps=1"])
    train(words, files, folder / "words", reporter=Quiet())
    return folder


@pytest.fixture(autouse=True)
def nothing_is_allocated(monkeypatch):
    """Only the checks may see the sizes: a store of such a model would take all memory."""
    def refuse(*_, **__):
        raise AssertionError("a model was built")
    for module in ("transformer", "bilstm_crf"):
        monkeypatch.setattr(f"minixl.models.{module}.ParameterStore", refuse)
    monkeypatch.setattr("minixl.evaluation.translations.ParameterStore", refuse)


@pytest.fixture
def changed(monkeypatch):
    """changed(folder, name=value): config.json with other values, as long as the test runs."""
    def change(folder: Path, **values):
        read = Path.read_bytes
        text = json.dumps({**json.loads((folder / "config.json").read_text()), **values}).encode()
        monkeypatch.setattr(Path, "read_bytes", lambda path: text if path == folder / "config.json" else read(path))
    return change


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_an_encoder(folder, changed, name):
    changed(folder / "encoder", **{name: HUGE})
    for build in (lambda: prepared(settings(), inputs(folder)), lambda: load_encoder(folder / "encoder")):
        with pytest.raises(UserError, match=rf"encoder/model.safetensors: bert.* has shape .*{HUGE}.* .config.json: {name}.$"):
            build()


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_a_model(folder, changed, name):
    changed(folder / "bert" / "model", **{name: HUGE})
    with pytest.raises(UserError, match=rf"model/model.safetensors: bert.* has shape .*{HUGE}.* .config.json: {name}.$"):
        load_model(folder / "bert" / "model")


@pytest.mark.parametrize("layers", [4, HUGE])
def test_layers_of_models_and_encoders(folder, changed, layers):
    message = f"config.json: num_hidden_layers: expected at most 3, as many as the weights have, found {layers}; undo"
    changed(folder / "encoder", num_hidden_layers=layers)
    for build in (lambda: prepared(settings(), inputs(folder)), lambda: load_encoder(folder / "encoder")):
        with pytest.raises(UserError, match=message):
            build()
    changed(folder / "bert" / "model", num_hidden_layers=layers)
    with pytest.raises(UserError, match=message):
        load_model(folder / "bert" / "model")


@pytest.mark.parametrize("name", [*SIZES, "num_hidden_layers"])
def test_sizes_of_an_xlm_r_in_shards(folder, changed, name):
    xlm_r = folder / "xlm-r"
    if not xlm_r.exists():
        in_shards(write_xlm_r(xlm_r))
    changed(xlm_r, **{name: HUGE})
    with pytest.raises(UserError, match=f"{name}.*{HUGE}" if name == "num_hidden_layers" else rf"has shape .*{HUGE}.*: {name}.$"):
        prepared(settings(), replace(inputs(folder), encoder=xlm_r))


def test_sizes_without_weights(folder, changed, tmp_path):
    encoder = Path(copytree(folder / "encoder", tmp_path / "encoder"))
    (encoder / "model.safetensors").unlink()
    changed(encoder, hidden_size=HUGE, num_hidden_layers=HUGE)
    with pytest.raises(UserError, match="no weights found; expected model.safetensors"):
        prepared(settings(), replace(inputs(folder), encoder=encoder))


@pytest.mark.parametrize("name", WORDS)
def test_sizes_of_a_model_of_words(folder, changed, name):
    changed(folder / "words" / "model", **{name: HUGE})
    with pytest.raises(UserError, match=r"model.safetensors: .* has shape .*, the model needs .*0000000"):
        load_model(folder / "words" / "model")
