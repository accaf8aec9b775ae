"""OUT/rounds.json: what happened in every round, for the report and for the stop rules.

    [{"round": 1, "labelled": 2000, "dev": 0.81, "test": {"es": 0.74}, "languages": {"es": {
        "pool": 800, "new": 200, "selected": 200, "agreement": null, "classes": {"PER": 50, ...}, "pseudo_labels": 0.93}}}]

labelled: items learned from; dev: what self_learning.stop_on watches; test: of the round's model; pool: items that can still be
selected; agreement: share of the labels that are those of the round before; pseudo_labels: score of the newly selected items, with
self_learning.audit and a labelled file.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from minixl.data.examples import TAGGING
from minixl.data.schemes import paths_to_tags
from minixl.evaluation.scores import score
from minixl.files import write_atomically
from minixl.methods.gold import Gold
from minixl.methods.records import read_table
from minixl.methods.self_learning.files import Labelled
from minixl.methods.self_learning.selection import Selection, agreement, class_names
from minixl.run.method import Job, Trained
from minixl.training.log import read_log

FILE = "rounds.json"
ROUNDS, AGREEMENT, SOURCE_DEV, TARGET_DEV = STOP_RULES = ("rounds", "agreement", "source-dev", "target-dev")


class LanguageRecord(TypedDict):
    """One language in a round."""

    pool: int
    new: int
    selected: int
    agreement: float | None
    classes: dict[str, int]
    pseudo_labels: float | None


class RoundRecord(TypedDict):
    """One round."""

    round: int
    labelled: int
    dev: float | None
    test: dict[str, float]
    languages: dict[str, LanguageRecord]


def record_round(job: Job, number: int, trained: Trained, learned_from: Mapping[str, Selection], labelled: Mapping[str, Labelled],
                 before: Mapping[str, Labelled], gold: Gold) -> RoundRecord:
    """Describe a finished round.  learned_from: the selections that its model learned from; before: the round before, if any."""
    figure = job.prepared.evaluation.figure
    sources = sum(text.encoded.sources for text in job.prepared.sources)
    return {"round": number, "labelled": sources + sum(int(selection.selected.sum()) for selection in learned_from.values()),
            "dev": dev_score(job, trained), "test": {language: row[figure] for language, row in trained.scores["test"].items()},
            "languages": {language: _language(job, number, answer, before.get(language), gold.get(language))
                          for language, answer in labelled.items()}}


def _language(job: Job, number: int, answer: Labelled, before: Labelled | None, gold: Sequence[Any] | None) -> LanguageRecord:
    selection, names = answer.selection, class_names(job.prepared.evaluation.task, job.prepared.labels)
    new = selection.round == number
    counts = np.bincount(selection.chosen_for[new], minlength=len(names)).tolist()
    return {"pool": int((~selection.selected).sum()), "new": int(new.sum()), "selected": int(selection.selected.sum()),
            "agreement": None if before is None else agreement(before.predicted, answer.predicted),
            "classes": dict(zip(names, counts, strict=True)),
            "pseudo_labels": None if gold is None or not new.any() else _quality(job, selection, new, gold)}


def _quality(job: Job, selection: Selection, chosen: np.ndarray, gold: Sequence[Any]) -> float:
    """Return the score of the selected labels against those of the file."""
    evaluation, labels = job.prepared.evaluation, job.prepared.labels
    predicted: Sequence[Any] = paths_to_tags(selection.labels, selection.starts, labels, evaluation.scheme) \
        if evaluation.task in TAGGING else [labels[i] for i in selection.labels]
    items = np.flatnonzero(chosen).tolist()
    return float(score(evaluation.task, [gold[i] for i in items], [predicted[i] for i in items])[evaluation.figure])


def dev_score(job: Job, trained: Trained) -> float | None:
    """Return the mean dev score of the round's selected model, of source or target languages as self_learning.stop_on says."""
    figure, sources = job.prepared.evaluation.figure, job.prepared.evaluation.sources
    target = job.settings["self_learning.stop_on"] == TARGET_DEV
    for record in read_log(trained.folder, figure):
        if record["kind"] == "evaluation" and record["step"] == trained.scores["selected_step"]:
            scores = [row[figure] for language, row in record["dev"].items() if (language not in sources) == target]
            return sum(scores) / len(scores) if scores else None
    return None


def write_rounds(folder: Path, records: Sequence[RoundRecord]) -> None:
    """Write rounds.json atomically."""
    write_atomically(folder / FILE, json.dumps(records, indent=2) + "\n")


def read_rounds(folder: Path) -> list[RoundRecord]:
    """Return what write_rounds wrote; empty for a run without rounds."""
    rounds: list[RoundRecord] = read_table(folder / FILE, list)
    return rounds
