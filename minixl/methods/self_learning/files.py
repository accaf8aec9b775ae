"""Predictions and selections on disk; rejected if the text, the model or the settings have changed (run/once.py).

    round-T.LANGUAGE.safetensors   predicted (L,), predicted_confidence (N,), and the selection so far: labels (L,), starts (N+1,),
                                   confidence, chosen_for, round (N,); notes: classes, the names that chosen_for numbers
    LANGUAGE.tsv                   the selected documents: label, text, confidence, round; to read or to train on
    LANGUAGE.conll                 the selected sentences in columns, with a comment such as
                                   # sentence 12: round 2, confidence 0.9812, selected for PER

Test: tests/methods/self_learning/test_runs.py.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minixl.building import load_model
from minixl.data.corpus import Corpus
from minixl.data.encoding import PieceTokenizer
from minixl.data.examples import TAGGING
from minixl.data.schemes import paths_to_tags
from minixl.files import digest, folder_digest, replaced_file
from minixl.methods.self_learning.selection import ALL, Predicted, Selection, class_names, extended, predict_items
from minixl.models.family import Model
from minixl.run.method import Job
from minixl.run.once import CURE, Content, damaged, settings_of, text_digest
from minixl.run.prepared import encoded_by
from minixl.training.progress import over_pieces

KIND, FOLDER = "pseudo-labels of a round", "pseudo-labels"
RECORDED = ("data.max_length", "data.on_long", "data.encoding", "data.unlabelled_limit", "data.sample", "data.sample_seed",
            "decode.constrained", "self_learning.count", "self_learning.schedule", "self_learning.select")


class Labelled(NamedTuple):
    """One language after a round."""

    predicted: np.ndarray              # (L,) class numbers of all items
    selection: Selection


def label_and_select(job: Job, number: int, model: Path, before: Mapping[str, Selection], count: int) -> dict[str, Labelled]:
    """Return what the model of a round predicts for every language's text, and the selection after the round."""
    answers, loaded = {}, lru_cache(maxsize=1)(lambda: load_model(model, xp=job.xp, read_only=True)[:2])    # once for all languages
    for place, (language, selection) in enumerate(before.items()):
        path = job.folder / FOLDER / f"round-{number}.{language}.safetensors"
        earlier = path.with_name(f"round-{number - 1}.{language}.safetensors")
        text = text_digest(job.inputs.unlabelled, language, job.prepared.fingerprints)
        made_from = {f"unlabelled {language}": text, "model": folder_digest(model),
                     **settings_of(job.settings, RECORDED), **({"the round before": digest(earlier)} if number > 1 else {})}

        def make(language: str = language, selection: Selection = selection, place: int = place) -> Content:
            predicted = _predict(job, *loaded(), language)
            after = extended(selection, predicted, count, number, revise=job.settings["self_learning.schedule"] == ALL,
                             rule=job.settings["self_learning.select"], rng=np.random.default_rng([job.seed, number, place]))
            return Content({"predicted": predicted.labels, "predicted_confidence": predicted.confidence, **after._asdict()},
                           {"classes": class_names(job.settings["task"], job.prepared.labels)})

        arrays = job.once(path, KIND, made_from, make).arrays
        if arrays.keys() != {"predicted", "predicted_confidence", *Selection._fields} \
                or not np.array_equal(arrays["starts"], selection.starts):
            raise damaged(path, "the arrays do not fit the text")
        answers[language] = Labelled(arrays["predicted"], Selection(*(arrays[name] for name in Selection._fields)))
    return answers


def _predict(job: Job, model: Model, tokenizer: PieceTokenizer, language: str) -> Predicted:
    encoded = encoded_by(tokenizer, job.prepared.unlabelled_targets[language], job.prepared)
    evaluation = job.prepared.evaluation
    with over_pieces(encoded.pieces, f"labelling {language}", job.reporter, job.stop) as progress:
        return predict_items(model, encoded, evaluation.task, evaluation.scheme, constrained=job.settings["decode.constrained"],
                             progress=progress)


def write_selected(job: Job, selections: Mapping[str, Selection]) -> None:
    """Write the selected items of every language as labelled text."""
    task = job.prepared.evaluation.task
    for language, selection in selections.items():
        corpus = job.prepared.unlabelled_targets[language].corpus
        path = job.folder / FOLDER / f"{language}.{'conll' if task in TAGGING else 'tsv'}"
        path.parent.mkdir(exist_ok=True)
        lines = _conll_lines(job, corpus, selection) if task in TAGGING else _tsv_lines(job, corpus, selection)
        with replaced_file(path, CURE) as fresh, open(fresh, "w", encoding="utf-8") as file:
            file.writelines(lines)


def _tsv_lines(job: Job, corpus: Corpus, selection: Selection) -> Iterator[str]:
    yield "label\ttext\tconfidence\tround\n"
    for i, document in enumerate(corpus.documents()):
        if selection.selected[i]:
            text = " ".join(document.text.split())
            yield (f"{job.prepared.labels[selection.labels[i]]}\t{text}\t{selection.confidence[i]:.4f}\t{selection.round[i]}\n")


def _conll_lines(job: Job, corpus: Corpus, selection: Selection) -> Iterator[str]:
    names = class_names(job.prepared.evaluation.task, job.prepared.labels)
    tags = paths_to_tags(selection.labels, selection.starts, job.prepared.labels, job.prepared.evaluation.scheme)
    for i, sentence in enumerate(corpus.sentences()):
        if selection.selected[i]:
            cut = f", first {len(tags[i])} of {len(sentence.words)} words" if len(tags[i]) < len(sentence.words) else ""
            yield (f"# sentence {i + 1}: round {selection.round[i]}, confidence {selection.confidence[i]:.4f}, selected for "
                   f"{names[selection.chosen_for[i]]}{cut}\n")
            yield from (f"{word}\t{tag}\n" for word, tag in zip(sentence.words, tags[i], strict=False))
            yield "\n"
