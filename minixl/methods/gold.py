"""Read the labels of unlabelled files that have any: only reports use them, training never does."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minixl.data.corpus import Corpus, read_corpus
from minixl.data.examples import TAGGING
from minixl.data.layout import detect_layout, looks_like_columns
from minixl.data.lines import read_lines
from minixl.data.reading import limited
from minixl.settings import Settings

Gold = dict[str, list[Any]]            # language -> the tags of every sentence, or the label of every document


def read_gold(settings: Settings, corpora: Sequence[Corpus]) -> Gold:
    """Read the labels of the unlabelled files that have any."""
    gold: Gold = {}
    for corpus in corpora:
        encoding, task = settings["data.encoding"], settings["task"]
        lines = list(read_lines(corpus.path, encoding))
        labelled = looks_like_columns(task, [line for line in lines if line.strip()]) if task in TAGGING else \
            detect_layout(task, corpus.path, lines) == "fields"
        if labelled:
            file = read_corpus(task, corpus.language, corpus.path, encoding=encoding, scheme=settings["data.scheme"])
            gold[corpus.language] = limited(file, settings, "data.unlabelled_limit").gold()
    return gold
