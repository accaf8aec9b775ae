"""Read the labels of unlabelled files that have any: only reports use them, training never does."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minixl.data.corpus import Corpus
from minixl.data.examples import TAGGING
from minixl.data.label_map import LabelMap
from minixl.data.layout import detect_layout, looks_like_columns
from minixl.data.lines import read_lines
from minixl.data.reading import limited, read_labelled
from minixl.settings import Settings

Gold = dict[str, list[Any]]            # language -> the tags of every sentence, or the label of every document


def read_gold(settings: Settings, corpora: Sequence[Corpus]) -> Gold:
    """Read the labels of the unlabelled texts that have labels in all their files."""
    task, encoding = settings["task"], settings["data.encoding"]
    renamed = LabelMap(task, [pair for pair in settings["data.labels"] if pair.partition("=")[2].strip()])   # leaves out no item

    def labelled(path: Path) -> bool:
        lines = list(read_lines(path, encoding))
        return looks_like_columns(task, [line for line in lines if line.strip()]) if task in TAGGING else \
            detect_layout(task, path, lines) == "fields"

    gold: Gold = {}
    for corpus in corpora:
        paths = (corpus.path, *corpus.more)
        if all(map(labelled, paths)):
            (complete,) = read_labelled(settings, [(corpus.language, path) for path in paths], renamed)
            gold[corpus.language] = limited(complete, settings, "data.unlabelled_limit").gold()
    return gold
