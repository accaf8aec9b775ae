"""How to call every op with random inputs: one small table, from which `minixl study check` and tests check all of them.

A maker gets the module of the op and a generator and returns a Case.  An op that is differentiated in some other way than by
NAME_backward (a Viterbi score by its path, log Z by its marginals) has functions here that bring it into the same form.
Shapes are small, but have what usually goes wrong: repeated ids, equal and different lengths, a sentence without tokens,
excluded rows, masks.

Whoever adds an op adds its line to CASES; `uncovered` names every op that no case calls.
"""
from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import sqrt
from types import ModuleType
from typing import Any

import numpy as np

from minixl import ops
from minixl.backend import Array, recording
from minixl.data.schemes import legal_transitions
from minixl.ops.crf_recursion import Scores
from minixl.ops.lstm_steps import Cell
from minixl.ops.steps import time_steps
from minixl.packing import starts_of
from minixl.study.sites import OPERATOR

P, LENGTHS = 0.25, (3, 3, 1, 0, 2)
STARTS = starts_of(LENGTHS)


@dataclass
class Case:
    """One call: forward(**arrays, **fixed) -> y, cache; backward(dy, cache) -> dx, grads.  y may be a tuple of arrays."""

    name: str                              # of the op, perhaps with a variant after a comma
    forward: Callable[..., Any]
    backward: Callable[..., Any] | None    # None: it has no gradient, only values
    arrays: dict[str, np.ndarray]          # the differentiable arguments, float64
    fixed: dict[str, Any] = field(default_factory=dict)
    reference: str = ""                    # function of pytorch.py with the same arguments; "" for none
    expected: Callable[..., Any] | None = None     # y by its definition, in plain Python, with the same arguments
    dx: str | None = ""                    # the argument of dx: "" for the first, None for none

    def values(self, arrays: Mapping[str, np.ndarray]) -> tuple[tuple[np.ndarray, ...], Any]:
        """Return y, always as a tuple, and the cache."""
        y, cache = self.forward(**arrays, **self.fixed)
        return y if isinstance(y, tuple) else (y,), cache

    def gradients(self, dy: tuple[np.ndarray, ...], cache: Any, single: bool) -> dict[str, np.ndarray]:
        """Return the gradient of every argument by name, row-sparse ones as full arrays.  single: y is one array."""
        assert self.backward is not None
        dx, grads = self.backward(dy[0] if single else dy, cache)
        name = next(iter(self.arrays)) if self.dx == "" else self.dx
        by_name = {**({} if name is None else {name: dx}), **grads}
        return {name: dense(by_name[name], array.shape) for name, array in self.arrays.items()}


