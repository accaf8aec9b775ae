"""Tiny whole runs of every method, for comparing devices and counting what crosses between host and device."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minixl.data.inputs import Inputs
from minixl.methods import SCHEMA
from minixl.parameters import ParameterStore
from minixl.settings import Settings
from tests.tiny import write_vectors
from tests.whole_runs import write_data

COMMON = {"train.epochs": 0, "train.max_steps": 20, "train.batch_size": 4, "train.eval_every": 10, "model.dropout": 0.0,
          "optim.warmup": 0.0, "optim.schedule": "constant"}
ENCODER = {**COMMON, "task": "ner", "data.max_length": 32, "optim.lr": 1e-3, "optim.head_lr": 1e-2, "adversary.size": 8,
           "adversary.lr": 1e-4}
WORDS = {**COMMON, "task": "ner", "model.word_size": 10, "model.word_hidden": 8, "model.dense_size": 8, "model.char_size": 5,
         "model.char_hidden": 4, "optim.name": "adam", "optim.lr": 0.02}
AUGMENTED = {**COMMON, "task": "ner", "method": "zero-resource", "model.type": "augmented-tagger", "model.word_hidden": 6,
             "model.dense_size": 5, "model.char_size": 4, "model.char_hidden": 3, "model.tied": True, "optim.name": "adam",
             "optim.lr": 0.02, "zero_resource.source_epochs": 1, "zero_resource.shortest": 3, "zero_resource.round_steps": 7}
TOPICS = {**ENCODER, "task": "classification"}

# name -> settings
RUNS: dict[str, Mapping[str, Any]] = {
    "finetune": ENCODER,
    "finetune, documents": TOPICS,
    "finetune, frozen layers kept, accumulated": {**ENCODER, "model.freeze": ["bottom:1"], "model.keep_frozen": True,
                                                  "train.accumulate": 2},
    "perturbation": {**ENCODER, "perturbation.kind": "adversarial", "perturbation.epsilon": 0.5},
    "linkage": {**ENCODER, "linkage.level": "token", "linkage.lr": 1e-4},
    "language-adversarial, sentences": {**TOPICS, "method": "language-adversarial", "adversary.level": "sentence"},
    "language-adversarial, tokens": {**ENCODER, "method": "language-adversarial", "adversary.level": "token"},
    "advpicker": {**ENCODER, "method": "advpicker", "advpicker.teachers": 2, "advpicker.epochs": 1, "advpicker.rho": 0.75},
    "self-learning": {**ENCODER, "method": "self-learning", "train.epochs": 1, "train.max_steps": 0, "self_learning.rounds": 2,
                      "self_learning.count": 1, "self_learning.stop_on": "rounds"},
    "bilstm-crf": {**WORDS, "model.type": "bilstm-crf"},
    "bilstm-crf, all parts": {**WORDS, "model.type": "bilstm-crf", "model.variational": True, "train.accumulate": 2,
                              "optim.name": "sgd"},
    "zero-resource": AUGMENTED,
}


def write_run_data(folder: Path) -> Path:
    """The data of tests/whole_runs.py, and vectors of its words."""
    write_data(folder)
    rng = np.random.default_rng(5)
    words = "anna ben paris madrid visited lives visit the in visita vive en .".split()
    write_vectors(folder / "all.vec", {word: np.round(rng.normal(size=7), 3).tolist() for word in words})
    return folder


def inputs_of(folder: Path, chosen: Mapping[str, Any]) -> Inputs:
    """The files for a run with these settings."""
    suffix = "tsv" if chosen["task"] == "classification" else "txt"
    en, es, raw = ("en", folder / f"en.{suffix}"), ("es", folder / f"es.{suffix}"), ("es", folder / "es.raw")
    family, method = chosen.get("model.type", ""), chosen.get("method", "finetune")
    unlabelled = {"self-learning": [es], "zero-resource": [es]}.get(method, [raw])
    vectors = {"vectors": [("en", folder / "all.vec")]} if family == "augmented-tagger" else {}
    reads = method != "finetune" or "linkage.level" in chosen
    return Inputs(None if family else folder / "encoder", source=[en], dev=[en, es], test=[en, es],
                  **({"unlabelled": unlabelled} if reads else {}), **vectors)


def settings_of(chosen: Mapping[str, Any], **changes: Any) -> Settings:
    """The settings of a run; a double underscore stands for the dot."""
    known = {**chosen, **{name.replace("__", "."): value for name, value in changes.items()}}
    if known.get("model.type"):
        known.pop("data.max_length", None)
    return SCHEMA.settings(known)


@pytest.fixture
def in_float64(monkeypatch):
    """Models compute in float64, so that two devices can be compared to the last digits."""
    original = ParameterStore.__init__

    def wide(self, shapes, *, tables=(), dtype=np.float32, xp=np):
        original(self, shapes, tables=tables, dtype=np.float64, xp=xp)
    monkeypatch.setattr(ParameterStore, "__init__", wide)
