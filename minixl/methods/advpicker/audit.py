"""What AdvPicker's paper reports of its pseudo-labels, for any run with advpicker.study.  Chen et al. 2021, tables 4, 5, 7.

    OUT/studies.json   {"languages": {es: ...}, "test": {es: ...}}

Of every language's unlabelled text: how many sentences were selected (table 5), how good the pseudo-labels of those are and
of the others (table 4, where the file has tags), the same for other values of advpicker.rho, the histogram of p̄, and how
the teachers agree.  Of every target language's test file, split by the same rule: the scores of the student and of the
teachers' merged tags (table 7).

This is the one place that reads the tags of --unlabelled files; no training sees them.  Test: tests/pipeline/.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minixl.files import write_atomically
from minixl.data.corpus import Corpus, in_columns, read_corpus
from minixl.data.lines import read_lines
from minixl.methods.advpicker.labels import (Merged, Scored, agreement, histogram, independence, mask, pseudo_tags, select,
                                      split_scores, sweep)
from minixl.models.family import Model
from minixl.methods.advpicker.pipeline import Text
from minixl.prediction import predict_labels
from minixl.methods.advpicker.files import PseudoLabels
from minixl.settings import Settings
from minixl.training.loop import Evaluation

Gold = dict[str, list[Any]]            # language -> the tags of every sentence


def read_gold(settings: Settings, corpora: Sequence[Corpus], messages: list[str]) -> Gold:
    """The tags of those unlabelled files that have any."""
    gold: Gold = {}
    for corpus in corpora:
        encoding = settings["data.encoding"]
        lines = [line for line in read_lines(corpus.path, encoding) if line.strip()]
        if in_columns(settings["task"], lines):
            tagged = read_corpus(settings["task"], corpus.language, corpus.path, encoding=encoding, scheme=settings["data.scheme"])
            gold[corpus.language] = tagged.limited(settings["data.unlabelled_limit"]).gold()
        else:
            messages.append(f"advpicker.study: {corpus.path} has no tags to compare pseudo-labels with")
    return gold


def write_studies(out: Path, settings: Settings, texts: Mapping[str, Text], gold: Gold, labels: Mapping[str, PseudoLabels],
                  scored: Mapping[str, list[Scored]], tests: Mapping[str, Merged], evaluation: Evaluation,
                  student: Model | None) -> None:
    """OUT/studies.json.  scored: by language, what each teacher said; tests: the teachers' merged scores of the test files."""
    tags_of = {"scheme": evaluation.scheme, "constrained": settings["decode.constrained"]}
    names = next(iter(labels.values())).labels
    languages = {language: _language(evaluation.task, labels[language], scored[language], gold.get(language), tags_of)
                 for language in texts}
    split = {language: _test(settings, evaluation, language, merged, pseudo_tags(merged, names, **tags_of), student)
             for language, merged in tests.items() if language not in evaluation.sources}
    write_atomically(out / "studies.json", json.dumps({"languages": languages, "test": split}, indent=2) + "\n")


def _language(task: str, labels: PseudoLabels, scored: Sequence[Scored], gold: list[Any] | None,
              tags_of: Mapping[str, Any]) -> dict[str, Any]:
    """Tables 4 and 5, and more, of one language's unlabelled text."""
    merged, selected = labels.merged, labels.selected
    rows: dict[str, Any] = {"sizes": {"selected": int(selected.sum()), "other": int((~selected).sum()), "all": len(selected)},
                            "histogram": histogram(merged.p_bar, selected),
                            "teachers": agreement(scored, merged)}
    if gold is not None:
        tags = pseudo_tags(merged, labels.labels, **tags_of)
        rows["pseudo_labels"] = split_scores(task, gold, tags, selected)
        rows["sweep"] = sweep(task, gold, tags, independence(merged.p_bar))
    return rows


def _test(settings: Settings, evaluation: Evaluation, language: str, merged: Merged, tags: list[list[str]],
          student: Model | None) -> dict[str, Any]:
    """Table 7: the test file's sentences that stage D would select, and the others."""
    corpus, encoded = evaluation.files["test"][language]
    count = int(settings["advpicker.rho"] * len(merged.p_bar))             # 0 in a file of one sentence or so
    chosen = select(independence(merged.p_bar), settings["advpicker.rho"]) if count else np.array([], int)
    selected, gold = mask(chosen, len(merged.p_bar)), corpus.gold()
    rows = {"teachers": split_scores(evaluation.task, gold, tags, selected)}
    if student is not None:
        predicted = predict_labels(student, encoded, evaluation.scheme, constrained=settings["decode.constrained"])
        rows["student"] = split_scores(evaluation.task, gold, predicted, selected)
    return rows
