"""Optimisers over a named subset of a ParameterStore, clipping, and learning-rate schedules.

    SGD      p ← p - lr · g
    AdamW    minixl/ops/adamw.py; with no weight decay it is Adam

Each optimiser owns its moments, so the three losses of an adversarial method never mix theirs.  Neighbours in the flat
buffer with the same settings are updated in one pass.  A table with a row-sparse gradient follows the dense rule exactly:
a row that was never looked up has m = v = 0, so only the rows that ever were need moments.
Checked against torch.optim in tests/test_optim.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, sqrt
from typing import Any

import numpy as np

from minixl.backend import Array, by_rows
from minixl.ops.adamw import adamw_step
from minixl.parameters import ParameterStore

Schedule = Callable[[int], float]    # step, counted from 0 -> factor on the learning rate


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a weight decay."""

    names: tuple[str, ...]
    lr: float
    weight_decay: float = 0.0
    floor: float = 0.0           # no schedule brings the learning rate below it; one that is lower already does not move

    def rate(self, factor: float) -> float:
        """The learning rate where the schedule says `factor`."""
        return max(self.lr * factor, min(self.floor, self.lr))


def constant(step: int) -> float:
    """No schedule."""
    return 1.0


def linear_schedule(total: int, warmup: int) -> Schedule:
    """From 0 up to 1 over `warmup` steps, then down to 0 at step `total` (transformers' linear schedule)."""
    def factor(step: int) -> float:
        if step < warmup:
            return step / max(1, warmup)
        return max(0.0, (total - step) / max(1, total - warmup))
    return factor


