"""Distances between the states of two languages, with their gradients.  Bao et al. 2019, section 2.2.

    average-linkage    energy distance of all pairs: ops/average_linkage.py
    cosine-linkage     the same of directions: ops/cosine_linkage.py
    moments            means and standard deviations: ops/moment_distance.py, with the paper's weights
    moment-norms       means and variances as whole vectors, the paper's formula: ops/moment_norms.py

A measure takes the states x (n, H) and y (m, H); nothing that it keeps grows with n · m.
Test: tests/methods/test_measures.py
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from minixl.backend import Array
from minixl.ops.average_linkage import average_linkage_backward, average_linkage_forward
from minixl.ops.cosine_linkage import cosine_linkage_backward, cosine_linkage_forward
from minixl.ops.moment_distance import moment_distance_backward, moment_distance_forward
from minixl.ops.moment_norms import moment_norms_backward, moment_norms_forward

AVERAGE, COSINE, MOMENTS, NORMS = "average-linkage", "cosine-linkage", "moments", "moment-norms"
MEAN_WEIGHT, DEVIATION_WEIGHT = 0.1, 0.01


class Measured(NamedTuple):
    value: float
    dx: Array      # (n, H)  not to be written to
    dy: Array      # (m, H)


Measure = Callable[[Array, Array], Measured]


def average_linkage(x: Array, y: Array) -> Measured:
    """Return the energy distance."""
    return _measured(average_linkage_forward, average_linkage_backward, x, y)


def cosine_linkage(x: Array, y: Array) -> Measured:
    """Return the energy distance of the directions."""
    return _measured(cosine_linkage_forward, cosine_linkage_backward, x, y)


def moments(x: Array, y: Array, mean_weight: float = MEAN_WEIGHT, deviation_weight: float = DEVIATION_WEIGHT) -> Measured:
    """Return the weighted distances of means and standard deviations."""
    forward = partial(moment_distance_forward, mean_weight=mean_weight, deviation_weight=deviation_weight)
    return _measured(forward, moment_distance_backward, x, y)


def moment_norms(x: Array, y: Array, mean_weight: float = MEAN_WEIGHT, variance_weight: float = DEVIATION_WEIGHT) -> Measured:
    """Return the weighted distances of means and variances, as whole vectors."""
    forward = partial(moment_norms_forward, mean_weight=mean_weight, variance_weight=variance_weight)
    return _measured(forward, moment_norms_backward, x, y)


def _measured(forward: Callable[..., Any], backward: Callable[..., Any], x: Array, y: Array) -> Measured:
    value, cache = forward(x, y)
    dx, others = backward(x.dtype.type(1), cache)
    return Measured(float(value), dx, others["y"])


MEASURES: dict[str, Measure] = {AVERAGE: average_linkage, COSINE: cosine_linkage, MOMENTS: moments, NORMS: moment_norms}
