"""Compare gradients with central differences and with PyTorch, in float64.

Along a direction d the derivative is (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, whose error is of order h⁴.  For f = Σ y · dy
with random dy it must be Σ gradient · d.  Directions are random, so that every element counts, and single coordinates show
where a gradient is wrong.
"""
from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minixl.study.cases import Case

DIFFERENCES, PYTORCH, DEFINITION = "central differences", "PyTorch", "definition"
RUNS, NO_CASE = "an error", "no case in minixl/study/cases.py"         # failures of another kind
RESULT = "(result)"
LIMITS = {DIFFERENCES: 1e-6, PYTORCH: 1e-9, DEFINITION: 1e-9, RUNS: 0.0, NO_CASE: 0.0}
H = 1e-3                               # rounding is about 1e-16 / H of f, the formula's own error about H⁴
DIRECTIONS, COORDINATES = 2, 4         # of every argument or parameter
Arrays = Mapping[str, np.ndarray]


class Row(NamedTuple):
    """A line of the table: the worst error of one gradient, or of one value."""

    name: str                          # the op, the model or the method
    parameter: str                     # the argument or parameter; RESULT: the result itself
    against: str                       # a key of LIMITS
    error: float                       # relative

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit; NaN is not."""
        return self.error <= LIMITS[self.against]


def check_case(case: Case, rng: np.random.Generator, torch: bool) -> list[Row]:
    """Return the rows of an op's case.  torch: also compare with PyTorch."""
    y, cache = case.values(case.arrays)
    rows = []
    if case.expected:
        expected = case.expected(**case.arrays, **case.fixed)
        parts = expected if isinstance(expected, tuple) else (expected,)
        rows.append(Row(case.name, RESULT, DEFINITION, worst(list(map(relative, y, parts)))))
    dy = tuple(np.asarray(rng.normal(size=np.shape(part))) for part in y)
    if not case.backward:
        return rows
    gradients = case.gradients(dy, cache, len(y) == 1)

    def weighted(arrays: Arrays) -> float:
        return float(sum((part * slope).sum() for part, slope in zip(case.values(arrays)[0], dy, strict=True)))

    size = float(sum(np.abs(part * slope).sum() for part, slope in zip(y, dy, strict=True)))
    rows += [Row(case.name, name, DIFFERENCES, worst_difference(weighted, case.arrays, name, gradients[name], size, rng))
             for name in case.arrays]
    return rows + (against_pytorch(case, y, dy, gradients) if torch and case.reference else [])


def worst_difference(function: Callable[[Arrays], float], arrays: Arrays, name: str, gradient: np.ndarray, size: float,
                     rng: np.random.Generator) -> float:
    """Return the worst relative error of arrays[name]'s gradient along random directions and single coordinates.

    size: of the terms that the function adds up, which bounds its rounding.
    """
    value = arrays[name]
    if gradient.shape != value.shape:
        return float("inf")
    return worst([error_along(float(derivative(lambda moved: function({**arrays, name: moved}), value, direction)),
                              gradient, direction, size)
                  for direction in directions_of(value.shape, DIRECTIONS, COORDINATES, rng)])


def directions_of(shape: tuple[int, ...], count: int, coordinates: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return `count` random directions of length 1, and that of some single elements."""
    size = int(np.prod(shape))
    directions = [rng.normal(size=shape) for _ in range(count)]
    directions = [direction / (np.linalg.norm(direction) or 1.0) for direction in directions]
    for flat in rng.permutation(size)[:coordinates]:
        one = np.zeros(size)
        one[flat] = 1
        directions.append(one.reshape(shape))
    return directions


def derivative(function: Callable[[np.ndarray], Any], value: np.ndarray, direction: np.ndarray) -> Any:
    """Return the derivative of a function, whose result is a number or an array, along a direction."""
    at = {t: function(value + t * H * direction) for t in (-2, -1, 1, 2)}
    return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * H)


def error_along(measured: float, gradient: np.ndarray, direction: np.ndarray, size: float) -> float:
    """Return the error of a gradient along a direction, relative to the derivative.

    Where the derivative happens to be near zero, the error is relative to a tenth of what a random direction typically has, or
    to 1e-5 of `size`, below which rounding would be seen.
    """
    slope = float((gradient * direction).sum())
    typical = 0.1 * float(np.linalg.norm(gradient)) / max(gradient.size, 1) ** 0.5
    return abs(measured - slope) / max(abs(measured), abs(slope), typical, 1e-5 * size, 1e-30)


def against_pytorch(case: Case, y: tuple[np.ndarray, ...], dy: tuple[np.ndarray, ...], gradients: Arrays) -> list[Row]:
    """Return the rows of a comparison with autograd."""
    import torch

    from minixl.study import pytorch

    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in case.arrays.items()}
    theirs = getattr(pytorch, case.reference)(**tensors, **case.fixed)
    theirs = theirs if isinstance(theirs, tuple) else (theirs,)
    torch.autograd.backward(theirs, [torch.tensor(slope) for slope in dy])
    values = worst([relative(ours, part.detach().numpy()) for ours, part in zip(y, theirs, strict=True)])
    grads = {name: np.zeros(case.arrays[name].shape) if tensor.grad is None else tensor.grad.numpy()
             for name, tensor in tensors.items()}
    return [Row(case.name, RESULT, PYTORCH, values)] + [
        Row(case.name, name, PYTORCH, relative(gradients[name], grads[name])) for name in tensors]


def relative(ours: np.ndarray, theirs: np.ndarray, at_least: float = 1e-30) -> float:
    """Return the largest difference, relative to the largest value or to at_least; infinity for different shapes."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max(initial=0) / max(np.abs(theirs).max(initial=0), at_least))


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def worst(errors: list[float]) -> float:
    """Return the largest error; NaN if any is NaN."""
    return float(np.max(errors)) if errors else 0.0
