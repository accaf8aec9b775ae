"""Which inputs of a file a limit keeps: the first, or a random draw that is the same for every seed of a run.

A draw of the training seed would give every seed another test set, and pseudo-labels of one seed would be those of another text.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minixl.settings import Setting

FIRST, RANDOM = SAMPLES = ("first", "random")
SETTINGS = {
    "data.limit": Setting(0, "train only on N sentences of each source language; 0: all", at_least=0),
    "data.test_limit": Setting(0, "score only N inputs of each language's dev and test text; 0: all", at_least=0),
    "data.unlabelled_limit": Setting(0, "use only N sentences of each language's --unlabelled text; 0: all", at_least=0),
    "data.sample": Setting(FIRST, "which N a limit keeps: the first, or a random draw over the whole text, the same for all seeds",
                           SAMPLES),
    "data.sample_seed": Setting(1, "seed of that draw", at_least=0),
}


def kept_by_limit(total: int, count: int, sample: str = FIRST, seed: int = 1) -> list[int]:
    """Return the indices, in ascending order, of the inputs that a limit of `count` keeps among `total`; count 0 keeps all."""
    if not 0 < count < total:
        return list(range(total))
    if sample == FIRST:
        return list(range(count))
    return sorted(np.random.default_rng(seed).permutation(total)[:count].tolist())


def settings_of_text(settings: Mapping[str, Any], limit: str) -> list[str]:
    """Return the names of the settings that decide which texts of a file are read.  limit: the name of its limit.

    Those that change nothing are left out, so what was made before there were such settings stays valid.
    """
    drawn = settings[limit] and settings["data.sample"] == RANDOM
    return [limit, *["data.sample", "data.sample_seed"] * bool(drawn), *["data.text_column"] * bool(settings["data.text_column"])]
