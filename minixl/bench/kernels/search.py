"""Inputs and calls of CSLS, for cases.py: the ten best translations of every word, in minixl, PyTorch and faiss."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from minixl.alignment.csls_search import translations
from minixl.bench.kernels.chains import Arrays, floats

BEST = 10                  # neighbours and translations
CANDIDATES = 100           # of each word, which faiss finds and CSLS re-ranks
STRIP = 1024               # rows at a time in PyTorch


def csls_inputs(rng: np.random.Generator, words: int, hidden: int) -> Arrays:
    """Unit vectors in two spaces."""
    spaces = {name: floats(rng, words, hidden) for name in ("x", "y")}
    return {name: space / np.linalg.norm(space, axis=1, keepdims=True) for name, space in spaces.items()}


def csls_call(op: SimpleNamespace, x: Arrays) -> tuple:
    """Translations of every x; returns their CSLS, and r of both sides."""
    found = translations(x["x"], x["y"], BEST, engine=op)
    return found.forward.scores, *(cosines.mean(axis=1) for cosines in found.nearest)


def csls_torch(t: dict[str, Any]) -> Any:
    """The same with whole rows and topk, a strip of rows at a time."""
    import torch
    with torch.no_grad():
        x, y = t["x"], t["y"]
        r_x, r_y = (torch.cat([(strip @ b.T).topk(min(BEST, len(b)), 1).values.mean(1) for strip in a.split(STRIP)])
                    for a, b in ((x, y), (y, x)))
        return torch.cat([(2 * strip @ y.T - r_y).topk(min(BEST, len(y)), 1).values for strip in x.split(STRIP)]) - r_x[:, None]


def csls_faiss(x: Arrays) -> np.ndarray:
    """Exact searches in both directions; CSLS re-ranks the CANDIDATES nearest of each word, which may miss a translation."""
    import faiss
    of_y, of_x = faiss.IndexFlatIP(x["y"].shape[1]), faiss.IndexFlatIP(x["x"].shape[1])
    of_y.add(x["y"])
    of_x.add(x["x"])
    cosines, candidates = map(np.asarray, of_y.search(x["x"], min(CANDIDATES, len(x["y"]))))
    backwards = np.asarray(of_x.search(x["y"], min(BEST, len(x["x"])))[0])
    r_x, r_y = cosines[:, :BEST].mean(axis=1), backwards.mean(axis=1)
    scores = 2 * cosines - r_y[candidates] - r_x[:, None]
    return -np.sort(-scores, axis=1)[:, :BEST]
