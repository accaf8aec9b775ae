"""Optimisers over a named subset of a ParameterStore, clipping, and learning-rate schedules.

    SGD      p ← p - lr · g
    AdamW    minixl/ops/adamw.py; with no weight decay it is Adam

Each optimiser has its own moments, so the three losses of an adversarial method never mix theirs.  Neighbours in the flat
buffer with the same settings are updated in one pass.  A table with a row-sparse gradient is updated exactly as if its
gradient were dense: rows that were never looked up have m = v = 0, so only the others need moments.
Checked against torch.optim in tests/test_optim.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, sqrt
from typing import Any

import numpy as np

from minixl.backend import Array, by_rows
from minixl.ops.adamw import adamw_step
from minixl.parameters import ParameterStore

Schedule = Callable[[int], float]    # step, counted from 0 -> factor of the learning rate


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a weight decay."""

    names: tuple[str, ...]
    lr: float
    weight_decay: float = 0.0
    floor: float = 0.0           # a schedule never lowers the learning rate below it (or below lr, if that is lower)
    schedule: Schedule | None = None     # its own, in place of the optimiser's

    def rate(self, factor: float) -> float:
        """The learning rate for a schedule's `factor`."""
        return max(self.lr * factor, min(self.floor, self.lr))


def constant(step: int) -> float:
    """The schedule that never changes the learning rate."""
    return 1.0


def linear_schedule(total: int, warmup: int) -> Schedule:
    """From 0 up to 1 over `warmup` steps, then down to 0 at step `total` (transformers' linear schedule)."""
    def factor(step: int) -> float:
        if step < warmup:
            return step / max(1, warmup)
        return max(0.0, (total - step) / max(1, total - warmup))
    return factor


