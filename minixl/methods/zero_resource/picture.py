"""Entity words of both languages in two dimensions: their vectors, and what the common layer makes of them.  The paper's figure 3.

    OUT/picture.json    {"word vectors": {"en": [["PER", 0.31, 0.72], ...], "es": [...]}, "common layer": {...}}

Tags are those of the labelled text, and for the target language the model's.  Principal components (alignment/picture.py).
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from minixl.alignment.picture import picture
from minixl.backend import to_numpy
from minixl.data.batching import TOKENS, prediction_batches
from minixl.data.encoding import Example
from minixl.data.schemes import parse_tag
from minixl.files import write_atomically
from minixl.methods.zero_resource.labels import Labeller, predict, with_labels
from minixl.models.bilstm_crf_config import WORD_TABLE
from minixl.run.method import Job

FILE = "picture.json"
VECTORS, COMMON = "word vectors", "common layer"
SENTENCES, MOST = 1000, 100            # sentences that are read; words of a type and a language that are shown

Words = tuple[list[str], dict[str, np.ndarray]]        # types; name of a space -> positions (n, H)


def write_picture(job: Job, labeller: Labeller) -> None:
    """Write picture.json for the selected model of a finished run; nothing if either language has fewer than two entity words."""
    model, source = job.prepared.model, job.prepared.sources[0]
    labels = predict(model.for_language(labeller.language), labeller.encoded, job.prepared.evaluation.scheme,
                     constrained=job.settings["decode.constrained"])
    words = {source.corpus.language: entity_words(job, source.corpus.language, source.encoded.examples),
             labeller.language: entity_words(job, labeller.language, with_labels(labeller.encoded, labels))}
    if any(len(types) < 2 for types, _ in words.values()):
        return
    spaces = {}
    for space in (VECTORS, COMMON):
        first, second = (positions[space] for _, positions in words.values())
        points = picture(first, second, "pca", job.seed)
        spaces[space] = {language: [[kind, *point] for kind, point in zip(types, of_language, strict=True)]
                         for (language, (types, _)), of_language in zip(words.items(), points, strict=True)}
    write_atomically(job.folder / FILE, json.dumps(spaces) + "\n")


def entity_words(job: Job, language: str, examples: Sequence[Example]) -> Words:
    """Return the first words of each entity type in some sentences, with their positions in both spaces."""
    model: Any = job.prepared.model.for_language(language)
    table = model.store[WORD_TABLE].value
    numbers, vectors, common = [], [], []
    for batch, _ in prediction_batches(examples[:SENTENCES], TOKENS, model.store.xp):
        numbers.append(to_numpy(batch.labels))
        rows = model.store.xp.asarray(model.lexicon.rows(to_numpy(batch.input_ids)))
        vectors.append(to_numpy(table[rows[batch.rows]]))
        common.append(to_numpy(model.forward(batch)[1].head.active))
    types = np.array([parsed[1] if (parsed := parse_tag(label)) else "" for label in model.labels])[np.concatenate(numbers)]
    shown = np.sort(np.concatenate([np.flatnonzero(types == kind)[:MOST] for kind in sorted(set(types.tolist())) if kind]
                                   or [np.zeros(0, int)]))
    return types[shown].tolist(), {VECTORS: np.concatenate(vectors)[shown], COMMON: np.concatenate(common)[shown]}