def inverse_schedule(epoch_steps: int | Fraction, decay: float) -> Schedule:
    """1 / (1 + decay * epoch), epoch counted from 0; one has `epoch_steps` steps (Lample et al. 2016; Bari et al. 2020)."""
    return lambda step: 1 / (1 + decay * (step // epoch_steps))


def decay_groups(store: ParameterStore, names: Iterable[str], lr: float, weight_decay: float, floor: float = 0.0) -> list[Group]:
    """One group with weight decay and one without: LayerNorm and biases, all vectors, are not decayed (Devlin et al. 2019, A.2)."""
    decayed: list[str] = []
    plain: list[str] = []
    for name in names:
        (plain if store[name].value.ndim < 2 else decayed).append(name)
    groups = [Group(tuple(decayed), lr, weight_decay, floor), Group(tuple(plain), lr, floor=floor)]
    return [group for group in groups if group.names]


def gradient_norm(store: ParameterStore, names: Iterable[str]) -> float:
    """Euclidean norm of the gradients of `names` taken together."""
    total = np.float64(0)
    for name in names:
        grad = store[name].grad
        values = getattr(grad, "values", grad)                         # a table's gradient holds its rows in .values
        if values is not None:
            flat = values.reshape(-1)
            total = total + (flat @ flat).astype(np.float64)           # on a GPU it stays there until the end
    return sqrt(total)


def clip_gradients(store: ParameterStore, names: Sequence[str], limit: float) -> float:
    """Scale the gradients of `names` so that their common norm is at most `limit`; returns the norm before."""
    norm = gradient_norm(store, names)
    if limit < norm < inf:                                             # a norm that is not finite is the caller's to refuse
        for name in names:
            grad = store[name].grad
            values = getattr(grad, "values", grad)
            if values is not None:
                values *= limit / (norm + 1e-6)                        # as torch.nn.utils.clip_grad_norm_
    return norm


class Optimizer:
    """What all optimisers share: the stretches of the flat buffer, the tables, the step count, the state."""

    moments: tuple[str, ...] = ()

    def __init__(self, store: ParameterStore, groups: Sequence[Group], schedule: Schedule = constant) -> None:
        self.store, self.groups, self.schedule, self.steps = store, tuple(groups), schedule, 0
        self.last_lr = 0.0                                             # of the first group, in the last step
        self.names = [name for group in groups for name in group.names]
        twice = {name for name in self.names if self.names.count(name) > 1}
        if twice:
            raise ValueError(f"optimizer: {sorted(twice)[0]} stands in more than one group")
        self.spans = [(span, group) for group in groups for span in _spans(store, group.names)]
        self.tables = [(name, group) for group in groups for name in group.names if store[name].offset is None]
        self.span_state = [{key: store.xp.zeros(span.stop - span.start, store.dtype) for key in self.moments}
                           for span, _ in self.spans]
        self.table_state = [{key: store.xp.zeros_like(store[name].value) for key in self.moments}
                            for name, _ in self.tables]                # calloc: rows never touched cost no memory
        self.active = [store.xp.zeros(len(store[name].value), bool) for name, _ in self.tables]

    def step(self) -> None:
        """One update of every parameter of the groups from its accumulated gradient."""
        factor = self.schedule(self.steps)
        self.last_lr = self.groups[0].rate(factor)
        self.steps += 1
        store = self.store
        for (span, group), state in zip(self.spans, self.span_state, strict=True):
            lr, value, grad = group.rate(factor), store.values[span], store.grads[span]

            def block(rows: slice, lr=lr, value=value, grad=grad, state=state, group=group) -> None:
                self.update(value[rows], grad[rows], {key: m[rows] for key, m in state.items()}, lr, group.weight_decay)

            by_rows(block, len(value), 1, store.xp, passes=14)
        for (name, group), state, active in zip(self.tables, self.table_state, self.active, strict=True):
            self._table_step(name, group, group.rate(factor), state, active)

    def _table_step(self, name: str, group: Group, lr: float, state: dict[str, Array], active: Array) -> None:
        xp, parameter = self.store.xp, self.store[name]
        if parameter.grad is not None:
            active[parameter.grad.rows] = True
        rows = xp.flatnonzero(active)
        if group.weight_decay and lr:
            idle = xp.flatnonzero(~active)
            if len(idle):
                parameter.value *= xp.where(active, 1, 1 - lr * group.weight_decay)[:, None].astype(self.store.dtype)
        if not len(rows):
            return
        grad = xp.zeros((len(rows), parameter.value.shape[1]), self.store.dtype)
        if parameter.grad is not None:
            grad[xp.searchsorted(rows, parameter.grad.rows)] = parameter.grad.values
        value, moments = parameter.value[rows], {key: m[rows] for key, m in state.items()}
        self.update(value, grad, moments, lr, group.weight_decay)
        parameter.value[rows] = value
        for key, moment in moments.items():
            state[key][rows] = moment

    def update(self, value: Array, grad: Array, state: dict[str, Array], lr: float, weight_decay: float) -> None:
        """The rule, in place on `value` and `state`; `grad` is left alone."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Everything a checkpoint needs, as arrays: the step count, the moments, the active rows of the tables."""
        state: dict[str, Any] = {"steps": np.array([self.steps])}
        for i, moments in enumerate(self.span_state):
            state.update({f"span.{i}.{key}": moment for key, moment in moments.items()})
        for (name, _), moments, active in zip(self.tables, self.table_state, self.active, strict=True):
            rows = self.store.xp.flatnonzero(active)
            state[f"table.{name}.rows"] = rows
            state.update({f"table.{name}.{key}": moment[rows] for key, moment in moments.items()})
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The opposite of state_dict, into an optimiser made with the same groups."""
        self.steps = int(state["steps"][0])
        for i, moments in enumerate(self.span_state):
            for key, moment in moments.items():
                moment[...] = self.store.xp.asarray(state[f"span.{i}.{key}"])
        for (name, _), moments, active in zip(self.tables, self.table_state, self.active, strict=True):
            rows = self.store.xp.asarray(state[f"table.{name}.rows"])
            for key, moment in moments.items():
                moment[active] = 0                                     # of rows that this optimiser has seen since
                moment[rows] = self.store.xp.asarray(state[f"table.{name}.{key}"])
            active[...] = False
            active[rows] = True


class SGD(Optimizer):
    """Plain stochastic gradient descent."""

    def update(self, value: Array, grad: Array, state: dict[str, Array], lr: float, weight_decay: float) -> None:
        value -= (grad if not weight_decay else grad + weight_decay * value) * value.dtype.type(lr)


class AdamW(Optimizer):
    """Adam with decoupled weight decay; with weight_decay = 0 in every group it is Adam."""

    moments = ("m", "v")

    def __init__(self, store: ParameterStore, groups: Sequence[Group], schedule: Schedule = constant, *,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(store, groups, schedule)
        self.betas, self.eps = betas, eps

    def update(self, value: Array, grad: Array, state: dict[str, Array], lr: float, weight_decay: float) -> None:
        adamw_step(value, grad, state["m"], state["v"], lr=lr, weight_decay=weight_decay, betas=self.betas, eps=self.eps,
                   steps=self.steps)


def _spans(store: ParameterStore, names: Iterable[str]) -> list[slice]:
    """Stretches of the flat buffer that hold exactly the given parameters (and the padding between them)."""
    chosen = set(names)
    wanted = sorted(p.offset for p in store if p.offset is not None and p.name in chosen)
    everything = sorted(p.offset for p in store if p.offset is not None)
    following = dict(zip(everything, everything[1:] + [len(store.values)], strict=True))
    spans: list[slice] = []
    for offset in wanted:
        if spans and spans[-1].stop == offset:
            spans[-1] = slice(spans[-1].start, following[offset])
        else:
            spans.append(slice(offset, following[offset]))
    return spans
