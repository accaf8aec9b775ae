"""A saved model is what transformers loads, with the same logits, and what minixl reads back."""
import json

import numpy as np
import pytest
import torch
import transformers

from minixl.data.batching import pack
from minixl.data.encoding import Example
from minixl.errors import UserError
from minixl.model_folder import ModelInfo, load_model, read_info, save_model
from minixl.models.transformer import Transformer
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder

LABELS = {"token": ["O", "B-PER", "I-PER"], "cls": ["home", "travel"], "mean": ["home", "travel"]}
TEXT = "anna visited the madrid"


@pytest.fixture(params=["token", "cls", "mean"])
def saved(request, tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    config = read_config(encoder)
    model = Transformer(config, LABELS[request.param], request.param)
    model.initialise(np.random.default_rng(3))
    load_parameters(encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")}, optional=model.head_names())
    info = ModelInfo("ner" if request.param == "token" else "classification", LABELS[request.param], "IOB2", request.param, 32,
                     scores={"es": {"f1": 0.5, "accuracy": 0.5}}, sources=["en"])
    save_model(tmp_path / "model", model, Tokenizer(encoder), info, config.raw)
    return tmp_path / "model", model, info


def our_logits(model, ids):
    rows = np.arange(1, len(ids) - 1) if model.pooling == "token" else np.zeros(0, int)
    batch = pack([Example(np.array(ids), rows, np.full(max(len(rows), 1), -100), 0, 0)])
    return model.forward(batch, keep=False)[0]


def test_transformers_gives_the_same_logits(saved):
    folder, model, info = saved
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
    kind = {"token": transformers.AutoModelForTokenClassification, "cls": transformers.AutoModelForSequenceClassification,
            "mean": transformers.AutoModel}[info.pooling]
    theirs = kind.from_pretrained(folder).eval()
    with torch.no_grad():
        out = theirs(**tokens)
    ids = tokens["input_ids"][0].tolist()
    if info.pooling == "mean":                                         # the head is applied as the model card says
        stored = {p.name: p.value for p in model.store}
        expected = out.last_hidden_state.mean(1).numpy() @ stored["classifier.weight"].T + stored["classifier.bias"]
    else:
        expected = out.logits.numpy()[0, 1:-1] if info.pooling == "token" else out.logits.numpy()
        assert theirs.config.id2label == dict(enumerate(info.labels))
    np.testing.assert_allclose(our_logits(model, ids), expected, rtol=1e-4, atol=1e-6)


def test_read_back_is_bit_equal(saved):
    folder, model, info = saved
    again, tokenizer, read = load_model(folder)
    assert read == info
    for parameter in model.store:
        np.testing.assert_array_equal(again.store[parameter.name].value, parameter.value, err_msg=parameter.name)
    ids = [tokenizer.cls_id, *tokenizer.encode_texts([TEXT])[0][0], tokenizer.sep_id]
    np.testing.assert_array_equal(our_logits(again, ids), our_logits(model, ids))


def test_the_card_names_labels_scores_and_use(saved):
    folder, _, info = saved
    card = (folder / "README.md").read_text()
    assert all(label in card for label in info.labels) and "| es | 50.0 |" in card and "minixl predict" in card


def test_broken_descriptions_are_one_line(saved, tmp_path):
    folder, _, _ = saved
    (folder / "minixl.json").write_text("{")
    with pytest.raises(UserError, match="minixl.json: not a model description of minixl"):
        read_info(folder)
    (folder / "minixl.json").write_text(json.dumps({"labels": []}))
    with pytest.raises(UserError, match="not a model description"):
        read_info(folder)
    (folder / "minixl.json").write_text(json.dumps({**vars(saved[2]), "pooling": "max"}))
    with pytest.raises(UserError, match="found '(ner|classification)' with 'max'"):
        read_info(folder)
    with pytest.raises(UserError, match="expected a model folder with minixl.json, found no such folder"):
        read_info(tmp_path / "none")
