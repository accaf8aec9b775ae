"""The four checks that every op must pass: PyTorch, central differences, unchanged inputs, float32.

A test file describes one call of its op as a `Case` and runs every function of CHECKS on it.  dy is always random:
with dy = 1 a softmax has no gradient at all, and most wrong backward passes go unnoticed.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from minixl.backend import to_numpy


@dataclass
class Case:
    """One call: forward(**arrays, **fixed) -> y, cache; backward(dy, cache) -> dx, grads."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    arrays: dict[str, np.ndarray]          # differentiable arguments, float64, by forward's names
    reference: Callable[..., Any]          # the op in PyTorch: tensors by these names -> y
    fixed: dict[str, Any] = field(default_factory=dict)   # the other arguments
    dx: str | None = ""                    # the argument of dx: "" for the first, None for none

    def run(self, rng, xp=np, dtype=np.float64, **changed) -> dict[str, np.ndarray]:
        """Run forward and backward on xp; return "dy", "output" and the gradient of every array by its name."""
        y, cache, dy = self.forward_pass(rng, xp, dtype, **changed)
        return {"dy": to_numpy(dy), "output": to_numpy(y), **self.gradients(dy, cache)}

    def forward_pass(self, rng, xp=np, dtype=np.float64, **changed):
        """Return y, cache and a random dy."""
        arrays = {name: xp.asarray(value, dtype) for name, value in {**self.arrays, **changed}.items()}
        y, cache = self.forward(**arrays, **{name: _placed(name, value, xp, dtype) for name, value in self.fixed.items()})
        return y, cache, xp.asarray(rng.normal(size=y.shape), dtype)

    def gradients(self, dy, cache) -> dict[str, np.ndarray]:
        """The gradients of backward by argument name, row-sparse ones as full arrays."""
        dx, grads = self.backward(dy, cache)
        name = next(iter(self.arrays)) if self.dx == "" else self.dx
        assert (dx is None) == (name is None)
        by_name = ({} if name is None else {name: dx}) | grads
        assert by_name.keys() == self.arrays.keys(), "gradients must have the names of forward's arguments"
        return {name: dense(grad, self.arrays[name].shape) for name, grad in by_name.items()}


def _placed(name: str, value: Any, xp, dtype) -> Any:
    """A fixed argument, moved to xp and converted to the dtype of the run; `starts` stays on the CPU."""
    if not isinstance(value, np.ndarray) or name == "starts":
        return value
    return xp.asarray(value, dtype if value.dtype.kind == "f" else value.dtype)


def dense(grad: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A gradient as a full NumPy array; the rows of a RowSparse (or of a mutant's RowSparse) must be sorted and distinct."""
    if not hasattr(grad, "rows"):
        return to_numpy(grad)
    rows = to_numpy(grad.rows)
    assert (np.diff(rows) > 0).all(), f"rows must be sorted and distinct: {rows}"
    full = np.zeros(shape, grad.values.dtype)
    full[rows] = to_numpy(grad.values)
    return full


def assert_close(ours, theirs, rtol: float, err_msg: str = "") -> None:
    """Shapes are equal, and differences at most rtol of the value or of the largest value of the array."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{err_msg}: shape {ours.shape}, expected {theirs.shape}"
    largest = np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * largest + 1e-13, err_msg=err_msg)


def matches_pytorch(case: Case, xp, rng) -> None:
    """y and every gradient, float64, within 1e-9."""
    results = case.run(rng, xp)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in case.arrays.items()}
    y = case.reference(**tensors)
    y.backward(torch.tensor(results["dy"]))
    assert_close(results["output"], y.detach().numpy(), 1e-9, "y")
    for name, tensor in tensors.items():
        assert_close(results[name], np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy(), 1e-9, f"d{name}")


def matches_central_difference(case: Case, xp, rng) -> None:
    """The slope of Σ y · dy in a random direction of all arguments together, within 1e-6, without PyTorch."""
    results = case.run(rng, xp)
    direction = {name: rng.normal(size=value.shape) for name, value in case.arrays.items()}
    size = np.sqrt(sum((d * d).sum() for d in direction.values())) or 1.0
    step = 1e-5

    def loss(t: float) -> float:
        moved = {name: value + t * direction[name] / size for name, value in case.arrays.items()}
        return float((to_numpy(case.forward_pass(rng, xp, **moved)[0]) * results["dy"]).sum())

    slope = sum(float((results[name] * direction[name]).sum()) for name in direction) / size
    rounding = 1e-15 / step * (1 + np.abs(results["output"] * results["dy"]).sum())
    np.testing.assert_allclose((loss(step) - loss(-step)) / (2 * step), slope, rtol=1e-6, atol=10 * rounding)


def leaves_its_inputs_alone(case: Case, xp, rng) -> None:
    """Neither pass writes to its arguments, backward not to the cache; a second backward gives the same result.

    On a GPU up to rounding: the formulas add rows with atomic additions there, in any order (the kernels do not).
    """
    differentiable = {name: xp.asarray(value) for name, value in case.arrays.items()}
    fixed = {name: _placed(name, value, xp, np.float64) for name, value in case.fixed.items()}
    arguments = [to_numpy(array).copy() for array in _arrays([differentiable, fixed])]
    y, cache = case.forward(**differentiable, **fixed)
    for kept, now in zip(arguments, _arrays([differentiable, fixed]), strict=True):
        np.testing.assert_array_equal(kept, to_numpy(now), err_msg="forward wrote to an argument")
    dy = xp.asarray(rng.normal(size=y.shape))
    held = [to_numpy(array).copy() for array in _arrays([dy, differentiable, cache])]
    first = case.gradients(dy, cache)
    for kept, now in zip(held, _arrays([dy, differentiable, cache]), strict=True):
        np.testing.assert_array_equal(kept, to_numpy(now), err_msg="backward wrote to dy or the cache")
    for name, again in case.gradients(dy, cache).items():
        np.testing.assert_allclose(first[name], again, rtol=0, atol=0 if xp is np else 1e-12,
                                   err_msg=f"a second backward gives another d{name}")


def _arrays(held: Any) -> list[Any]:
    """Every array in nested tuples, lists and dictionaries."""
    if isinstance(held, dict):
        return [array for value in held.values() for array in _arrays(value)]
    if isinstance(held, (tuple, list)):
        return [array for value in held for array in _arrays(value)]
    return [held] if hasattr(held, "dtype") else []


def float32_is_close(case: Case, xp, rng) -> None:
    """float32 stays float32 and is within 1e-4 of float64."""
    state = rng.bit_generator.state
    wide = case.run(rng, xp)
    rng.bit_generator.state = state
    narrow = case.run(rng, xp, np.float32)
    for name, value in narrow.items():
        assert value.dtype == np.float32, f"{name} became {value.dtype}"
        largest = np.abs(wide[name]).max(initial=0)
        np.testing.assert_allclose(value, wide[name], rtol=1e-4, atol=1e-5 * max(largest, 1e-2), err_msg=name)


CHECKS = (matches_pytorch, matches_central_difference, leaves_its_inputs_alone, float32_is_close)


def packed(lengths) -> np.ndarray:
    """starts (B+1,) of sentences of these lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
