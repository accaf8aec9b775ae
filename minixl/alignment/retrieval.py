"""Translations of words by nearest neighbours and by CSLS (minixl/ops/csls.py), and a dictionary of mutual ones.

Vectors are in one space and of unit length.  A search engine has the three functions of minixl/ops/csls.py; faiss, where it is
installed, is another one with the same results (faiss_search.py).

Test: tests/alignment/test_retrieval.py
"""
from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

import numpy as np

from minixl.alignment.csls_search import NEIGHBOURS, translations
from minixl.backend import Array, array_module
from minixl.errors import UserError
from minixl.ops import csls
from minixl.ops.csls import Best

ENGINES = ("minixl", "faiss")


class Pairs(NamedTuple):
    """Rows of words that translate each other, (p,) each, and the CSLS scores (p,) of induced ones."""

    source: Array
    target: Array
    scores: Array


def search_engine(name: str) -> Any:
    """Return the module that searches.  Raises UserError for faiss if it is not installed."""
    if name == "minixl":
        return csls
    if importlib.util.find_spec("faiss") is None:
        raise UserError("align.search: faiss is not installed; install it with: pip install faiss-cpu, or use align.search=minixl")
    return importlib.import_module("minixl.alignment.faiss_search")


def csls_translations(x: Array, y: Array, best: int, queries: Array | None = None, *, engine: Any = csls) -> Best:
    """x (n, H), y (m, H), queries: rows of x (q,) or None for all -> for each query the `best` rows of y and their CSLS."""
    if queries is None:
        return translations(x, y, best, engine=engine).forward
    r_x, r_y = engine.mean_similarities(x, y, NEIGHBOURS)
    found = engine.top_products(x[queries], y, best, r_y / 2)
    return Best(2 * found.scores - r_x[queries, None], found.indices)


def nearest_neighbours(x: Array, y: Array, best: int, queries: Array | None = None, *, engine: Any = csls) -> Best:
    """The same by the product alone, the cosine."""
    return engine.top_products(x if queries is None else x[queries], y, best)


def induce(x: Array, y: Array, *, mutual: bool = True, engine: Any = csls) -> Pairs:
    """x (n, H), y (m, H) -> each word of x with its best translation by CSLS, in the order of x.

    mutual: only the pairs in which each word is the best translation of the other.
    """
    xp = array_module(x, y)
    forward, backward, _ = translations(x, y, 1, backward=mutual, engine=engine)
    rows = xp.arange(len(x))
    if backward is not None:
        rows = xp.flatnonzero(backward.indices[forward.indices[:, 0], 0] == rows)
    return Pairs(rows, forward.indices[rows, 0], forward.scores[rows, 0])


def mean_cosine(x: Array, y: Array, frequent: int, *, engine: Any = csls) -> float:
    """The criterion of MUSE: the mean cosine of the frequent words of x and their best translations by CSLS in y.

    Both languages are cut to their `frequent` first words.  Higher is better; no dictionary is needed.
    """
    x, y = x[:frequent], y[:frequent]
    pairs = induce(x, y, mutual=False, engine=engine)
    return float((x * y[pairs.target]).sum(axis=1).mean())


def chance_cosine(x: Array, y: Array, frequent: int, rng: np.random.Generator, *, engine: Any = csls) -> float:
    """The criterion after a random rotation of x, which aligns nothing: what the criterion is to be compared with."""
    xp = array_module(x, y)
    rotation = np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0]
    return mean_cosine(x[:frequent] @ xp.asarray(rotation, x.dtype), y, frequent, engine=engine)
