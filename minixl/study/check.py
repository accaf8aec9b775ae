"""Check every op, model and method: what `minixl study check` runs.

    for target in targets(["layernorm", "bilstm-crf"]):
        rows = target.check(torch=True)

An op is checked as in cases.py, a model's loss by every parameter and by its embeddings, a method by every update of one step.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minixl.errors import UserError, nearest
from minixl.study.cases import dense, make_cases, op_modules, uncovered
from minixl.study.differences import (DIFFERENCES, NO_CASE, PYTORCH, RESULT, RUNS, Arrays, Row, check_case,
                                      derivative, directions_of, error_along, relative, worst, worst_difference)
from minixl.study.models import MODELS, ModelCase, without_dropout
from minixl.study.objectives import OBJECTIVES, ObjectiveCase
from minixl.study.sites import base_name
from minixl.training.objective import TASK
from minixl.training.update import PendingUpdate

EMBEDDINGS = "(embeddings)"            # the gradient that a perturbation follows
SEED = 11


class Target(NamedTuple):
    """Something to check."""

    name: str
    kind: str                          # "op", "model" or "method"
    names: Sequence[str]               # by which it can be asked for
    rows: Callable[[bool], list[Row]]

    def check(self, torch: bool) -> list[Row]:
        """Return its rows; an error in what is checked is a failure like any other.  torch: also compare with PyTorch."""
        try:
            with np.errstate(all="ignore"):                            # a mistake may divide by zero; its result is not finite
                return self.rows(torch) or [Row(self.name, "nothing was checked", RUNS, float("inf"))]
        except Exception as error:
            return [Row(self.name, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", RUNS, float("inf"))]


def all_targets() -> list[Target]:
    """Return every op, model and method."""
    functions = op_modules()
    ops = [Target(name, "op", [name, *map(base_name, functions[name])], partial(check_op, name, functions[name]))
           for name in functions]
    models = [Target(name, "model", [name, name.partition(",")[0]], partial(_check_made_model, make))
              for name, make in MODELS.items()]
    methods = [Target(name, "method", [name, name.partition(",")[0]], partial(_check_made_objective, make))
               for name, make in OBJECTIVES.items()]
    return ops + models + methods


def targets(names: Sequence[str]) -> list[Target]:
    """Return the targets of these names, all without names.  Raises UserError for a name that there is not."""
    every = all_targets()
    known = {name: None for target in every for name in target.names}
    for name in names:
        if name not in known:
            raise UserError(f"there is no op, model or method {name!r}"
                            f"{nearest(name, known) or '; minixl study check --list shows all'}")
    return [target for target in every if not names or set(names) & set(target.names)]


def check_op(name: str, functions: Sequence[str], torch: bool, module: ModuleType | None = None) -> list[Row]:
    """Return the rows of an op's module.  module: in place of minixl.ops.NAME."""
    rows = [Row(name, function, NO_CASE, float("inf")) for function in (uncovered(name, list(functions)) if module is None else ())]
    for case in make_cases(name, module):
        rows += check_case(case, np.random.default_rng(SEED), torch)
    return rows


def check_model(case: ModelCase, torch: bool) -> list[Row]:
    """Return a row for every trained parameter of a model, with dropout, and of the comparison with PyTorch, without."""
    model, batch, rng = case.model, case.batch, np.random.default_rng(SEED)
    arrays = {parameter.name: parameter.value.copy() for parameter in model.store}
    arrays[EMBEDDINGS] = np.zeros((batch.tokens, model.embedding_size))

    def loss(changed: Arrays, masks: bool = True) -> tuple[float, Any]:
        for parameter in model.store:
            parameter.value[...] = changed[parameter.name]
        return model.loss_forward(batch, rng=np.random.default_rng(SEED) if masks else None, keep="all", shift=changed[EMBEDDINGS])

    def gradients(masks: bool) -> tuple[float, dict[str, np.ndarray]]:
        model.store.zero_grad()
        value, cache = loss(arrays, masks)
        embeddings = model.loss_backward(1.0, cache, need_dembeddings=True)
        return value, {**_gradients(model.store, model.store.names()), EMBEDDINGS: embeddings}

    value, ours = gradients(True)
    trained = [name for name in arrays if name == EMBEDDINGS or model.store[name].trainable]
    errors = {name: worst_difference(lambda changed: loss(changed)[0], arrays, name, ours[name], value, rng) for name in trained}
    rows = [Row(case.name, name, DIFFERENCES, error) for name, error in errors.items()]
    return rows + (_against_pytorch(case, arrays, *gradients(False)) if torch else [])


def _check_made_model(make: Callable[[], ModelCase], torch: bool) -> list[Row]:
    return check_model(make(), torch)


def _check_made_objective(make: Callable[[], ObjectiveCase], torch: bool) -> list[Row]:
    return check_objective(make(), torch)