def inverse_schedule(epoch_steps: int | Fraction, decay: float) -> Schedule:
    """1 / (1 + decay * epoch); epochs count from 0 and have `epoch_steps` steps (Lample et al. 2016; Bari et al. 2020)."""
    return lambda step: 1 / (1 + decay * (step // epoch_steps))


def exponential_schedule(epoch_steps: int | Fraction, decay: float) -> Schedule:
    """(1 - decay)^epoch; epochs count from 0 and have `epoch_steps` steps (Bao et al. 2019)."""
    return lambda step: (1 - decay) ** int(step // epoch_steps)


def delayed_schedule(frozen: int, full: int) -> Schedule:
    """0 for the first `frozen` steps, then linearly up to 1 at step `full` (the word vectors of Bao et al.'s code)."""
    return lambda step: min(1.0, max(0.0, (step - frozen) / max(1, full - frozen)))


def decay_groups(store: ParameterStore, names: Iterable[str], lr: float, weight_decay: float, floor: float = 0.0) -> list[Group]:
    """One group with weight decay and one without for the vectors, LayerNorm and biases (Devlin et al. 2019, A.2)."""
    decayed: list[str] = []
    plain: list[str] = []
    for name in names:
        (plain if store[name].value.ndim < 2 else decayed).append(name)
    groups = [Group(tuple(decayed), lr, weight_decay, floor), Group(tuple(plain), lr, floor=floor)]
    return [group for group in groups if group.names]


def gradient_norm(store: ParameterStore, names: Iterable[str]) -> float:
    """Euclidean norm of all gradients of `names` together."""
    total = np.float64(0)
    for values in _gradients(store, names):
        total = total + (values @ values).astype(np.float64)           # on a GPU: copied to the CPU only once, below
    return sqrt(total)


def clip_gradients(store: ParameterStore, names: Sequence[str], limit: float) -> float:
    """Scale the gradients of `names` so that their norm together is at most `limit`; return the norm before scaling."""
    norm = gradient_norm(store, names)
    if limit < norm < inf:                                             # the caller must reject a norm that is not finite
        for values in _gradients(store, names):
            values *= limit / (norm + 1e-6)                            # as torch.nn.utils.clip_grad_norm_
    return norm


def _gradients(store: ParameterStore, names: Iterable[str]) -> Iterator[Array]:
    """The gradients of `names` as flat arrays; on a GPU, where each call costs, neighbours in the buffer as one.

    On a CPU an array for each parameter, because a float32 sum over all of them would be less exact.
    """
    names = tuple(names)
    tables = [store[name].grad for name in names if store[name].offset is None]
    if store.xp is np:
        yield from (store[name].grad.reshape(-1) for name in names if store[name].offset is not None)
    else:
        yield from (store.grads[span] for span in store.spans(names))
    yield from (grad.values.reshape(-1) for grad in tables if grad is not None)


class Optimizer:
    """Base of all optimisers: which parts of the flat buffer and which tables to update, the step count, the state."""

    moments: tuple[str, ...] = ()

    def __init__(self, store: ParameterStore, groups: Sequence[Group], schedule: Schedule = constant) -> None:
        self.store, self.groups, self.schedule, self.steps = store, tuple(groups), schedule, 0
        self.last_lr = 0.0                                             # of the first group in the last step
        self.names = [name for group in groups for name in group.names]
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise ValueError(f"optimizer: {sorted(repeated)[0]} is in more than one group")
        self.spans = [(span, group) for group in groups for span in store.spans(group.names)]
        self.tables = [(name, group) for group in groups for name in group.names if store[name].offset is None]
        self.span_state = [{key: store.xp.zeros(span.stop - span.start, store.dtype) for key in self.moments}
                           for span, _ in self.spans]
        self.table_state = [{key: store.xp.zeros_like(store[name].value) for key in self.moments}
                            for name, _ in self.tables]                # calloc: untouched rows take no memory
        self.active = [store.xp.zeros(len(store[name].value), bool) for name, _ in self.tables]

    def step(self) -> None:
        """Update every parameter of the groups from its accumulated gradient."""
        factor = self.schedule(self.steps)
        factors = [factor if group.schedule is None else group.schedule(self.steps) for group in self.groups]
        rates = {group: group.rate(own) for group, own in zip(self.groups, factors, strict=True)}
        self.last_lr = rates[self.groups[0]]
        self.steps += 1
        store = self.store
        for (span, group), state in zip(self.spans, self.span_state, strict=True):
            lr, value, grad = rates[group], store.values[span], store.grads[span]

            def block(rows: slice, lr=lr, value=value, grad=grad, state=state, group=group) -> None:
                self.update(value[rows], grad[rows], {key: m[rows] for key, m in state.items()}, lr, group.weight_decay)

            by_rows(block, len(value), 1, store.xp, passes=14)
        for (name, group), state, active in zip(self.tables, self.table_state, self.active, strict=True):
            self._table_step(name, group, rates[group], state, active)

    def _table_step(self, name: str, group: Group, lr: float, state: dict[str, Array], active: Array) -> None:
        xp, parameter = self.store.xp, self.store[name]
        if parameter.grad is not None:
            active[parameter.grad.rows] = True
        rows = xp.flatnonzero(active)
        if group.weight_decay and lr and len(rows) < len(active):
            parameter.value *= xp.where(active, 1, 1 - lr * group.weight_decay)[:, None].astype(self.store.dtype)
        if not len(rows):
            return
        grad = xp.zeros((len(rows), parameter.value.shape[1]), self.store.dtype)
        if parameter.grad is not None:
            grad[xp.searchsorted(rows, parameter.grad.rows)] = parameter.grad.values
        copied = len(rows) < len(active)               # a table of which every row was looked up is updated in place
        value, moments = (parameter.value[rows], {key: m[rows] for key, m in state.items()}) if copied else (parameter.value, state)

        def block(part: slice) -> None:
            self.update(value[part], grad[part], {key: m[part] for key, m in moments.items()}, lr, group.weight_decay)

        by_rows(block, len(value), value.shape[1], xp, passes=14)
        if not copied:
            return
        parameter.value[rows] = value
        for key, moment in moments.items():
            state[key][rows] = moment

    def update(self, value: Array, grad: Array, state: dict[str, Array], lr: float, weight_decay: float) -> None:
        """Update `value` and `state` in place from `grad`, which does not change."""
        raise NotImplementedError

    def moments_of(self, name: str) -> dict[str, Array]:
        """Return "m" and "v" of AdamW for a parameter, in its shape; KeyError if it is in no group."""
        parameter = self.store[name]
        if name not in self.names:
            raise KeyError(name)
        if parameter.offset is None:
            return dict(self.table_state[[table for table, _ in self.tables].index(name)])
        first, size = parameter.offset, parameter.value.size
        number = next(i for i, (span, _) in enumerate(self.spans) if span.start <= first < span.stop)
        first -= self.spans[number][0].start
        return {key: moment[first:first + size].reshape(parameter.value.shape)
                for key, moment in self.span_state[number].items()}

    def state_dict(self) -> dict[str, Any]:
        """The arrays that a checkpoint needs: the step count, the moments, the active rows of the tables."""
        state: dict[str, Any] = {"steps": np.array([self.steps])}
        for i, moments in enumerate(self.span_state):
            state.update({f"span.{i}.{key}": moment for key, moment in moments.items()})
        for (name, _), moments, active in zip(self.tables, self.table_state, self.active, strict=True):
            rows = self.store.xp.flatnonzero(active)
            state[f"table.{name}.rows"] = rows
            state.update({f"table.{name}.{key}": moment[rows] for key, moment in moments.items()})
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what state_dict returned, into an optimiser with the same groups."""
        self.steps = int(state["steps"][0])
        for i, moments in enumerate(self.span_state):
            for key, moment in moments.items():
                moment[...] = self.store.xp.asarray(state[f"span.{i}.{key}"])
        for (name, _), moments, active in zip(self.tables, self.table_state, self.active, strict=True):
            rows = self.store.xp.asarray(state[f"table.{name}.rows"])
            for key, moment in moments.items():
                moment[active] = 0                                     # rows that this optimiser has updated since
                moment[rows] = self.store.xp.asarray(state[f"table.{name}.{key}"])
            active[...] = False
            active[rows] = True


class SGD(Optimizer):
    """Plain stochastic gradient descent."""

    def update(self, value: Array, grad: Array, state: dict[str, Array], lr: float, weight_decay: float) -> None:
        value -= (grad if not weight_decay else grad + weight_decay * value) * value.dtype.type(lr)


class AdamW(Optimizer):
    """Adam with decoupled weight decay; without weight decay it is Adam."""

    moments = ("m", "v")

    def __init__(self, store: ParameterStore, groups: Sequence[Group], schedule: Schedule = constant, *,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(store, groups, schedule)
        self.betas, self.eps = betas, eps

    def update(self, value: Array, grad: Array, state: dict[str, Array], lr: float, weight_decay: float) -> None:
        adamw_step(value, grad, state["m"], state["v"], lr=lr, weight_decay=weight_decay, betas=self.betas, eps=self.eps,
                   steps=self.steps)
