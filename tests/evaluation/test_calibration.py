"""The temperature of a classifier: recovered where it was planted, the error by hand, built into the saved model."""
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl import load
from minixl.evaluation.calibration import LEAST, RANGE, calibration_error, fit_temperature, log_softmax
from tests.tiny import write_topics
from tests.whole_runs import inputs, run, settings, write_data


@pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(rng, planted):
    """Labels are drawn from softmax(z); the model says planted · z, up to a constant for each text."""
    logits = rng.normal(size=(40000, 5)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    stated = planted * logits + rng.normal(size=(len(logits), 1))
    assert fit_temperature(stated, labels) == pytest.approx(planted, rel=0.03)
    confidences = [np.exp(log_softmax(stated, temperature).max(axis=1)) for temperature in (1.0, planted)]
    correct = logits.argmax(axis=1) == labels
    before, after = (calibration_error(values, correct) for values in confidences)
    assert after < 0.015 and (before > 0.05 or planted == 1.0)


def test_the_error_by_hand():
    """Two texts in the bin of 0.95 with one right, one in that of 0.41, which is right; 1.0 belongs to the last bin."""
    assert calibration_error(np.array([0.95, 0.94, 0.41]), np.array([True, False, True])) == pytest.approx(
        (abs(1 - 0.95 - 0.94) + abs(1 - 0.41)) / 3)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_few_texts_and_no_mistakes(rng):
    logits = np.eye(3)[rng.integers(0, 3, 100)] * 4
    assert fit_temperature(logits[:LEAST - 1], logits[:LEAST - 1].argmax(1)) == 1.0
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(RANGE[0], rel=1e-3)


def test_a_run_builds_it_into_the_model(tmp_path):
    """The logits are those of the same run without calibration, divided; predictions stay, confidences are the new ones."""
    data = write_data(tmp_path)
    write_topics(data / "en.tsv", "en", repeat=8)
    texts = ["anna visita madrid .", "ben vive en paris ."]
    outs, metrics = [tmp_path / "with", tmp_path / "without"], []
    for out, on in zip(outs, (True, False), strict=True):
        metrics.append(run(data, out, settings(task="classification", decode__calibrate=on), inputs=inputs(data, "classification")))
    temperature = metrics[0]["calibration"]["temperature"]
    assert temperature != 1 and "calibration" not in metrics[1] and metrics[0]["test"] == metrics[1]["test"]
    assert metrics[0]["calibration"].keys() == {"temperature", "error", "error_before"}
    assert set(metrics[0]["calibration"]["error"]) == {"en", "es"}
    ours, plain = (load_file(out / "model" / "model.safetensors") for out in outs)
    for name, value in plain.items():
        expected = value / np.float32(temperature) if name.startswith("classifier.") else value
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)
    for one, other in zip(*(load(out / "model").predict(texts) for out in outs), strict=True):
        assert one["label"] == other["label"]
        log_probs = np.log([[other["probabilities"][label] for label in other["probabilities"]]])
        np.testing.assert_allclose(list(one["probabilities"].values()), np.exp(log_softmax(log_probs, temperature))[0], atol=2e-4)
    assert json.loads((outs[0] / "metrics.json").read_text())["calibration"] == metrics[0]["calibration"]


def test_without_source_dev_nothing_is_divided(tmp_path):
    data = write_data(tmp_path)
    files = inputs(data, "classification", dev=[])
    metrics = run(data, tmp_path / "on", settings(task="classification"), inputs=files)
    run(data, tmp_path / "off", settings(task="classification", decode__calibrate=False), inputs=files)
    calibration = metrics["calibration"]
    assert calibration["temperature"] == 1.0 and calibration["error"] == calibration["error_before"]
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("on", "off"))
    assert all((value == two[name]).all() for name, value in one.items())
