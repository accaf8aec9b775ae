"""The commands with --device cuda: what they print is what they print on the CPU."""
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.alignment.planted import planted_spaces, write_vectors
from tests.cli.conftest import minixl, models  # noqa: F401

pytestmark = pytest.mark.gpu
TEXT = "anna visita madrid .\nben vive en paris .\n\nparis anna ben\n"


@pytest.mark.parametrize("name", ["ner", "topics", "pos"])
def test_predict_and_evaluate(minixl, models, cuda, name):  # noqa: F811
    suffix = {"ner": "es.txt", "topics": "es.tsv", "pos": "pos.txt"}[name]
    model = models / name / "model"
    for command, stdin in ((("predict", model, "--format", "text"), TEXT), (("predict", model, "--format", "jsonl"), TEXT),
                           (("evaluate", model, f"es={models / suffix}", "--json"), "")):
        there, here = (minixl(*command, "--device", device, stdin=stdin) for device in ("cuda", "cpu"))
        assert there[0] == here[0] == 0, there[2] + here[2]
        assert numbers_apart(there[1]) == numbers_apart(here[1])


def numbers_apart(text):
    """Confidences are rounded to four digits; where the two devices round to different neighbours, three agree."""
    return re.sub(r"0\.\d{4}\b", lambda found: f"{float(found[0]):.2f}", text)


def test_train_resume_and_predict(minixl, models, tmp_path, cuda):  # noqa: F811
    """A run of three steps, with dropout; a second run has the same losses, since a step's masks depend on seed and step alone."""
    files = ("--encoder", models / "encoder", "--source", f"en={models / 'en.txt'}", "--dev", f"en={models / 'en.txt'}",
             "--test", f"es={models / 'es.txt'}", "--set", "train.max_steps=3", "--set", "train.epochs=0", "--set",
             "train.batch_size=4", "--set", "data.max_length=32")
    losses = []
    for out in (tmp_path / "one", tmp_path / "two"):
        code, _, err = minixl("train", "finetune-ner", *files, "--device", "cuda", "--out", out)
        assert code == 0, err
        losses.append([record["value"] for record in map(json.loads, (out / "log.jsonl").read_text().splitlines())
                       if record["kind"] == "update"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    weights = load_file(tmp_path / "one" / "model" / "model.safetensors")
    assert all(np.isfinite(value).all() for value in weights.values())
    code, out, err = minixl("predict", tmp_path / "one" / "model", "--input", "text", "--format", "conll", "--device", "auto",
                            stdin="anna vive .\n")
    assert code == 0 and [line.split("\t")[0] for line in out.strip().splitlines()] == ["anna", "vive", "."], err


ALIGNED = {"adversarial.hidden": 8, "adversarial.epochs": 1, "adversarial.epoch_size": 1500, "adversarial.dropout": 0.0,
           "refine.iterations": 1, "align.criterion_words": 200, "similarity.max_iterations": 4, "similarity.start_words": 100}


@pytest.mark.parametrize("method", ["adversarial", "identical", "dictionary", "similarity"])
def test_align(minixl, tmp_path, cuda, many_steps, method):  # noqa: F811
    """The mapping is the one of the CPU."""
    spaces = planted_spaces(1000, 8)
    for language, matrix in {"en": spaces.x, "es": spaces.y}.items():
        write_vectors(tmp_path / f"{language}.vec", [str(i) if i < 60 else f"{language}{i}" for i in range(1000)], matrix)
    (tmp_path / "pairs.txt").write_text("".join(f"en{i} es{i}\n" for i in range(60, 120)), encoding="utf-8")
    pairs = ("--dictionary", f"es={tmp_path / 'pairs.txt'}") if method == "dictionary" else ()
    changes = [part for name, value in ALIGNED.items() for part in ("--set", f"{name}={value}")]
    mappings = []
    for device in ("cuda", "cpu"):
        code, _, err = minixl("align", "--source", f"en={tmp_path / 'en.vec'}", "--target", f"es={tmp_path / 'es.vec'}", "--method",
                              method, "--device", device, "--out", tmp_path / device, *pairs, *changes)
        assert code == 0, err
        files = sorted((tmp_path / device).rglob("*.safetensors"))
        mappings.append({f"{path.name} {name}": array for path in files for name, array in load_file(path).items()})
    assert mappings[0] and mappings[0].keys() == mappings[1].keys()
    for name, array in mappings[0].items():
        np.testing.assert_allclose(array, mappings[1][name], atol=1e-3, err_msg=name)
