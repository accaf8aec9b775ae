"""What happened in every round, for the report: OUT/rounds.json, and with zero_resource.audit OUT/lengths.json.

    rounds.json     [{"round": 1, "threshold": 37, "sentences": 6540, "words": 98211, "entities": 7011,
                      "agreement": 0.97, "f1": 0.61, "correct": 0.93}, ...]
    lengths.json    [{"from": 1, "to": 10, "sentences": 812, "words": 5120, "source model": 0.94, "target model": 0.95,
                      "sentences, source model": 0.71, "sentences, target model": 0.74}, ...]      the paper's figure 2

agreement: share of the labels that are those of the round before, on the sentences of both; f1, correct: of the round's
pseudo-labels against the labels of the file (the audit), entities and words.  lengths.json: shares of correctly tagged words and
sentences by the length of the sentence in words; the source model is that of the first stage.  Training never reads these labels.
"""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minixl.building import load_model
from minixl.data.encoding import Encoded, scored_starts
from minixl.data.schemes import paths_to_tags, spans
from minixl.evaluation.scores import score
from minixl.files import write_atomically
from minixl.methods.gold import read_gold
from minixl.methods.zero_resource.labels import KIND, Labeller, predict
from minixl.models.family import Model
from minixl.run.method import Job, Trained
from minixl.run.once import Content, read
from minixl.run.prepared import encoded_by

ROUNDS, LENGTHS = "rounds.json", "lengths.json"
BINS = (5, 10, 15, 20, 30, 40, 60, 100)            # greatest length of each bin; longer sentences have one of their own
SOURCE, TARGET = "source model", "target model"

Tags = Sequence[Sequence[str]]


def write_record(job: Job, labeller: Labeller, source: Trained) -> None:
    """Describe all rounds of a finished run and, with the audit, the model before and after by length."""
    audit = job.settings["zero_resource.audit"]
    gold = read_gold(job.settings, [labeller.corpus]).get(labeller.language) if audit else None
    write_atomically(job.folder / ROUNDS, json.dumps(_rounds(job, labeller, gold), indent=2) + "\n")
    if gold is not None:
        before, lexicon, _ = load_model(source.model, xp=job.xp)
        text = encoded_by(lexicon, job.prepared.unlabelled_targets[labeller.language], job.prepared)
        after = job.prepared.model.for_language(labeller.language)
        tags = {SOURCE: _tags(job, before, text), TARGET: _tags(job, after, labeller.encoded)}
        write_atomically(job.folder / LENGTHS, json.dumps(by_length(gold, tags), indent=2) + "\n")


def _rounds(job: Job, labeller: Labeller, gold: Tags | None) -> list[dict[str, Any]]:
    """Read the files of the rounds that were begun."""
    figure = job.prepared.evaluation.figure
    rows, before = list[dict[str, Any]](), dict[int, np.ndarray]()
    number = 1
    while labeller.path(number).is_file():
        content = read(labeller.path(number), KIND, cure="delete the file to finish without the figures from this round on")
        labels = _by_sentence(content)
        tags = dict(zip(labels, _names(job, content.arrays["labels"], content.arrays["starts"]), strict=True))
        both = [i for i in labels if i in before]
        row = {"round": number, "threshold": content.notes["threshold"], "sentences": len(labels),
               "words": len(content.arrays["labels"]), "entities": sum(len(spans(t)) for t in tags.values()),
               "agreement": _equal([before[i] for i in both], [labels[i] for i in both])}
        if gold is not None:
            right, predicted = [gold[i] for i in tags], list(tags.values())
            row |= {figure: score(job.settings["task"], right, predicted)[figure], "correct": _equal(right, predicted)}
        rows.append(row)
        before, number = labels, number + 1
    return rows


def _by_sentence(content: Content) -> dict[int, np.ndarray]:
    """Return sentence -> its class numbers."""
    parts = np.split(content.arrays["labels"], content.arrays["starts"][1:-1])
    return dict(zip(content.arrays["sentences"].tolist(), parts, strict=True))


def _tags(job: Job, model: Model, encoded: Encoded) -> Tags:
    """Return the tags that a model gives to all target sentences."""
    labels = predict(model, encoded, job.prepared.evaluation.scheme, constrained=job.settings["decode.constrained"])
    return _names(job, labels, scored_starts(encoded))


def _names(job: Job, labels: np.ndarray, starts: np.ndarray) -> Tags:
    return paths_to_tags(labels, starts, job.prepared.labels, job.prepared.evaluation.scheme)


def _equal(one: Sequence[Any], other: Sequence[Any]) -> float | None:
    """Return the share of equal words; None without any."""
    pairs = [(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=False)]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def by_length(gold: Tags, predicted: Mapping[str, Tags]) -> list[dict[str, Any]]:
    """Return a row for each bin of sentence lengths that occurs.  predicted: name of a model -> its tags."""
    lengths = np.array([len(tags) for tags in gold])
    rows, least = [], 1
    for greatest in (*BINS, max(int(lengths.max(initial=0)), BINS[-1] + 1)):
        inside = np.flatnonzero((lengths >= least) & (lengths <= greatest)).tolist()
        if inside:
            row: dict[str, Any] = {"from": least, "to": greatest, "sentences": len(inside), "words": int(lengths[inside].sum())}
            for name, tags in predicted.items():
                row[name] = _equal([gold[i] for i in inside], [tags[i] for i in inside])
                row[f"sentences, {name}"] = sum(list(gold[i]) == list(tags[i]) for i in inside) / len(inside)
            rows.append(row)
        least = greatest + 1
    return rows
