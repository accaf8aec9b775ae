"""Measure the quality of the pseudo-labels, as AdvPicker's paper does.  Chen et al. 2021, tables 4, 5, 7.

    OUT/audit.json   {"languages": {es: ...}, "test": {es: ...}}               with advpicker.audit

For the unlabelled text of each language: the number of selected sentences (table 5), the scores of the pseudo-labels of
these and of the others (table 4, if the file has tags), the same for other values of advpicker.rho, the histogram of p̄,
and how far the teachers agree.  For the test file of each target language, split by the same rule: the scores of the
student and of the teachers' merged tags (table 7).

Only the audit reads the tags of --unlabelled files; training never does.  Tests: tests/methods/advpicker/.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minixl.evaluation.files import Evaluation
from minixl.files import write_atomically
from minixl.methods.advpicker.files import PseudoLabels
from minixl.methods.advpicker.labels import (Merged, Scored, agreement, histogram, independence, mask, pseudo_tags, select,
                                             split_scores, sweep)
from minixl.methods.gold import read_gold
from minixl.models.family import Model
from minixl.prediction import predict_labels
from minixl.run.method import Job
from minixl.settings import Settings

FILE = "audit.json"


def write_audit(job: Job, labels: Mapping[str, PseudoLabels], scored: Mapping[str, list[Scored]], tests: Mapping[str, Merged],
                student: Model | None) -> None:
    """Write OUT/audit.json.  scored: language -> each teacher's scores; tests: language -> merged labels of the test file."""
    settings, evaluation = job.settings, job.prepared.evaluation
    gold = read_gold(settings, [text.corpus for text in job.prepared.unlabelled_targets.values()])
    decoding = {"scheme": evaluation.scheme, "constrained": settings["decode.constrained"]}
    names = next(iter(labels.values())).labels
    languages = {language: _language(evaluation.task, of_language, scored[language], gold.get(language), decoding)
                 for language, of_language in labels.items()}
    split = {language: _test(settings, evaluation, language, merged, pseudo_tags(merged, names, **decoding), student)
             for language, merged in tests.items() if language not in evaluation.sources}
    write_atomically(job.folder / FILE, json.dumps({"languages": languages, "test": split}, indent=2) + "\n")


def _language(task: str, labels: PseudoLabels, scored: Sequence[Scored], gold: list[Any] | None,
              decoding: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures for one language's unlabelled text, among them those of tables 4 and 5."""
    merged, selected = labels.merged, labels.selected
    rows: dict[str, Any] = {"sizes": {"selected": int(selected.sum()), "other": int((~selected).sum()), "all": len(selected)},
                            "histogram": histogram(merged.p_bar, selected),
                            "teachers": agreement(scored, merged)}
    if gold is not None:
        tags = pseudo_tags(merged, labels.labels, **decoding)
        rows["pseudo_labels"] = split_scores(task, gold, tags, selected)
        rows["sweep"] = sweep(task, gold, tags, independence(merged.p_bar))
    return rows


def _test(settings: Settings, evaluation: Evaluation, language: str, merged: Merged, tags: list[list[str]],
          student: Model | None) -> dict[str, Any]:
    """Return table 7: scores of the test sentences that stage D would select, and of the others."""
    corpus, encoded = evaluation.files["test"][language]
    count = int(settings["advpicker.rho"] * len(merged.p_bar))             # may be 0 in a very small file
    kept = select(independence(merged.p_bar), settings["advpicker.rho"]) if count else np.array([], int)
    selected, gold = mask(kept, len(merged.p_bar)), corpus.gold()
    rows = {"teachers": split_scores(evaluation.task, gold, tags, selected)}
    if student is not None:
        predicted = predict_labels(student, encoded, evaluation.scheme, constrained=settings["decode.constrained"])
        rows["student"] = split_scores(evaluation.task, gold, predicted, selected)
    return rows
