"""A saved model is what transformers loads, with the same logits, and what minixl reads back."""
import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from minixl.building import ModelInfo, load_info, load_model, save_model
from minixl.data.batching import pack
from minixl.data.encoding import Example
from minixl.data.lexicon import Lexicon
from minixl.errors import UserError
from minixl.models.augmented_tagger import AugmentedTagger
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.transformer import Transformer
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder, write_xlm_r

LABELS = {"token": ["O", "B-PER", "I-PER"], "cls": ["home", "travel"], "mean": ["home", "travel"]}
TEXT = "anna visited the madrid"


@pytest.fixture(params=[(pooling, write) for write in (write_encoder, write_xlm_r) for pooling in LABELS],
                ids=lambda param: f"{param[0]} {param[1].__name__.removeprefix('write_')}")
def saved(request, tmp_path):
    pooling, write = request.param
    encoder = write(tmp_path / "encoder")
    config = read_config(encoder)
    model = Transformer(config, LABELS[pooling], pooling)
    model.initialise(np.random.default_rng(3))
    load_parameters(encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")}, optional=model.head_names())
    info = ModelInfo("ner" if pooling == "token" else "classification", LABELS[pooling], "IOB2", pooling, 32,
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
    if info.pooling == "mean":
        pytest.skip("mean pooling is compared in tests/building/test_mean_pooled.py")
    kind = {"token": transformers.AutoModelForTokenClassification,
            "cls": transformers.AutoModelForSequenceClassification}[info.pooling]
    theirs, loading = kind.from_pretrained(folder, output_loading_info=True)
    theirs.eval()
    assert not (loading["missing_keys"] or loading["unexpected_keys"]), loading
    assert theirs.config.model_type == model.config.model_type
    with torch.no_grad():
        out = theirs(**tokens)
    ids = tokens["input_ids"][0].tolist()
    ours = Tokenizer(folder)
    assert ids == [ours.cls_id, *ours.encode_texts([TEXT])[0][0], ours.sep_id]
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
    with pytest.raises(UserError, match="minixl.json: not valid JSON"):
        load_info(folder)
    (folder / "minixl.json").write_text(json.dumps({"labels": []}))
    with pytest.raises(UserError, match="minixl.json: missing: task, scheme, pooling, max_length; "):
        load_info(folder)
    (folder / "minixl.json").write_text(json.dumps({**vars(saved[2]), "pooling": "max"}))
    with pytest.raises(UserError, match="found '(ner|classification)' with 'max'"):
        load_info(folder)
    with pytest.raises(UserError, match="expected a model folder with minixl.json, found no such folder"):
        load_info(tmp_path / "none")


def tagger(folder, vocabulary=("anna", "paris"), labels=("O", "B-PER", "I-PER", "E-PER", "S-PER"), kind=BilstmCrf, **sizes):
    """A saved BiLSTM-CRF, or another model of this kind, with random weights."""
    lexicon = Lexicon(list(vocabulary), list("anpris"))
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, **{"word_size": 4, "char_size": 3, "char_hidden": 2,
                                                                                "word_hidden": 3, "dense_size": 3, **sizes})
    made = kind(config, list(labels), lexicon)
    made.initialise(np.random.default_rng(4))
    info = ModelInfo("ner", list(labels), "IOBES", "token", 32, family=made.family, sources=["en"])
    save_model(folder, made, lexicon, info, config.to_json())
    return made, info


@pytest.mark.parametrize("kind", [BilstmCrf, AugmentedTagger])
def test_a_word_level_model_read_back_is_bit_equal(tmp_path, kind):
    model, info = tagger(tmp_path / "model", kind=kind, tied=True, start_end=True)
    again, lexicon, read = load_model(tmp_path / "model")
    assert read == info and lexicon.vocabulary == ("anna", "paris") and again.config == model.config
    for parameter in model.store:
        np.testing.assert_array_equal(again.store[parameter.name].value, parameter.value, err_msg=parameter.name)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "conditional random field" in card and "transformers" not in card and "at most 32 words" in card
    assert again.for_language("es") is again and ("both encoders" in card) == (kind is AugmentedTagger)
    assert (again.for_language("en") is again) == (kind is BilstmCrf)


def test_a_word_level_model_is_saved_over_an_older_one(tmp_path):
    """As a run does that is killed after its model was written and before its scores were."""
    tagger(tmp_path / "model")
    tagger(tmp_path / "model", vocabulary=("anna", "ben", "paris"))
    assert load_model(tmp_path / "model")[1].vocabulary == ("anna", "ben", "paris")


def changed(name, **values):
    """Values of a JSON file of the folder."""
    def change(folder, other):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **values}))
    return change


def copied(name):
    return lambda folder, other: shutil.copy(other / name, folder / name)


def without(name):
    return lambda folder, other: (folder / name).unlink()


def cut(name, size):
    return lambda folder, other: (folder / name).write_bytes((folder / name).read_bytes()[:size])


