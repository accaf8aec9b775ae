"""Every parameter of a model under its Hugging Face name, with its value and its gradient.

Matrices and vectors are views into one flat buffer of values and one of gradients, each view aligned to 256 bytes, first
the matrices, then the vectors: parameters that an optimiser treats alike are neighbours, so it can update long stretches of
memory at once.  A table (the word embeddings) has arrays of its own because its gradient is row-sparse: see
minixl/ops/embedding.py.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Any

import numpy as np

from minixl.backend import Array
from minixl.errors import UserError
from minixl.ops.embedding import RowSparse, add_sparse

ALIGNMENT = 64                       # elements: 256 bytes of float32

Gradients = Mapping[str, Any]        # name -> array, RowSparse, or a mapping one level down

_collecting: ContextVar[tuple[ParameterStore, dict[str, Any]] | None] = ContextVar("_collecting", default=None)    # of this thread


@dataclass(slots=True)
class Parameter:
    """One named parameter."""

    name: str
    value: Array
    grad: Any                        # an array; for a table a RowSparse, or None before anything is looked up
    offset: int | None               # position in the flat buffers; None for a table
    trainable: bool = True


class ParameterStore:
    """name -> Parameter, in the order of `shapes`.

    `tables` names the parameters with a row-sparse gradient.  `xp` is numpy or cupy, `dtype` float32 or float64.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, tables: Collection[str] = (), dtype: Any = np.float32,
                 xp: Any = np) -> None:
        self.xp, self.dtype = xp, np.dtype(dtype)
        flat = [name for name in shapes if name not in tables]
        offsets, size = {}, 0
        for name in sorted(flat, key=lambda name: len(shapes[name]) < 2):      # stable: matrices first
            offsets[name] = size
            size += -(-prod(shapes[name]) // ALIGNMENT) * ALIGNMENT
        try:
            self.values = xp.zeros(size, dtype)
            self.grads = xp.zeros(size, dtype)   # frozen parameters' pages are never touched and take no memory
            rows = {name: xp.zeros(shapes[name], dtype) for name in tables if name in shapes}
        except (MemoryError, ValueError):        # ValueError: more than any machine can address
            raise _too_large(shapes, self.dtype) from None
        self._parameters: dict[str, Parameter] = {}
        self._under: dict[str, dict[str, dict[str, Array]]] = {}
        self._spans: dict[tuple[str, ...], list[slice]] = {}
        self.watcher: Callable[[str], object] | None = None            # told the name of each parameter that gets a gradient
        for name, shape in shapes.items():
            if name in tables:
                self._parameters[name] = Parameter(name, rows[name], None, None)
            else:
                span = slice(offsets[name], offsets[name] + prod(shape))
                self._parameters[name] = Parameter(name, self.values[span].reshape(shape),
                                                   self.grads[span].reshape(shape), offsets[name])

    def __getitem__(self, name: str) -> Parameter:
        return self._parameters[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __len__(self) -> int:
        return len(self._parameters)

    def names(self, *, trainable: bool | None = None) -> list[str]:
        """All names, or only those of the trainable (False: the frozen) parameters."""
        return [p.name for p in self if trainable is None or p.trainable == trainable]

    def under(self, prefix: str) -> dict[str, dict[str, Array]]:
        """Values under a prefix, by module: under("bert.encoder.layer.0")["output.dense"] -> {"weight": ..., "bias": ...}."""
        if prefix not in self._under:
            modules: dict[str, dict[str, Array]] = {}
            for parameter in self:
                if parameter.name.startswith(prefix + "."):
                    module, _, last = parameter.name[len(prefix) + 1:].rpartition(".")
                    modules.setdefault(module, {})[last] = parameter.value
            self._under[prefix] = modules
        return self._under[prefix]

    def spans(self, names: Iterable[str]) -> list[slice]:
        """The slices of the flat buffers that hold exactly these parameters (and the padding between them), without tables."""
        key = tuple(names)
        if key not in self._spans:
            subset, spans = set(key), list[slice]()
            flat = sorted((p.offset, p.name) for p in self if p.offset is not None)
            ends = [offset for offset, _ in flat[1:]] + [len(self.values)]
            for (offset, name), end in zip(flat, ends, strict=True):
                if name in subset:
                    start = spans.pop().start if spans and spans[-1].stop == offset else offset
                    spans.append(slice(start, end))
            self._spans[key] = spans
        return self._spans[key]

    def match(self, patterns: Iterable[str]) -> list[str]:
        """Names that match any of the shell patterns.  Raises UserError for a pattern that matches nothing."""
        matching: set[str] = set()
        for pattern in patterns:
            names = {name for name in self._parameters if fnmatchcase(name, pattern)}
            if not names:
                raise UserError(f"parameters: the pattern {pattern!r} matches no parameter, for example "
                                f"{next(iter(self._parameters), '(none)')!r} (minixl weights show lists all)")
            matching |= names
        return [name for name in self._parameters if name in matching]

    def freeze(self, patterns: Iterable[str]) -> list[str]:
        """Exclude the matching parameters from training; return their names."""
        names = self.match(patterns)
        for name in names:
            self[name].trainable = False
        return names

    def accumulate(self, prefix: str, grads: Gradients) -> None:
        """Add gradients; nothing else does.  `grads` may be nested; gradients of frozen parameters are dropped."""
        for key, grad in grads.items():
            name = f"{prefix}.{key}" if prefix else key
            if isinstance(grad, Mapping):
                self.accumulate(name, grad)
                continue
            parameter = self[name]
            if not parameter.trainable:
                continue
            collecting = _collecting.get()
            if collecting is not None and collecting[0] is self:
                collected = collecting[1]
                collected[name] = _sum(collected[name], grad) if name in collected else grad
            elif not isinstance(grad, RowSparse):
                parameter.grad += grad
            elif parameter.offset is None:
                parameter.grad = grad if parameter.grad is None else add_sparse(parameter.grad, grad)
            else:
                parameter.grad[grad.rows] += grad.values
            if self.watcher is not None:
                self.watcher(name)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[dict[str, Any]]:
        """Keep the gradients that this thread accumulates inside the block apart, by name, instead of adding them.

        For threads that compute parts of a batch at the same time: `accumulate("", collected)` adds a part's gradients later,
        in a fixed order.
        """
        collected: dict[str, Any] = {}
        token = _collecting.set((self, collected))
        try:
            yield collected
        finally:
            _collecting.reset(token)

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        for span in self.spans(self.names(trainable=True)):
            self.grads[span] = 0
        for parameter in self:
            if parameter.offset is None:
                parameter.grad = None

    def count(self, *, trainable: bool | None = None) -> int:
        """Number of weights."""
        return sum(self[name].value.size for name in self.names(trainable=trainable))


def _sum(a: Any, b: Any) -> Any:
    """Add two gradients of one parameter, both arrays or both row-sparse, without changing either."""
    return add_sparse(a, b) if isinstance(a, RowSparse) else a + b


def _too_large(shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype) -> UserError:
    """Return the error for a model that does not fit in memory."""
    largest = max(shapes, key=lambda name: prod(shapes[name]))
    needed = dtype.itemsize * sum(map(prod, shapes.values())) / 1e9
    return UserError(f"out of memory: the weights of this model need {needed:,.1f} GB; the largest parameter is {largest} with "
                     f"shape {shapes[largest]}; use a smaller model")
