"""What tests of whole runs share: a quiet reporter, tiny data in three languages, reading a run folder back, comparing two."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from minixl.data.inputs import Inputs
from minixl.methods import SCHEMA, resolve, train
from minixl.run.prepare import prepare
from minixl.run.prepared import Prepared, Texts
from minixl.settings import Settings
from minixl.training.progress import Stopped
from tests.tiny import write_encoder, write_ner, write_topics

NER = {"task": "ner", "train.epochs": 2, "train.batch_size": 4, "train.eval_every": 3, "data.max_length": 32, "optim.lr": 1e-3,
       "optim.head_lr": 1e-2, "adversary.size": 8, "adversary.lr": 1e-4}
RAW = {"es": "anna visita madrid\nben vive en paris .\nparis .\nanna vive\n", "fr": "ben visite paris\nanna vit a madrid .\n"}

TEACHER_STEPS, STUDENT_STEPS = 6, 4    # 12 sentences and one epoch; 4 selected sentences and two epochs; batches of 2


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.steps = 0                             # of training, in all stages together
        self.bars: list[tuple[str, int, int]] = []  # what for, how much there is to do, how much is done

    def message(self, text: str) -> None:
        self.messages.append(text)

    def start(self, total: int, done: int, label: str) -> None:
        self.bars.append((label, total, done))

    def step(self, tokens_per_second: float, count: int = 1) -> None:
        label, total, done = self.bars[-1]
        self.bars[-1] = label, total, done + count
        self.steps += count if label == "training" else 0

    def over(self, what: str) -> list[tuple[int, int]]:
        """(to do, done) of every bar for `what`."""
        return [(total, done) for name, total, done in self.bars if name == what]

    def finish(self) -> None:
        pass


def write_data(folder: Path, *, encoder: Callable[[Path], object] = write_encoder, repeat: int = 2) -> Path:
    """encoder/, which `encoder` writes, en.txt and es.txt (tagged), en.tsv and es.tsv (topics), es.raw and fr.raw (text)."""
    encoder(folder / "encoder")
    for language in ("en", "es"):
        write_ner(folder / f"{language}.txt", language, repeat=repeat)
        write_topics(folder / f"{language}.tsv", language, repeat=3)
    for language, text in RAW.items():
        (folder / f"{language}.raw").write_text(text, encoding="utf-8")
    return folder


def inputs(folder: Path, task: str = "ner", **roles: list[tuple[str, Path]]) -> Inputs:
    """English is labelled; Spanish and French are raw text, the latter in the classification runs as well."""
    suffix = "tsv" if task == "classification" else "txt"
    en, es = ("en", folder / f"en.{suffix}"), ("es", folder / f"es.{suffix}")
    given = {"source": [en], "dev": [en, es], "test": [en, es],
             "unlabelled": [("es", folder / "es.raw"), ("fr", folder / "fr.raw")], **roles}
    return Inputs(folder / "encoder", **given)


def settings(**changes: Any) -> Settings:
    """NER with changes; a double underscore stands for the dot."""
    return SCHEMA.settings({**NER, **{name.replace("__", "."): value for name, value in changes.items()}})


def run(folder: Path, out: Path, chosen: Settings, **how: Any) -> dict[str, Any]:
    """A run on the data of `folder`."""
    how = {"seed": 3, "reporter": Quiet(), "inputs": inputs(folder, chosen["task"]), **how}
    return train(chosen, how.pop("inputs"), out, **how)


def prepared(chosen: Settings, files: Inputs, seed: int = 1) -> Prepared:
    """Everything that a run with these settings reads and checks before it writes."""
    method, chosen, _ = resolve(chosen)
    return prepare(method, chosen, files, seed)


def texts(chosen: Settings, files: Inputs, seed: int = 1) -> tuple[Texts, Prepared]:
    """The examples that the run's streams deal out, by text, and what was prepared."""
    method, chosen, _ = resolve(chosen)
    read = prepare(method, chosen, files, seed)
    return method.texts(chosen, read, seed), read


def stopped(folder: Path, out: Path, chosen: Settings, count: int, **how: Any) -> None:
    """A run that is asked to stop after `count` steps, those of all stages together."""
    reporter = Quiet()
    with pytest.raises(Stopped):
        run(folder, out, chosen, reporter=reporter, stop=lambda: reporter.steps >= count, **how)
    assert reporter.steps == count


def records(out: Path) -> list[dict[str, Any]]:
    """log.jsonl."""
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def assert_same_run(one: Path, two: Path) -> None:
    """Parameters bit by bit, log, and all scores."""
    theirs = load_file(two / "model" / "model.safetensors")
    for name, value in load_file(one / "model" / "model.safetensors").items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    assert records(one) == records(two)
    before, after = (json.loads((out / "metrics.json").read_text(encoding="utf-8")) for out in (one, two))
    timed = ("seconds", "tokens_per_second", "peak_memory_bytes")
    assert {k: v for k, v in before.items() if k not in timed} == {k: v for k, v in after.items() if k not in timed}


def advpicker(**changes: Any) -> Settings:
    """Two teachers of TEACHER_STEPS steps, and a student of STUDENT_STEPS."""
    return settings(**{"method": "advpicker", "advpicker__teachers": 2, "advpicker__epochs": 1, "advpicker__rho": 0.75,
                       "train__epochs": 2, "train__batch_size": 2, "train__eval_every": 4, **changes})


def assert_same_pipeline(one: Path, two: Path) -> None:
    """As assert_same_run, of the teachers too, and the same pseudo-labels."""
    for part in ("teachers/seed-1", "teachers/seed-2", "."):
        assert_same_run(one / part, two / part)
    stored = sorted(path.name for path in (one / "pseudo-labels").iterdir())
    assert stored == sorted(path.name for path in (two / "pseudo-labels").iterdir())       # no .new left either
    for name in stored:
        if name.endswith(".conll"):
            assert (one / "pseudo-labels" / name).read_text() == (two / "pseudo-labels" / name).read_text()
        else:
            theirs = load_file(two / "pseudo-labels" / name)
            for key, value in load_file(one / "pseudo-labels" / name).items():
                np.testing.assert_array_equal(value, theirs[key], err_msg=f"{name} {key}")
