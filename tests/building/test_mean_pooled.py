"""A mean-pooled classifier in transformers: the same probabilities with trust_remote_code, refused without."""
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from minixl.building import ModelInfo, save_model
from minixl.models.transformer import Transformer
from minixl.prediction import Predictor
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer
from tests.tiny import write_encoder, write_xlm_r

TEXTS = ["anna visited the madrid .", "ben", "the paris visit in madrid ."]
SCRIPT = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
try:
    AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
else:
    raise SystemExit("loaded without trust_remote_code")
model = {line}.eval()
inputs = AutoTokenizer.from_pretrained(sys.argv[1])(json.loads(sys.argv[2]), padding=True, return_tensors="pt")
print()                                                # ends the line with the question whether to trust the code
print(json.dumps([model.config.id2label, model(**inputs).logits.softmax(-1).tolist()]))
"""


@pytest.mark.parametrize("write", [write_encoder, write_xlm_r])
def test_transformers_gives_the_same_probabilities_or_refuses(tmp_path, write):
    encoder, folder, labels = write(tmp_path / "encoder"), tmp_path / "model", ["home", "travel"]
    model = Transformer(read_config(encoder), labels, "mean")
    model.initialise(np.random.default_rng(3))
    model.store["classifier.weight"].value[...] *= 20
    load_parameters(encoder, {name: model.store[name].value for name in model.encoder_names()})
    tokenizer, info = Tokenizer(encoder), ModelInfo("classification", labels, "none", "mean", 32)
    save_model(folder, model, tokenizer, info, model.config.raw)
    line = re.search(r"`(AutoModel\S+\(.*?\))`", (folder / "README.md").read_text())[1].replace("PATH/TO/THIS/FOLDER", str(folder))
    done = subprocess.run([sys.executable, "-c", SCRIPT.replace("{line}", line), folder, json.dumps(TEXTS)], text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
                          env={"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""})
    assert done.returncode == 0, done.stderr
    names, probabilities = json.loads(done.stdout.splitlines()[-1])
    assert list(names.values()) == labels
    ours = Predictor.load(folder).predict(TEXTS)
    confidences = [row[labels.index(one["label"])] for one, row in zip(ours, probabilities, strict=True)]
    np.testing.assert_allclose(confidences, [one["confidence"] for one in ours], atol=1e-4)
    assert read_config(folder).model_type == model.config.model_type
