"""Runs of every method on tiny data, by one process or by several that mpiexec started.

    python -m tests.distributed.runs DATA OUT float32|float64 [CASE ...]

Each case trains 20 steps in its last stage, in OUT/CASE, without dropout, and keeps the checkpoint of the last step; in float32 it
trains them again in OUT/again/CASE.
"""
from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minixl.data.inputs import Inputs
from minixl.distributed.launch import together
from minixl.methods import SCHEMA, train
from minixl.parameters import ParameterStore
from minixl.training import summing
from tests.methods.mlma.small import LINES, TINY as LANGUAGE_MODEL
from tests.methods.zero_resource.test_runs import TINY as AUGMENTED
from tests.tiny import write_vectors
from tests.whole_runs import NER, Quiet, write_data

STEPS = 20
COMMON = {"train.max_steps": STEPS, "train.epochs": 0, "train.eval_every": STEPS, "train.keep_checkpoint": True}
ENCODER = {**NER, **COMMON, "model.dropout": 0.0}
WORDS = {"model.dropout": 0.0}
PERTURBED = {"perturbation.kind": "adversarial", "perturbation.epsilon": 0.1}
SMALL_CRF = {name: value for name, value in AUGMENTED.items() if name.startswith(("model.", "optim.")) and name != "model.tied"}
CASES: Mapping[str, dict[str, Any]] = {
    "finetune": {**ENCODER, "train.accumulate": 2},
    "documents": {**ENCODER, "task": "classification", "model.pooling": "mean", **PERTURBED, "perturbation.norm": "table"},
    "kept": {**ENCODER, "model.freeze": "bottom:1", "model.keep_frozen": True},
    "bilstm-crf": {**AUGMENTED, **COMMON, **WORDS, **SMALL_CRF, "method": "finetune", "model.type": "bilstm-crf", **PERTURBED,
                   "perturbation.compare": True},
    "adversary": {**ENCODER, "method": "language-adversarial", "adversary.level": "token", "linkage.level": "sentence",
                  "linkage.lr": 1e-4, "perturbation.kind": "random", "train.accumulate": 2},
    "linkage": {**ENCODER, "adversary.level": "sentence", "linkage.level": "token", "linkage.lr": 1e-4, "train.batch_size": 2,
                "linkage.distance": "moments"},
    "advpicker": {**ENCODER, "method": "advpicker", "advpicker.teachers": 2, "advpicker.epochs": 2, "advpicker.rho": 0.75,
                  "advpicker.audit": True},
    "self-learning": {**ENCODER, "method": "self-learning", "self_learning.rounds": 1, "self_learning.count": 1},
    "zero-resource": {**AUGMENTED, **COMMON, **WORDS, "zero_resource.audit": True},
    "mlma": {**LANGUAGE_MODEL, **COMMON, **WORDS, "language_model.steps": STEPS, "language_model.dropout": 0.0,
             "language_model.samples": 4, "mlma.identical_strings": 0.1, "mlma.cosine_linkage": 0.1, "mlma.mean": 0.1},
}


def write(folder: Path) -> Path:
    """Write the data of all cases."""
    write_data(folder, repeat=3)
    for language in ("en", "es"):
        (folder / f"{language}.lines").write_text("".join(f"{LINES[language][i % 4]}\n" for i in range(26)), encoding="utf-8")
    rng = np.random.default_rng(5)
    words = "anna ben paris madrid visited lives visit the in visita vive en .".split()
    write_vectors(folder / "all.vec", {word: np.round(rng.normal(size=7), 3).tolist() for word in words})
    return folder


def inputs(case: str, data: Path) -> Inputs:
    """Return the files of a case."""
    suffix = "tsv" if case == "documents" else "txt"
    en, es = ("en", data / f"en.{suffix}"), ("es", data / f"es.{suffix}")
    roles = {"source": [en], "dev": [en, es], "test": [en, es]}
    if case in ("zero-resource", "bilstm-crf"):
        unlabelled = [es] if case == "zero-resource" else []
        return Inputs(None, **roles, unlabelled=unlabelled, vectors=[("en", data / "all.vec")])
    if case == "mlma":
        return Inputs(None, **roles, unlabelled=[("en", data / "en.lines"), ("es", data / "es.lines")])
    raw = [("es", data / "es.txt")] if case == "self-learning" else [("es", data / "es.raw"), ("fr", data / "fr.raw")]
    return Inputs(data / "encoder", **roles, unlabelled=[] if case in ("finetune", "documents", "kept") else raw)


def use(dtype: str) -> None:
    """Make all parameters of this process float64 or float32."""
    plain = ParameterStore.__init__

    def init(self: ParameterStore, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **{**options, "dtype": np.dtype(dtype)})

    ParameterStore.__init__ = init                                     # type: ignore[method-assign]


def run(case: str, data: Path, out: Path, **options: Any) -> None:
    """Train a case."""
    chosen = SCHEMA.settings(CASES[case])
    train(chosen, inputs(case, data), out / case, **{"seed": 3, "reporter": Quiet(), **options})


def main(data: str, out: str, dtype: str, *cases: str) -> None:
    """Train some cases, or all; gradients are summed in so small buckets that every case has several."""
    use(dtype)
    summing.BUCKET = 1 << 12
    for case in cases or CASES:
        run(case, Path(data), Path(out))
        if dtype == "float32":
            run(case, Path(data), Path(out) / "again")


if __name__ == "__main__":
    with together():
        partial(main, *sys.argv[1:])()