def dense(gradient: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a gradient as a full array; a RowSparse with repeated rows counts each of them."""
    if not hasattr(gradient, "rows"):
        return np.asarray(gradient)
    full = np.zeros(shape, gradient.values.dtype)
    full[gradient.rows] = gradient.values                              # as the optimiser reads it: rows are distinct
    return full


Maker = Callable[[ModuleType, np.random.Generator], Case]


def _of(op: ModuleType, name: str, arrays: dict[str, np.ndarray], variant: str = "", **options: Any) -> Case:
    """Return the case of an op with the usual two functions."""
    options.setdefault("reference", name)
    return Case(name + (f", {variant}" if variant else ""), getattr(op, f"{name}_forward"), getattr(op, f"{name}_backward"), arrays,
                **options)


def _normal(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def _mask(rng: np.random.Generator, *shape: int) -> np.ndarray:
    mask = rng.random(shape) >= P
    mask.reshape(-1)[:2] = True, False                                 # both occur
    return mask


def _attention(op: ModuleType, rng: np.random.Generator, dropout: bool, visible: str = "all") -> Case:
    heads, scores = 2, sum(2 * length * length for length in LENGTHS)
    fixed = {"starts": STARTS, "heads": heads, "visible": visible,
             **({"dropout": P, "mask": _mask(rng, scores)} if dropout else {})}
    arrays = _normal(rng, query=(9, 6), key=(9, 6), value=(9, 6))
    return _of(op, "attention", arrays, "dropout" if dropout else "" if visible == "all" else f"words {visible}", fixed=fixed)


def _bilstm(op: ModuleType, rng: np.random.Generator, tied: bool) -> Case:
    size, inputs = 3, 4
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (4 * size, inputs), "weight_hh": (4 * size, size), "bias": (4 * size,),
                                          "bias_hh": (4 * size,)}
    if not tied:
        shapes |= {f"{name}_reverse": shape for name, shape in shapes.items()}
    return _of(op, "bilstm", _normal(rng, x=(9, inputs), **shapes), "tied" if tied else "untied", fixed={"starts": STARTS})


def _recurrent(op: ModuleType, rng: np.random.Generator) -> Case:
    def forward(x: Array, starts: np.ndarray, **weights: Array) -> Any:
        return op.recurrent_forward(x, (Cell(**weights, bias_hh=None),), (False,), starts)

    def backward(dy: tuple[Array, Array], cache: Any) -> Any:
        dx, (grads,) = op.recurrent_backward(*dy, cache)
        return dx, grads

    return Case("recurrent", forward, backward, _normal(rng, x=(9, 4), weight_ih=(12, 4), weight_hh=(12, 3), bias=(12,)),
                {"starts": STARTS}, "recurrent")


def _crf(op: ModuleType, rng: np.random.Generator, legal: bool) -> Case:
    arrays = _normal(rng, emissions=(9, 3), transitions=(3, 3), start=(3,), end=(3,))
    fixed = {"tags": np.array([0, 1, 2, 1, 1, 2, 0, 0, 1]), "starts": STARTS,
             "legal": legal_transitions(["O", "B-X", "I-X"], "IOB2") if legal else None}
    return _of(op, "crf", arrays, "legal tags" if legal else "", fixed=fixed)


def _forward_sums(op: ModuleType, rng: np.random.Generator) -> Case:
    """Return log Z, whose gradient is the marginals."""
    steps = time_steps(STARTS)
    first, last = STARTS[steps.order], STARTS[steps.order + 1] - 1
    owner = np.repeat(np.arange(len(LENGTHS)), LENGTHS)

    def forward(starts: np.ndarray, **scores: Array) -> Any:
        log_partition, state = op.forward_sums(Scores(**scores), steps, len(LENGTHS))
        return log_partition, (Scores(**scores), state)

    def backward(dy: Array, cache: Any) -> Any:
        node, edges = op.marginals(cache[0], steps, cache[1], dy[owner])
        node = node * dy[owner][:, None]
        return node, {"transitions": edges, "start": node[first].sum(axis=0), "end": node[last].sum(axis=0)}

    arrays = _normal(rng, emissions=(9, 3), transitions=(3, 3), start=(3,), end=(3,))
    return Case("forward_sums, marginals", forward, backward, arrays, {"starts": STARTS}, "log_partition")


def _viterbi(op: ModuleType, rng: np.random.Generator) -> Case:
    """Return the scores of the best paths, whose gradient counts what the paths use."""
    def forward(**scores: Array) -> Any:
        tags, path_scores = op.viterbi(starts=STARTS, **scores)
        return path_scores, tags

    def backward(dy: Array, tags: Array) -> Any:
        grads = {"scores": np.zeros((9, 3)), "transitions": np.zeros((3, 3)), "start": np.zeros(3), "end": np.zeros(3)}
        for weight, first, last in zip(dy, STARTS[:-1], STARTS[1:], strict=True):
            for t in range(first, last):
                grads["scores"][t, tags[t]] += weight
                if t > first:
                    grads["transitions"][tags[t - 1], tags[t]] += weight
            if last > first:
                grads["start"][tags[first]] += weight
                grads["end"][tags[last - 1]] += weight
        return grads.pop("scores"), grads

    def expected(scores: Array, transitions: Array, start: Array, end: Array) -> Array:
        def score(rows: Array, path: tuple[int, ...]) -> float:
            return float(start[path[0]] + end[path[-1]] + sum(row[tag] for row, tag in zip(rows, path, strict=True))
                         + sum(transitions[pair] for pair in zip(path, path[1:], strict=False)))
        return np.array([max(score(scores[a:b], path) for path in product(range(3), repeat=b - a)) if b > a else 0.0
                         for a, b in zip(STARTS[:-1], STARTS[1:], strict=True)])

    return Case("viterbi", forward, backward, _normal(rng, scores=(9, 3), transitions=(3, 3), start=(3,), end=(3,)),
                expected=expected)


def _embedding(op: ModuleType, rng: np.random.Generator, ids: list[int], variant: str) -> Case:
    return _of(op, "embedding", _normal(rng, weight=(6, 3)), variant, dx=None, fixed={"ids": np.array(ids)})


def _top_products(op: ModuleType, rng: np.random.Generator) -> Case:
    """Return the largest products of every row, whose gradient goes to the two words of each."""
    def forward(x: Array, y: Array, offsets: Array) -> Any:
        best = op.top_products(x, y, 3, offsets)
        return best.scores, (x, y, best.indices)

    def backward(dscores: Array, cache: Any) -> Any:
        x, y, indices = cache
        dproducts = np.zeros((len(x), len(y)))
        np.put_along_axis(dproducts, indices, dscores, axis=1)
        return dproducts @ y, {"y": dproducts.T @ x, "offsets": -dproducts.sum(axis=0)}

    return Case("top_products", forward, backward, _normal(rng, x=(5, 3), y=(6, 3), offsets=(6,)),
                expected=lambda x, y, offsets: _largest(x @ y.T - offsets))


def _top_products_both_ways(op: ModuleType, rng: np.random.Generator) -> Case:
    def forward(x: Array, y: Array, a: Array, b: Array) -> Any:
        return tuple(best.scores for best in op.top_products_both_ways(x, y, 3, a, b)), None

    def expected(x: Array, y: Array, a: Array, b: Array) -> Any:
        products = x @ y.T - a[:, None] - b
        return _largest(products), _largest(products.T)

    return Case("top_products_both_ways", forward, None, _normal(rng, x=(5, 3), y=(6, 3), a=(5,), b=(6,)), expected=expected)


def _mean_similarities(op: ModuleType, rng: np.random.Generator) -> Case:
    return Case("mean_similarities", lambda x, y: (op.mean_similarities(x, y, 3), None), None, _normal(rng, x=(5, 3), y=(6, 3)),
                expected=lambda x, y: (_largest(x @ y.T).mean(axis=1), _largest(y @ x.T).mean(axis=1)))


def _largest(products: Array) -> Array:
    """Return the three largest of every row, the largest first."""
    return -np.sort(-products, axis=1)[:, :3]


def _sum_rows(op: ModuleType, rng: np.random.Generator) -> Case:
    ids = np.array([4, 1, 4, 0, 1, 4])
    return Case("sum_rows", lambda values: (dense(op.sum_rows(ids, values), (6, 3)), None), lambda dy, cache: (dy[ids], {}),
                _normal(rng, values=(6, 3)))


def _adamw(op: ModuleType, rng: np.random.Generator) -> Case:
    """Return what a step leaves; an optimiser has no gradient, so its formula is checked."""
    settings: dict[str, Any] = {"lr": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-2, "steps": 3}

    def forward(value: Array, grad: Array, m: Array, v: Array) -> Any:
        arrays = value.copy(), grad.copy(), m.copy(), v.copy()
        op.adamw_step(*arrays, **settings)
        return (arrays[0], *arrays[2:]), None

    def expected(value: Array, grad: Array, m: Array, v: Array) -> Any:
        lr, (first, second), t = settings["lr"], settings["betas"], settings["steps"]
        m, v = first * m + (1 - first) * grad, second * v + (1 - second) * grad ** 2
        change = m / (1 - first ** t) / (np.sqrt(v) / sqrt(1 - second ** t) + settings["eps"])
        return value - lr * settings["weight_decay"] * value - lr * change, m, v

    arrays = _normal(rng, value=(7,), grad=(7,), m=(7,))
    return Case("adamw_step", forward, None, arrays | {"v": rng.random(7)}, expected=expected)


def _softmax_cross_entropy(op: ModuleType, rng: np.random.Generator) -> Case:
    return _of(op, "softmax_cross_entropy", _normal(rng, logits=(6, 4)), fixed={"labels": np.array([0, 3, -100, 1, 1, -100])})


def _masked_softmax_dropout(op: ModuleType, rng: np.random.Generator, dropout: bool) -> Case:
    fixed = {"valid": np.array([5, 2, 0, 3]), **({"p": P, "mask": _mask(rng, 4, 5)} if dropout else {})}
    return _of(op, "masked_softmax_dropout", _normal(rng, x=(4, 5)), "dropout" if dropout else "", fixed=fixed)


def _clouds(op: ModuleType, name: str, rng: np.random.Generator, **fixed: Any) -> Case:
    """Return the case of a distance between two clouds of points."""
    return _of(op, name, _normal(rng, x=(5, 3), y=(4, 3)), fixed=fixed)


def _identical_strings(op: ModuleType, rng: np.random.Generator) -> Case:
    return _of(op, "identical_strings", _normal(rng, x=(5, 3), y=(4, 3)),
               fixed={"rows": np.array([3, 0, 4]), "others": np.array([1, 2, 0])})


def _sampled_softmax(op: ModuleType, rng: np.random.Generator, full: bool) -> Case:
    candidates = op.all_words(7) if full else op.Candidates(np.array([0, 1, 4]), 5, 7)
    return _of(op, "sampled_softmax", _normal(rng, x=(5, 3), weight=(7, 3)), "all words" if full else "",
               fixed={"targets": np.array([4, 6, 0, 4, 2]), "candidates": candidates})


CASES: dict[str, tuple[Maker, ...]] = {
    "adamw": (_adamw,),
    "attention": (lambda op, rng: _attention(op, rng, False), lambda op, rng: _attention(op, rng, True),
                  lambda op, rng: _attention(op, rng, False, "before"), lambda op, rng: _attention(op, rng, False, "after")),
    "average_linkage": (lambda op, rng: _clouds(op, "average_linkage", rng),),
    "bilstm": (lambda op, rng: _bilstm(op, rng, True), lambda op, rng: _bilstm(op, rng, False)),
    "binary_cross_entropy": (lambda op, rng: _of(op, "binary_cross_entropy", _normal(rng, logits=(6,)),
                                                 fixed={"targets": np.array([0, 1, 1, 0, 0.3, 1.0])}),),
    "cosine_linkage": (lambda op, rng: _clouds(op, "cosine_linkage", rng),),
    "crf": (lambda op, rng: _crf(op, rng, False), lambda op, rng: _crf(op, rng, True)),
    "crf_recursion": (_forward_sums,),
    "csls": (_top_products, _top_products_both_ways, _mean_similarities),
    "dropout": (lambda op, rng: _of(op, "dropout", _normal(rng, x=(5, 4)), fixed={"p": P, "mask": _mask(rng, 5, 4)}),),
    "embedding": (lambda op, rng: _embedding(op, rng, [4, 1, 4, 0, 1, 4], "repeated ids"),
                  lambda op, rng: _embedding(op, rng, [4, 1, 5, 0], "distinct ids"), _sum_rows),
    "gelu": (lambda op, rng: _of(op, "gelu", _normal(rng, x=(5, 4))),),
    "identical_strings": (_identical_strings,),
    "layer_sums": (lambda op, rng: _of(op, "fully_weighted", _normal(rng, states=(4, 3, 5), weight=(3, 5))),
                   lambda op, rng: _of(op, "self_weighted", _normal(rng, states=(4, 3, 5), scores=(4, 3)))),
    "layernorm": (lambda op, rng: _of(op, "layernorm", _normal(rng, x=(5, 6), weight=(6,), bias=(6,)), fixed={"eps": 1e-2}),),
    "linear": (lambda op, rng: _of(op, "linear", _normal(rng, x=(5, 4), weight=(3, 4), bias=(3,))),),
    "lstm_steps": (_recurrent,),
    "masked_softmax_dropout": (lambda op, rng: _masked_softmax_dropout(op, rng, False),
                               lambda op, rng: _masked_softmax_dropout(op, rng, True)),
    "mean_pooling": (lambda op, rng: _of(op, "mean_pooling", _normal(rng, x=(6, 4)), fixed={"starts": starts_of((3, 1, 2))}),),
    "moment_distance": (lambda op, rng: _clouds(op, "moment_distance", rng, mean_weight=0.7, deviation_weight=0.4),),
    "moment_norms": (lambda op, rng: _clouds(op, "moment_norms", rng, mean_weight=0.7, variance_weight=0.4),),
    "relu": (lambda op, rng: _of(op, "relu", _normal(rng, x=(5, 4))),),
    "sampled_softmax": (lambda op, rng: _sampled_softmax(op, rng, False), lambda op, rng: _sampled_softmax(op, rng, True)),
    "soft_squared_error": (lambda op, rng: _of(op, "soft_squared_error", _normal(rng, logits=(5, 3)),
                                               fixed={"targets": rng.dirichlet(np.ones(3), 5)}),),
    "softmax": (lambda op, rng: _of(op, "softmax", _normal(rng, x=(4, 5))),
                lambda op, rng: _of(op, "log_softmax", _normal(rng, x=(4, 5)))),
    "softmax_cross_entropy": (_softmax_cross_entropy,),
    "variational_dropout": (lambda op, rng: _of(op, "variational_dropout", _normal(rng, x=(9, 4)),
                                                fixed={"p": P, "starts": STARTS, "mask": _mask(rng, 5, 4)}),),
    "viterbi": (_viterbi,),
}


def op_modules() -> dict[str, list[str]]:
    """Return the modules of minixl/ops that have ops, and the names of the decorated functions of each."""
    found = {}
    for file in pkgutil.iter_modules(ops.__path__):
        module = importlib.import_module(f"minixl.ops.{file.name}")
        names = [name for name, function in inspect.getmembers(module, inspect.isfunction)
                 if function.__module__ == module.__name__ and function.__code__ is OPERATOR]
        if names:
            found[file.name] = names
    return found


def make_cases(name: str, module: ModuleType | None = None) -> list[Case]:
    """Return the cases of an op's module, always the same ones.  module: in place of minixl.ops.NAME."""
    module = module or importlib.import_module(f"minixl.ops.{name}")
    return [maker(module, np.random.default_rng([7, number, *name.encode()])) for number, maker in enumerate(CASES.get(name, ()))]


def uncovered(name: str, functions: list[str]) -> list[str]:
    """Return the functions of an op's module that none of its cases calls."""
    called: set[str] = set()
    with recording(lambda call: called.add(call.name)):
        for case in make_cases(name):
            y, cache = case.values(case.arrays)
            if case.backward:
                case.gradients(tuple(map(np.ones_like, y)), cache, len(y) == 1)
    return [function for function in functions if function not in called]
