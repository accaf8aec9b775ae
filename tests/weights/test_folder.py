"""Model folders: configuration, loading by name, saving so that transformers loads the same."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer

from minixl.errors import UserError
from minixl.models.bert_config import encoder_shapes
from minixl.weights.folder import load_parameters, read_config, save_folder
from minixl.weights.safetensors_reader import SafetensorsReader
from minixl.weights.tokenizer import Tokenizer


def buffers(tensors, dtype=np.float32):
    return {name: np.full(value.shape, np.nan, dtype) for name, value in tensors.items()}


def assert_loaded(targets, tensors):
    for name, value in tensors.items():
        np.testing.assert_array_equal(targets[name], value, err_msg=name)


def old_name(name):
    return name.removeprefix("bert.").replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias",
                                                                                             "LayerNorm.beta")


def test_read_config(encoder, config_json):
    config = read_config(encoder)
    assert (config.hidden_size, config.vocab_size, config.raw) == (12, 23, config_json)


@pytest.mark.parametrize("content, text", [
    ("{", "config.json: not valid JSON"), ("[1]", "config.json: expected a JSON object"),
    ('{"hidden_size": 1}', "config.json: num_hidden_layers is missing")])
def test_a_broken_config(encoder, content, text):
    (encoder / "config.json").write_text(content)
    with pytest.raises(UserError, match=text):
        read_config(encoder)


def test_a_folder_that_is_none(tmp_path):
    for path, text in [(tmp_path / "none", "no such folder"), (tmp_path, "config.json is missing"),
                       (tmp_path / "file", "is a file, not a folder")]:
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError) as error:
            read_config(path)
        message = str(error.value)
        assert str(path) in message and text in message and "google-bert/bert-base-multilingual-cased" in message
        assert "config.json, model.safetensors and tokenizer.json or vocab.txt" in message and "\n" not in message


def test_the_encoder_that_minixl_makes(tmp_path):
    """A new user may give its name instead of its folder: the message says how to name it."""
    for path in (tmp_path / "e5-small", Path("e5-small")):
        with pytest.raises(UserError) as error:
            read_config(path)
        assert str(error.value) == (f"{path}: no such folder; give the name alone, --encoder e5-small, or the folder that minixl "
                                    "weights fetch e5-small prints")


@pytest.mark.parametrize("rename", [str, lambda name: name.removeprefix("bert."), old_name],
                         ids=["today", "no prefix", "old"])
def test_loading_under_every_spelling(encoder, tensors, rename):
    extra = {"cls.predictions.bias": np.zeros(3, np.float32), "cls.predictions.decoder.weight": np.zeros(3, np.float32),
             rename("bert.embeddings.position_ids"): np.arange(16)[None]}
    save_file({rename(name): value for name, value in tensors.items()} | extra, encoder / "model.safetensors")
    targets = buffers(tensors) | {"classifier.weight": np.full((3, 12), 7.0), "classifier.bias": np.full(3, 7.0)}
    report = load_parameters(encoder, targets, optional=["classifier."])
    assert_loaded(targets, tensors)
    assert (targets["classifier.weight"] == 7).all()
    assert report.loaded == tuple(tensors) and report.missing == ("classifier.weight", "classifier.bias")
    assert report.weights == sum(value.size for value in tensors.values())
    first, unused, missing = str(report).splitlines()
    assert first == f"loaded 39 parameters (0.0 M weights) from {encoder}" and missing == "newly initialised: classifier.* (2)"
    assert unused == "unused: bert.embeddings.position_ids, cls.* (2)"


def test_loading_shards(encoder, tensors):
    (encoder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({name: value for name, value in tensors.items() if files[name] == file}, encoder / file)
    (encoder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    targets = buffers(tensors, np.float64)
    load_parameters(encoder, targets)
    assert_loaded(targets, tensors)


def test_a_missing_parameter_is_named_and_nothing_is_written(encoder, tensors):
    kept = {name: value for name, value in tensors.items() if "pooler" not in name}
    save_file(kept, encoder / "model.safetensors")
    targets = buffers(tensors)
    with pytest.raises(UserError, match=r"bert.pooler.dense.weight \(and 1 more\) is missing; the model needs it"):
        load_parameters(encoder, targets)
    assert all(np.isnan(value).all() for value in targets.values())
    report = load_parameters(encoder, targets, optional=["bert.pooler.dense.weight", "bert.pooler.dense.bias"])
    assert report.missing == ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
    assert_loaded(targets, kept)


def test_a_wrong_shape_names_the_key_of_config_json(encoder, tensors):
    targets = buffers(tensors)
    name = "bert.encoder.layer.1.intermediate.dense.weight"
    save_file(tensors | {name: np.zeros((24, 12), np.float32)}, encoder / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_parameters(encoder, targets)
    assert str(error.value) == (f"{encoder / 'model.safetensors'}: {name} has shape (24, 12), the model needs (20, 12) "
                                f"(config.json: intermediate_size)")
    assert np.isnan(targets["bert.embeddings.LayerNorm.bias"]).all()


def test_a_head_of_another_shape(encoder, tensors):
    save_file(tensors | {"classifier.weight": np.zeros((9, 12), np.float32)}, encoder / "model.safetensors")
    with pytest.raises(UserError, match=r"classifier.weight has shape \(9, 12\), the model needs \(3, 12\)$"):
        load_parameters(encoder, buffers(tensors) | {"classifier.weight": np.zeros((3, 12))}, optional=["classifier."])


def test_quantised_weights_are_refused(encoder, tensors):
    name = "bert.pooler.dense.weight"
    save_file(tensors | {name: np.zeros((12, 12), np.int8)}, encoder / "model.safetensors")
    with pytest.raises(UserError, match=f"{name}: expected one of F32, F16, BF16, F64, found I8"):
        load_parameters(encoder, buffers(tensors))


def test_what_is_saved_is_what_transformers_loads(encoder, tensors, config_json, tmp_path):
    labels = {"id2label": {"0": "O", "1": "B-LOC"}, "label2id": {"O": 0, "B-LOC": 1}, "torch_dtype": "float16"}
    everything = {name: value for name, value in tensors.items() if "pooler" not in name}
    everything |= {"classifier.weight": np.arange(24, dtype=np.float32).reshape(12, 2).T,       # a strided view
                   "classifier.bias": np.ones(2, np.float32)}
    out = tmp_path / "run" / "model"
    for _ in range(2):                                                 # the second time it replaces the first
        save_folder(out, config_json | labels, everything, Tokenizer(encoder), {"task": "ner"}, "# A card\n")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "minixl.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "vocab.txt"]
    assert json.loads((out / "minixl.json").read_text()) == {"task": "ner"}
    theirs, info = AutoModelForTokenClassification.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and theirs.config.id2label == {0: "O", 1: "B-LOC"}
    state = theirs.state_dict()
    for name, value in everything.items():
        assert state[name].dtype == torch.float32
        np.testing.assert_array_equal(state[name].numpy(), value, err_msg=name)
    text = "Madrid, Sevilla 北京 é."
    assert AutoTokenizer.from_pretrained(out)(text, add_special_tokens=False).input_ids == Tokenizer(
        encoder).encode_texts([text])[0][0]
    targets = buffers(everything)
    load_parameters(out, targets)
    assert_loaded(targets, everything)


def test_the_shared_encoder(shared):
    folder = shared / "models/e5-small"
    config = read_config(folder)
    targets = {name: np.empty(shape, np.float32) for name, shape in encoder_shapes(config, pooler=False).items()}
    report = load_parameters(folder, targets)
    assert len(report.loaded) == len(targets) == 197
    theirs = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    for name, value in targets.items():
        np.testing.assert_array_equal(theirs[name.removeprefix("bert.")].numpy(), value, err_msg=name)
    assert len(SafetensorsReader(folder).names()) == len(report.loaded) + len(report.unused)
