"""Whole runs with a language discriminator or the average linkage: what they leave, resume, and what reads their models."""
import json

import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file

from minixl.data.corpus import encode_corpus, read_corpus
from minixl.evaluation.scores import score
from minixl.prediction import Predictor, predict_labels
from tests.whole_runs import Quiet, assert_same_run, inputs, records, run, settings, stopped, write_data

ADVERSARIAL = ("discriminator", "generator")
FROZEN = {"model__freeze": ["bottom:1"], "model__keep_frozen": True}
METHODS = {                                        # name -> settings, the losses of one step
    "sentence": ({"method": "language-adversarial", "adversary__level": "sentence"}, ["task", *ADVERSARIAL]),
    "token": ({"method": "language-adversarial", "adversary__level": "token"}, ["task", *ADVERSARIAL]),
    "finetune+adversary": ({"adversary__level": "token"}, ["task", *ADVERSARIAL]),
    "finetune+linkage": ({"linkage__level": "sentence"}, ["task", "average linkage"]),
    "all": ({"method": "language-adversarial", "adversary__level": "sentence", "linkage__level": "sentence"},
            ["task", *ADVERSARIAL, "average linkage"]),
    "token+frozen": ({"method": "language-adversarial", "adversary__level": "token", **FROZEN}, ["task", *ADVERSARIAL]),
    "sentence+accumulate": ({"method": "language-adversarial", "adversary__level": "sentence", "train__accumulate": 2},
                            ["task", *ADVERSARIAL]),
    "linkage+frozen": ({"linkage__level": "sentence", **FROZEN}, ["task", "average linkage"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """whole(name) -> the folder of a run that was not stopped."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / "run"
            run(folder, made[name], settings(train__keep_checkpoint=True, **METHODS[name][0]))
        return made[name]
    return make


@pytest.mark.parametrize("name", METHODS)
def test_what_a_run_logs_and_keeps(whole, name):
    changes, losses = METHODS[name]
    out = whole(name)
    updates = [record for record in records(out) if record["kind"] == "update"]
    assert [(u["step"], u["loss"]) for u in updates] == [(step, loss) for step in range(6) for loss in losses]
    for update in updates:
        assert (update["accuracy"] is not None) == (update["loss"] in ADVERSARIAL)
        assert update["accuracy"] is None or 0 <= update["accuracy"] <= 1
    state = load_file(out / "checkpoint" / json.loads((out / "checkpoint" / "latest.json").read_text())["files"]["state"])
    assert {key.split("/")[1] for key in state if key.startswith("optimizer/")} == set(losses)
    assert all(state[f"optimizer/{loss}/steps"] == 6 for loss in losses)
    moments = {loss: sum(array.size for key, array in state.items() if key.startswith(f"optimizer/{loss}/span"))
               for loss in losses}
    weights = {part: 2 * sum(-(-array.size // 64) * 64 for key, array in state.items() if key.startswith(f"parameter/{part}"))
               for part in ("discriminator", "classifier")}            # two moments a weight, each array from a multiple of 64
    if "discriminator" in losses:
        assert moments["discriminator"] == weights["discriminator"]
        assert moments["task"] - moments["generator"] == weights["classifier"] > 0


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_resume_is_bit_equal(folder, whole, tmp_path, name, steps):
    """Before, at and after an evaluation."""
    chosen = settings(**METHODS[name][0])
    stopped(folder, tmp_path / "run", chosen, steps)
    run(folder, tmp_path / "run", chosen, resume=True)
    assert_same_run(whole(name), tmp_path / "run")


@pytest.mark.parametrize("name", ["token", "sentence+accumulate"])
def test_resume_is_bit_equal_when_stopped_after_every_step(folder, whole, tmp_path, name):
    chosen = settings(**METHODS[name][0])
    stopped(folder, tmp_path / "run", chosen, 1)
    for _ in range(4):
        stopped(folder, tmp_path / "run", chosen, 1, resume=True)
    run(folder, tmp_path / "run", chosen, resume=True)
    assert_same_run(whole(name), tmp_path / "run")


@pytest.mark.parametrize("level", ["sentence", "token"])
def test_the_model_folder_holds_the_discriminator(folder, whole, level):
    out = whole(level)
    stored = {name: array for name, array in load_file(out / "model" / "model.safetensors").items() if "discriminator" in name}
    predictor = Predictor.load(out / "model", device="cpu")
    assert predictor.info.discriminator == predictor.model.discriminator == level and stored
    assert set(predictor.model.discriminator_names()) == set(stored)
    for name, array in stored.items():
        np.testing.assert_array_equal(predictor.model.store[name].value, array)
    assert len(predictor.predict(["anna visita madrid ."])[0]["tags"]) == 4
    corpus = read_corpus("ner", "es", folder / "es.txt")
    encoded = encode_corpus(corpus, predictor.tokenizer, predictor.info.labels, max_length=32, on_long="window")
    again = score("ner", corpus.gold(), predict_labels(predictor.model, encoded, "IOB2"))
    assert again == json.loads((out / "metrics.json").read_text())["test"]["es"]


def test_transformers_loads_the_model_and_names_the_discriminator(whole):
    _, said = transformers.AutoModelForTokenClassification.from_pretrained(whole("token") / "model", output_loading_info=True)
    assert not said["missing_keys"] and not said["mismatched_keys"]
    assert said["unexpected_keys"] and all(key.startswith("discriminator.") for key in said["unexpected_keys"])


@pytest.mark.parametrize("level", ["sentence", "token"])
def test_classification(folder, tmp_path, level):
    chosen = settings(task="classification", method="language-adversarial", adversary__level=level)
    metrics = run(folder, tmp_path / "whole", chosen)
    assert set(metrics["test"]) == {"en", "es"} and set(metrics["test"]["es"]) == {
        "accuracy", "support", "macro_f1", "by_class", "confusion"}
    stopped(folder, tmp_path / "run", chosen, 4)
    run(folder, tmp_path / "run", chosen, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert Predictor.load(tmp_path / "run" / "model").predict(["anna"])[0]["label"] in ("home", "travel")


def test_text_of_all_languages_is_read(folder, tmp_path):
    """Two target languages, and more text of the source language than its labelled file holds."""
    more = tmp_path / "en.raw"
    more.write_text("ben visited anna\n" * 5)
    reporter = Quiet()
    files = inputs(folder, unlabelled=[("en", more), ("es", folder / "es.raw"), ("fr", folder / "fr.raw")])
    chosen = settings(method="language-adversarial", adversary__level="token", train__max_steps=1, train__keep_checkpoint=True)
    run(folder, tmp_path / "run", chosen, inputs=files, reporter=reporter)
    said = [message.split(":")[0] for message in reporter.messages if message.startswith("unlabelled ")]
    assert said == ["unlabelled en", "unlabelled es", "unlabelled fr"]
    streams = json.loads((tmp_path / "run" / "checkpoint" / "latest.json").read_text())["streams"]
    counts = {name: len(stream["order"]) for name, stream in streams.items()}
    assert counts == {"source": 12, "source/discriminator": 17, "source/generator": 17, "target/discriminator": 6,
                      "target/generator": 6}
    for language in ("source", "target"):                              # each stream has an order of its own
        assert streams[f"{language}/discriminator"]["order"] != streams[f"{language}/generator"]["order"]


def test_an_adversary_of_rate_zero_changes_nothing_else(folder, tmp_path):
    """Its streams and its dropout are its own: the task's updates are those of plain fine-tuning."""
    run(folder, tmp_path / "plain", settings())
    run(folder, tmp_path / "still", settings(adversary__level="token", adversary__lr=0.0))
    still = load_file(tmp_path / "still" / "model" / "model.safetensors")
    for name, value in load_file(tmp_path / "plain" / "model" / "model.safetensors").items():
        np.testing.assert_array_equal(value, still[name], err_msg=name)
