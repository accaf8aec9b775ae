"""What the report of a run with MLMA shows, beside the tagger's scores: OUT/representations.json.

    {"history": "language-model",                                     folder of the language model's log, relative to OUT; null
     "layers": {"en": [0.11, 0.32, 0.57], "es": [...]},              mean weight of each layer, from the bottom
     "neighbours": [{"word": ["Brown", "'s", 2 words each side], ...}, ...]}

Neighbours are the paper's table 4: for words of a source language that occur with different tags, the nearest word in context of
each other language, by the cosine of their representations.  Sentences: the first of the dev files (without: of the source files)
and of the test files.
"""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.backend import to_numpy
from minixl.data.batching import TOKENS, Batch, batch_results
from minixl.data.corpus import Corpus
from minixl.data.encoding import Encoded
from minixl.data.examples import Sentence
from minixl.files import write_atomically
from minixl.models.layer_mixing import layer_shares
from minixl.models.mlma_tagger import MlmaTagger
from minixl.run.method import Job

FILE = "representations.json"
SENTENCES = 1000                       # of each language, as in the paper
WORDS = 12                             # words whose neighbours are shown, each with two of its tags
CONTEXT = 4                            # words shown on each side


class Words(NamedTuple):
    """The words of a language's sentences."""

    sentences: Sequence[Sentence]
    places: list[tuple[int, int]]      # of each word: its sentence, its place in it
    vectors: np.ndarray                # (n, 2H)  representations of unit length
    shares: np.ndarray                 # (L,)     mean weight of each layer


def write_record(job: Job, language_model: Path) -> None:
    """Write representations.json for the selected model of a finished run.  language_model: the folder of its language model."""
    model: Any = job.prepared.model
    run = language_model.parent
    words = {language: read_words(model, corpus, encoded) for language, (corpus, encoded) in _texts(job).items()}
    source = job.prepared.sources[0].corpus.language
    others = {language: of for language, of in words.items() if language != source}
    content = {"history": os.path.relpath(run, job.folder) if (run / "log.jsonl").is_file() else None,
               "layers": {language: np.round(of.shares, 4).tolist() for language, of in words.items()},
               "neighbours": neighbours(words[source], others) if source in words else []}
    write_atomically(job.folder / FILE, json.dumps(content, ensure_ascii=False) + "\n")


def _texts(job: Job) -> dict[str, tuple[Corpus, Encoded]]:
    """Return the first sentences of each language: of its test file, or else its dev file, or its source file."""
    files = job.prepared.evaluation.files
    sources = {text.corpus.language: (text.corpus, text.encoded) for text in job.prepared.sources}
    return sources | files["dev"] | files["test"]


def read_words(model: MlmaTagger, corpus: Corpus, encoded: Encoded) -> Words:
    """Return the representations of the words of the first sentences."""
    examples = [example for example in encoded.examples if example.source < SENTENCES]
    places, vectors, shares = list[tuple[int, int]](), [], np.zeros(model.mlma.language_model.layers)

    def compute(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        rows = batch.host.rows
        of_words = to_numpy(model.represent(batch))[rows]                              # (W, S)
        return of_words, len(rows) * to_numpy(layer_shares(model.states(batch), model.store.under("mixing")))

    for _, indices, (of_words, weighted) in batch_results(compute, examples, TOKENS, model.store.xp):
        vectors.append(of_words)
        shares += weighted
        for i in indices.tolist():
            places += [(examples[i].source, examples[i].first_word + k) for k in range(len(examples[i].rows))]
    states = np.concatenate(vectors) if vectors else np.zeros((0, model.embedding_size))
    states = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-9)
    return Words(corpus.sentences(), places, states, shares / max(len(places), 1))


def neighbours(source: Words, others: dict[str, Words]) -> list[dict[str, Any]]:
    """Return words of the source language with their nearest neighbours in context, by language."""
    rows: list[dict[str, Any]] = []
    for number in _polysemes(source):
        row: dict[str, Any] = {"word": _shown(source, number), "neighbours": {}}
        for language, words in others.items():
            if len(words.places):
                cosines = words.vectors @ source.vectors[number]
                best = int(cosines.argmax())
                row["neighbours"][language] = {**_shown(words, best), "cosine": round(float(cosines[best]), 3)}
        rows.append(row)
    return rows


def _polysemes(words: Words) -> list[int]:
    """Return the numbers of words, two for each of up to WORDS that occur in lower or upper case with different tags."""
    uses: dict[str, dict[str, int]] = {}
    for number, (sentence, place) in enumerate(words.places):
        tags = words.sentences[sentence].tags
        if tags is not None:
            word = words.sentences[sentence].words[place]
            uses.setdefault(word.lower(), {}).setdefault(tags[place].rpartition("-")[2], number)
    several = [list(of.values()) for word, of in uses.items() if len(of) > 1 and word.isalpha() and len(word) > 3]
    return [number for of in several[:WORDS] for number in of[:2]]


def _shown(words: Words, number: int) -> dict[str, Any]:
    """Return a word with its tag and the words around it."""
    sentence, place = words.places[number]
    item = words.sentences[sentence]
    return {"before": " ".join(item.words[max(0, place - CONTEXT):place]), "word": item.words[place],
            "after": " ".join(item.words[place + 1:place + 1 + CONTEXT]), "tag": item.tags[place] if item.tags else ""}
