"""Score a map on a dictionary: in how many cases a right translation is among the best 1, 5, 10.

Words without vectors are left out; a source word counts once, however many translations it has, and any of them is right, as in
MUSE.  Candidates are all target words that were read.
Test: tests/alignment/test_evaluation.py
"""
from __future__ import annotations

from typing import Any

import numpy as np

from minixl.alignment.dictionaries import Dictionary
from minixl.alignment.retrieval import csls_translations, nearest_neighbours
from minixl.backend import Array, array_module, to_numpy
from minixl.ops import csls

AT = (1, 5, 10)
SEARCHES = {"nn": nearest_neighbours, "csls": csls_translations}


def precision(x: Array, y: Array, dictionary: Dictionary, *, engine: Any = csls) -> dict[str, Any]:
    """x (n, H), y (m, H), unit vectors in one space -> {"nn": {"1": P@1, "5": ..., "10": ...}, "csls": ..., "words": N, ...}.

    Precisions are shares from 0 to 1.  words: source words scored; left_out: those of the file without vectors.
    """
    xp = array_module(x, y)
    queries, query_of_pair = np.unique(dictionary.rows[:, 0], return_inverse=True)
    scores: dict[str, Any] = {"words": len(queries), "left_out": dictionary.sources - dictionary.known}
    for name, search in SEARCHES.items():
        best = to_numpy(search(x, y, max(AT), xp.asarray(queries), engine=engine).indices)     # (q, 10)
        is_right = best[query_of_pair] == dictionary.rows[:, 1:]                       # (p, 10)
        scores[name] = {str(at): len(np.unique(query_of_pair[is_right[:, :at].any(axis=1)])) / len(queries) for at in AT}
    return scores
