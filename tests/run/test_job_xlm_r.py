"""Whole runs with an XLM-R: train, stop, resume, evaluate, predict, and train on from the saved model."""
import json

import numpy as np
import pytest
import torch
import transformers

from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.prediction import Predictor
from tests.tiny import write_xlm_r
from tests.whole_runs import assert_same_run, run, settings, stopped, write_data

MAX_PIECES = 64                        # of write_xlm_r: 66 positions


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), encoder=write_xlm_r)


def files(data, suffix="txt", encoder=None):
    en, es = ("en", data / f"en.{suffix}"), ("es", data / f"es.{suffix}")
    return Inputs(encoder or data / "encoder", source=[en], dev=[en], test=[en, es])


def test_train_resume_predict_and_load_with_transformers(data, tmp_path):
    inputs, chosen = files(data), settings(train__epochs=3)
    run(data, tmp_path / "whole", chosen, inputs=inputs)
    stopped(data, tmp_path / "parts", chosen, 4, inputs=inputs)
    run(data, tmp_path / "parts", chosen, inputs=inputs, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")

    folder = tmp_path / "whole" / "model"
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("xlm-roberta", ["XLMRobertaForTokenClassification"])
    words = "anna visited paris .".split()
    ours = Predictor.load(folder)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(words, is_split_into_words=True, return_tensors="pt")
    firsts = [inputs.word_ids().index(i) for i in range(len(words))]
    with torch.no_grad():
        logits = theirs(**inputs).logits[0, firsts].numpy()
    model, example = ours.model, ours.tokenizer.pieces_batch([words])[0]
    ids = np.array([ours.tokenizer.cls_id, *sum(example, []), ours.tokenizer.sep_id])
    assert ids.tolist() == inputs["input_ids"][0].tolist()
    hidden, _ = model.bert.forward(ids, np.arange(len(ids)), np.array([0, len(ids)]), keep=False)
    classifier = model.store.under("classifier")[""]
    np.testing.assert_allclose(hidden[firsts] @ classifier["weight"].T + classifier["bias"], logits, rtol=1e-4, atol=1e-5)


def test_the_longest_sentence_and_one_piece_more(data, tmp_path):
    """Two of the positions are never used."""
    (data / "long.txt").write_text("a\tO\n" * 99 + "b\tB-PER\n")
    inputs = Inputs(data / "encoder", source=[("en", data / "long.txt")])
    run(data, tmp_path / "run", settings(data__max_length=MAX_PIECES, train__max_steps=1), inputs=inputs)
    with pytest.raises(UserError, match="^data.max_length: 65 word pieces are more than the encoder's 64 positions"):
        run(data, tmp_path / "longer", settings(data__max_length=MAX_PIECES + 1), inputs=inputs)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_classify_and_train_on_from_the_saved_model(data, tmp_path, pooling):
    chosen = settings(task="classification", model__pooling=pooling, train__epochs=1)
    run(data, tmp_path / "first", chosen, inputs=files(data, "tsv"))
    model = tmp_path / "first" / "model"
    assert Predictor.load(model).predict(["anna visited paris ."])
    run(data, tmp_path / "second", settings(train__epochs=1), inputs=files(data, encoder=model))
    config = json.loads((tmp_path / "second" / "model" / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaForTokenClassification"] and "auto_map" not in config
