"""Conversion: shards to one file, old names to current ones, dtypes."""
import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from minixl.errors import UserError
from minixl.weights.convert import convert, missing_for_training
from minixl.weights.folder import load_parameters
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_xlm_r


def test_old_shards_to_one_folder(encoder, tensors, config_json, tmp_path):
    (encoder / "model.safetensors").unlink()
    old = {name.removeprefix("bert.").replace("LayerNorm.weight", "LayerNorm.gamma"): value
           for name, value in tensors.items()}
    files = {name: f"model-0000{1 + i % 3}-of-00003.safetensors" for i, name in enumerate(old)}
    for file in set(files.values()):
        save_file({name: value for name, value in old.items() if files[name] == file}, encoder / file)
    (encoder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert convert(encoder, tmp_path / "new", "float16") == len(tensors)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert json.loads((tmp_path / "new/config.json").read_text()) == config_json | {"torch_dtype": "float16"}
    converted = load_file(tmp_path / "new/model.safetensors")
    assert set(converted) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(converted[name], value.astype(np.float16), err_msg=name)
    targets = {name: np.empty(value.shape, np.float32) for name, value in tensors.items()}
    load_parameters(tmp_path / "new", targets)
    assert Tokenizer(tmp_path / "new").pieces_batch([["Sevilla"]])[0] == [[5]]


@pytest.mark.parametrize("architecture", ["XLMRobertaModel", "XLMRobertaForSequenceClassification"])
def test_an_xlm_r_is_loaded_by_transformers(tmp_path, architecture):
    write_xlm_r(tmp_path / "old", architecture=architecture)
    convert(tmp_path / "old", tmp_path / "new", "float32")
    kind = getattr(transformers, architecture)
    theirs, loading = kind.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert not (loading["missing_keys"] or loading["unexpected_keys"]), loading
    expected = kind.from_pretrained(tmp_path / "old").state_dict()
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, expected[name]), name
    convert(tmp_path / "new" / "model.safetensors", tmp_path / "file.safetensors")
    assert set(load_file(tmp_path / "file.safetensors")) == set(load_file(tmp_path / "new" / "model.safetensors"))


@pytest.mark.parametrize("dtype, expected", [(None, "float32"), ("float32", "float32"), ("float16", "float16")])
def test_one_file(tmp_path, dtype, expected):
    values = {"w": torch.randn(3, 4).bfloat16(), "ids": torch.arange(5)}
    save_torch(values, tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "deep/b.safetensors", dtype)
    converted = load_file(tmp_path / "deep/b.safetensors")
    assert converted["w"].dtype == expected and converted["ids"].dtype == np.int64         # whole numbers stay as they are
    np.testing.assert_array_equal(converted["w"], values["w"].to(getattr(torch, expected)).numpy())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["b.safetensors"]


def test_what_float16_cannot_hold(tmp_path):
    save_file({"w": np.array([1e5], np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="w: expected weights within ±65504 for float16, found larger ones"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "float16")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("name", ["out.bin", "out.PT", "out.json"])
def test_a_name_of_another_kind_of_file_is_no_folder(encoder, tmp_path, name):
    with pytest.raises(UserError) as error:
        convert(encoder, tmp_path / name)
    assert str(error.value) == (f"{tmp_path}/{name}: expected a name that ends in .safetensors, or that of a folder, found "
                                f"{name[3:]}; give {tmp_path}/out.safetensors or {tmp_path}/out")
    assert not (tmp_path / name).exists() and convert(encoder, tmp_path / "mbert-v1.1")


@pytest.mark.parametrize("name, expected", [("new", "new or empty folder, found one with files"),
                                            ("new.safetensors", "new file, found an existing one")])
def test_what_is_there_is_not_replaced(encoder, tmp_path, name, expected):
    (tmp_path / "new").mkdir()                                          # an empty folder is as good as none
    convert(encoder, tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: expected a {expected}; choose another, or remove it first$"):
        convert(encoder, tmp_path / name, "float16")
    file = tmp_path / "new" / "model.safetensors" if name == "new" else tmp_path / name
    assert {value.dtype for value in load_file(file).values()} == {np.dtype(np.float32)}


def test_a_file_without_its_ending(encoder, tmp_path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(UserError, match="b: expected a folder to write to, or a name that ends in .safetensors, found a file"):
        convert(encoder, tmp_path / "b")
    assert (tmp_path / "b").read_text() == "mine"


@pytest.mark.parametrize("files, missing", [
    (["config.json", "vocab.txt"], []), (["config.json", "tokenizer.json"], []), (["config.json", "lexicon.json"], []),
    (["config.json", "tokenizer_config.json"], ["tokenizer (tokenizer.json or vocab.txt)"]),
    (["vocab.txt"], ["config.json"]), ([], ["config.json", "tokenizer (tokenizer.json or vocab.txt)"])])
def test_what_a_folder_lacks(tmp_path, files, missing):
    for name in files:
        (tmp_path / name).touch()
    assert missing_for_training(tmp_path) == missing


def test_onto_itself(encoder):
    with pytest.raises(UserError, match="expected a target other than the source"):
        convert(encoder, encoder.parent / "." / "encoder")


def test_a_folder_named_like_a_file(encoder, tmp_path):
    (tmp_path / "b.safetensors").mkdir()
    with pytest.raises(UserError, match="expected a file to write to, found a folder"):
        convert(encoder, tmp_path / "b.safetensors")
