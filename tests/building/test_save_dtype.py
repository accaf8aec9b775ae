"""Models whose folder has float16 weights: half the size, the same scores, and what transformers loads."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from minixl.building import load_model, save_model
from minixl.data.corpus import read_corpus
from minixl.errors import UserError
from minixl.evaluation.scores import score
from minixl.prediction import Predictor
from tests.building.test_folder import TEXT, our_logits, saved
from tests.whole_runs import inputs, run, settings, write_data

__all__ = ["saved"]                    # a fixture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def test_half_precision_is_read_as_single_precision(saved):
    """In every kind of head, and for transformers too where it has the head itself."""
    folder, model, info = saved
    before = (folder / "model.safetensors").stat().st_size
    save_model(folder, model, load_model(folder)[1], info, model.config.raw, "float16")
    assert (folder / "model.safetensors").stat().st_size < 0.6 * before
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "float16"
    again, tokenizer, read = load_model(folder)
    assert read == info
    for parameter in again.store:
        assert parameter.value.dtype == np.float32
        expected = model.store[parameter.name].value.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(parameter.value, expected, err_msg=parameter.name)
    if info.pooling == "mean":         # loads code of the folder: tests/building/test_mean_pooled.py
        return
    kind = {"token": transformers.AutoModelForTokenClassification, "cls": transformers.AutoModelForSequenceClassification}
    theirs = kind[info.pooling].from_pretrained(folder)
    assert theirs.config.dtype == torch.float16
    theirs = theirs.to(torch.float32).eval()
    ids = [tokenizer.cls_id, *tokenizer.encode_texts([TEXT])[0][0], tokenizer.sep_id]
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits.numpy()
    np.testing.assert_allclose(our_logits(again, ids), logits[0, 1:-1] if info.pooling == "token" else logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["transformer", "bilstm-crf"])
def test_a_run_saves_it_by_the_setting(folder, tmp_path, family):
    """Its scores are those of the folder within a thousandth, and a bilstm-crf's dtype is in config.json too."""
    files = inputs(folder) if family == "transformer" else replace(inputs(folder, unlabelled=[]), encoder=None)
    chosen = settings(model__type=family, model__save_dtype="float16", train__epochs=12)
    metrics = run(folder, tmp_path / "run", chosen, inputs=files)
    model = tmp_path / "run" / "model"
    assert {array.dtype.name for array in load_file(model / "model.safetensors").values()} == {"float16"}
    assert json.loads((model / "config.json").read_text())["torch_dtype"] == "float16"
    corpus = read_corpus("ner", "en", folder / "en.txt")
    tagged = Predictor.load(model).tag([list(sentence.words) for sentence in corpus.sentences()])
    scores = score("ner", corpus.gold(), [sentence.tags for sentence in tagged])
    assert scores["f1"] == pytest.approx(metrics["test"]["en"]["f1"], abs=1e-3)
    assert metrics["test"]["en"]["f1"] > 0.5


def test_weights_that_half_precision_cannot_hold(saved):
    folder, model, info = saved
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    model.store["classifier.weight"].value[0, 0] = -7e4
    with pytest.raises(UserError, match="^model.save_dtype: classifier.weight: expected weights of at most 65504, the largest "
                                        "float16, found 70000; train in a new --out folder with model.save_dtype=float32$"):
        save_model(folder, model, load_model(folder)[1], info, model.config.raw, "float16")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    save_model(folder, model, load_model(folder)[1], info, model.config.raw, "float32")
    assert load_model(folder)[0].store["classifier.weight"].value[0, 0] == -7e4
