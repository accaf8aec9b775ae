"""What tests of whole runs of MLMA share: tiny settings, the files of a run, a run."""
from __future__ import annotations

from minixl.data.inputs import Inputs
from minixl.methods import SCHEMA, train
from tests.whole_runs import Quiet

TINY = {"task": "ner", "method": "mlma", "model.type": "mlma-tagger", "model.word_hidden": 6, "model.dense_size": 0,
        "model.char_size": 4, "model.char_hidden": 3, "model.layer_sum_size": 5, "optim.name": "adam", "optim.lr": 0.02,
        "optim.warmup": 0.0, "optim.schedule": "exponential", "optim.decay": 0.1, "train.batch_size": 4, "train.epochs": 2,
        "language_model.hidden": 8, "language_model.heads": 2, "language_model.layers": 2, "language_model.intermediate": 12,
        "language_model.lr": 1e-2, "language_model.steps": 7, "language_model.eval_every": 3, "language_model.tokens": 30,
        "language_model.held_out": 3, "language_model.shortest": 2}
FILES = {"unlabelled": {"en": "en.raw", "es": "es.raw.gz"}, "source": {"en": "en.txt"}, "dev": {"en": "en.txt", "es": "es.txt"},
         "test": {"en": "en.txt", "es": "es.txt"}}
LINES = {"en": ["anna visited paris .", "Ben lives in Madrid .", "the visit", "ben visited the madrid ."],
         "es": ["Anna visita Madrid .", "ben vive en paris .", "anna vive .", "ben visita paris"]}


def inputs(data, encoder=None, **roles) -> Inputs:
    given = {**FILES, **({"unlabelled": {}} if encoder else {}), **roles}
    return Inputs(encoder, **{role: [(language, data / name) for language, name in files.items()] for role, files in given.items()})


def settings(**changes):
    return SCHEMA.settings({**TINY, **{name.replace("__", "."): value for name, value in changes.items()}})


def run(data, out, chosen=None, **how):
    how = {"seed": 3, "reporter": Quiet(), "inputs": inputs(data), **how}
    return train(chosen or settings(), how.pop("inputs"), out, **how)
