"""Refine a map: the orthogonal map of its own best dictionary, several times.  Conneau et al. 2018, section 2.2.

    repeat    pairs ← translations of frequent words by CSLS, mutual ones (refine.pairs)
              W ← Procrustes of the pairs
    return    the map with the best criterion, the one before refinement included

Test: tests/alignment/test_refinement.py
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minixl.alignment.learners import criterion
from minixl.alignment.normalization import unit
from minixl.alignment.procrustes import procrustes
from minixl.alignment.retrieval import induce
from minixl.backend import Array
from minixl.ops import csls
from minixl.settings import Section, Setting

PAIRS = ("mutual", "source-to-target")

SETTINGS = Section("refinement", {
    "refine.self_learning": Setting(False, "self-learning (similarity.*) from the map before the refinement; it can improve a "
                                    "map that is too poor for refinement"),
    "refine.iterations": Setting(5, "iterations; --refine sets them", at_least=0),
    "refine.frequent": Setting(15_000, "most frequent words that are translated", at_least=1),
    "refine.pairs": Setting("mutual", "which translations are used: those that are each other's best, or all from source to "
                            "target", choices=PAIRS),
})


def refine(mapping: Array, x: Array, y: Array, settings: Any, observe: Callable[[int, float], None], *,
           engine: Any = csls) -> tuple[Array, float]:
    """W (H, H), x (n, H), y (m, H) -> the refined W and its criterion.  observe(iteration, criterion): 0 is before refinement."""
    frequent = settings["refine.frequent"]
    best = mapping, criterion(mapping, x, y, settings, engine)
    observe(0, best[1])
    for iteration in range(1, settings["refine.iterations"] + 1):
        mapped = unit(x[:frequent] @ mapping.T)
        pairs = induce(mapped, unit(y[:frequent]), mutual=settings["refine.pairs"] == "mutual", engine=engine)
        mapping = procrustes(x[pairs.source], y[pairs.target])
        value = criterion(mapping, x, y, settings, engine)
        observe(iteration, value)
        if value > best[1]:
            best = mapping, value
    return best