DAMAGED = {
    "no lexicon": (without("lexicon.json"), "lexicon.json: expected the lexicon of a bilstm-crf model, found none"),
    "cut lexicon": (cut("lexicon.json", 50), "lexicon.json: not valid JSON: .*copy the model folder again"),
    "lexicon of another model": (copied("lexicon.json"),
                                 "m: config.json: vocabulary_size: expected 4, as in lexicon.json, found 3"),
    "no config": (without("config.json"), "config.json: cannot be read .No such file or directory.; copy the folder again"),
    "config of another kind": (changed("config.json", model_type="bert"), "model_type: expected 'bilstm-crf', found 'bert'"),
    "config of another size": (changed("config.json", dense_size=7), r"dense.weight has shape \(3, 6\), the model needs \(7, 6\)$"),
    "config without cells": (changed("config.json", tied=True),
                             r"config.json: the model it describes has no char_lstm.\* \(3\), word"),
    "config with more": (changed("config.json", start_end=True), r"crf.start_transitions \(and 1 more\) is missing"),
    "weights of another model": (copied("model.safetensors"),
                                 r"word_embeddings.weight has shape \(4, 4\), the model needs \(3, 4\)$"),
    "cut weights": (cut("model.safetensors", 300), "model.safetensors: truncated"),
    "no weights": (without("model.safetensors"), "no weights found; expected model.safetensors"),
    "family": (changed("minixl.json", family="lstm"),
               "minixl.json: family: expected one of transformer, bilstm-crf, augmented-tagger, mlma-tagger, found 'lstm'"),
    "another family": (changed("minixl.json", family="augmented-tagger"), r"target_char_lstm.\w+ \(and \d+ more\) is missing"),
    "length": (changed("minixl.json", max_length="32"), "minixl.json: max_length: expected a whole number, 8 or more, found '32'"),
    "short": (changed("minixl.json", max_length=7), "minixl.json: max_length: expected a whole number, 8 or more, found 7; copy"),
    "discriminator": (changed("minixl.json", discriminator="tokens"),
                      "minixl.json: discriminator: expected one of none, sentence, token, found 'tokens'"),
    "its size": (changed("minixl.json", discriminator_size=0),
                 "minixl.json: discriminator_size: expected a whole number above 0, found 0"),
    "long": (changed("minixl.json", on_long="cut"), "minixl.json: on_long: expected one of window, truncate, error, found 'cut'"),
    "labels": (changed("minixl.json", labels="O"), "minixl.json: labels: expected a list of different names, found 'O'"),
    "scheme": (changed("minixl.json", scheme="IOB2"), "minixl.json: scheme: expected IOB2 tags .*found 'E-PER'"),
    "one label more": (changed("minixl.json", labels=["O", "S-LOC", "B-PER", "I-PER", "E-PER", "S-PER"]),
                       r"classifier.weight has shape \(5, 3\), the model needs \(6, 3\)"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_word_level_models_are_one_line(tmp_path, name):
    damage, message = DAMAGED[name]
    tagger(tmp_path / "m")
    tagger(tmp_path / "other", vocabulary=("anna", "ben", "paris"))
    load_model(tmp_path / "m")
    damage(tmp_path / "m", tmp_path / "other")
    with pytest.raises(UserError, match=message) as error:
        load_model(tmp_path / "m")
    assert "\n" not in str(error.value) and "m/" in str(error.value).replace("m: ", "m/")


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("task", ["ner"], "one of ner, pos, classification"), ("task", {}, "one of ner, pos, classification"),
    ("scheme", ["IOB2"], "text"), ("labels", [], "a list of different names"), ("labels", ["O", "O"], "a list of different names"),
    ("pooling", {}, "text"), ("constrained", "no", "true or false"), ("seed", "1", "a whole number, 0 or more"),
    ("seed", True, "a whole number, 0 or more"), ("scores", [1], "{language: {figure: number}}"),
    ("scores", {"es": {"f1": "high"}}, "{language: {figure: number}}"), ("sources", "en", "a list of languages"),
    ("max_length", 32.0, "a whole number, 8 or more"), ("on_long", [], "one of window, truncate, error")])
def test_odd_values_of_the_description(tmp_path, name, value, expected):
    tagger(tmp_path / "m")
    changed("minixl.json", **{name: value})(tmp_path / "m", None)
    with pytest.raises(UserError) as error:
        load_info(tmp_path / "m")
    message = f"{tmp_path}/m/minixl.json: {name}: expected {expected}, found {value!r}; copy the model folder again"
    assert str(error.value) == message


def test_a_length_beyond_the_positions(saved):
    folder = saved[0]
    changed("minixl.json", max_length=10**6)(folder, None)
    with pytest.raises(UserError, match=r"max_length: expected at most \d+ \(the positions of config.json\)"):
        load_model(folder)


def test_where_a_model_is(tmp_path):
    """A run's folder in place of its model's, finished or not, with several seeds, and a model that is not written yet."""
    tagger(tmp_path / "run" / "model")
    tagger(tmp_path / "seeds" / "seed-1" / "model")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.toml").touch()
    for name, cure in (("run", f"did you mean {tmp_path}/run/model[?]"),
                       ("seeds", f"did you mean {tmp_path}/seeds/seed-1/model[?]"),
                       ("seeds/model", f"did you mean {tmp_path}/seeds/seed-1/model[?]"),
                       ("begun", f"the run is not finished, continue it with minixl train --resume --out {tmp_path}/begun"),
                       ("begun/model", f"the run is not finished, continue it with minixl train --resume --out {tmp_path}/begun"),
                       ("nowhere", "`minixl train` writes one to RUN/model")):
        with pytest.raises(UserError, match=f"^{tmp_path}/{name}: expected a model folder with minixl.json, found .*; {cure}$"):
            load_model(tmp_path / name)


def test_an_empty_description_is_one_line(tmp_path):
    tagger(tmp_path / "m")
    (tmp_path / "m" / "minixl.json").write_text("{}")
    with pytest.raises(UserError, match="minixl.json: missing: task, labels, scheme, pooling, max_length; copy the model "
                                        "folder again$"):
        load_model(tmp_path / "m")