def check_objective(case: ObjectiveCase, torch: bool) -> list[Row]:
    """Return a row for every parameter of every update that a step makes, with dropout, and without against PyTorch."""
    store, rng, values = case.objective.model.store, np.random.default_rng(SEED), _values(case)
    sizes, gradients = _one_step(case)
    losses = list(gradients)
    errors: dict[tuple[str, str], list[float]] = {}
    for parameter in store:
        concerned = [i for i, loss in enumerate(losses) if parameter.name in gradients[loss]]
        value = parameter.value.copy()

        def moved(changed: np.ndarray, parameter=parameter) -> np.ndarray:
            parameter.value[...] = changed
            return values()

        for direction in directions_of(value.shape, 1, 1, rng) if concerned else ():
            measured = derivative(moved, value, direction)
            for i in concerned:
                errors.setdefault((losses[i], parameter.name), []).append(
                    error_along(float(measured[i]), gradients[losses[i]][parameter.name], direction, float(sizes[i])))
        parameter.value[...] = value
    rows = [Row(f"{case.name}: {loss}", name, DIFFERENCES, worst(found)) for (loss, name), found in errors.items()]
    return rows + (_updates_against_pytorch(case) if torch else [])


def _one_step(case: ObjectiveCase) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Make the first step; return the sizes of the losses, and their gradients by parameter."""
    gradients: dict[str, dict[str, np.ndarray]] = {}

    def keep(pending: PendingUpdate) -> None:
        gradients[pending.loss] = _gradients(pending.store, pending.names)

    case.objective.observers.append(keep)
    sizes = np.abs(_values(case)())
    case.objective.observers.remove(keep)
    return sizes, gradients


def _values(case: ObjectiveCase) -> Callable[[], np.ndarray]:
    """Return a function that makes the first step again and returns the value of each update's loss.

    A loss without an update of its own, as that on perturbed embeddings, is part of the task's.
    """
    objective = case.objective

    def values() -> np.ndarray:
        case.rewind()
        found: dict[str, float] = {}
        for update in objective.step(0):
            loss = update.loss if update.loss in objective.optimizers else TASK
            found[loss] = found.get(loss, 0.0) + update.value
        return np.array(list(found.values()))

    return values


def _gradients(store: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return copies of the gradients of some parameters, in full."""
    return {name: np.zeros(store[name].value.shape) if store[name].grad is None
            else np.array(dense(store[name].grad, store[name].value.shape)) for name in names}


def _against_pytorch(case: ModelCase, arrays: Mapping[str, np.ndarray], value: float, ours: Arrays) -> list[Row]:
    """Return the rows of the comparison of loss and gradients.

    The gradient of a key's bias is zero, since it shifts all scores of a query alike, and what is computed is rounding: errors
    are relative to at least 1e-4 of the largest gradient.
    """
    import torch

    from minixl.study import pytorch_models

    params = {name: torch.tensor(array, requires_grad=case.model.store[name].trainable) for name, array in arrays.items()
              if name != EMBEDDINGS}
    loss = pytorch_models.loss(case.model, params, case.batch)
    loss.backward()
    theirs = {name: np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy() for name, tensor in params.items()
              if tensor.requires_grad}
    least = 1e-4 * max(float(np.abs(gradient).max()) for gradient in theirs.values())
    return [Row(case.name, RESULT, PYTORCH, relative(np.array(value), loss.detach().numpy()))] + [
        Row(case.name, name, PYTORCH, relative(ours[name], gradient, least)) for name, gradient in theirs.items()]


def _updates_against_pytorch(case: ObjectiveCase) -> list[Row]:
    """Return the rows of the comparison of every update's loss and gradients, without dropout; errors as in _against_pytorch."""
    import torch

    from minixl.study import pytorch_objectives

    without_dropout(case.objective.model)
    sizes, ours = _one_step(case)
    case.rewind()
    params = {parameter.name: torch.tensor(parameter.value, requires_grad=True) for parameter in case.objective.model.store}
    rows = []
    for size, (loss, value) in zip(sizes, pytorch_objectives.losses(case.objective), strict=True):
        theirs, name, names = value(params), f"{case.name}: {loss}", list(ours[loss])
        found = torch.autograd.grad(theirs, [params[one] for one in names], allow_unused=True)
        grads = [np.zeros(params[one].shape) if grad is None else grad.numpy() for one, grad in zip(names, found, strict=True)]
        least = 1e-4 * max(float(np.abs(grad).max()) for grad in grads)
        rows.append(Row(name, RESULT, PYTORCH, relative(np.array(size), np.abs(theirs.detach().numpy()))))
        rows += [Row(name, one, PYTORCH, relative(ours[loss][one], grad, least)) for one, grad in zip(names, grads, strict=True)]
    return rows
