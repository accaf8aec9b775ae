"""Every op carries @op, and recording a training step shows every call without changing a bit."""
import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np
import pytest

from minixl import backend, kernels, ops
from minixl.backend import recording
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.ops.gelu import gelu_forward
from minixl.ops.soft_squared_error import soft_squared_error_forward
from minixl.optim import AdamW, decay_groups
from tests.models.hugging_face import LABELS, TINY, make_batch

MODULES = [importlib.import_module(f"minixl.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]
DECORATED = backend.op(lambda: None).__code__              # what every decorated function runs first


def undecorated(module: ModuleType) -> list[str]:
    """The public *_forward and *_backward functions defined in a module, and those with a launcher, that lack @op."""
    launchers = kernels.OPS.get(module.__name__.rpartition(".")[2], ())
    return [name for name, function in inspect.getmembers(module, inspect.isfunction)
            if function.__module__ == module.__name__ and function.__code__ is not DECORATED
            and (name in launchers or name.endswith(("_forward", "_backward")) and not name.startswith("_"))]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_op_is_decorated(module):
    assert not undecorated(module)


def test_a_missing_decorator_is_noticed(monkeypatch):
    layernorm = importlib.import_module("minixl.ops.layernorm")
    for name in ("layernorm_forward", "layernorm_backward"):
        with monkeypatch.context() as patched:
            patched.setattr(layernorm, name, getattr(layernorm, name).__wrapped__)
            assert undecorated(layernorm) == [name]


def test_signatures_stay_visible():
    assert list(inspect.signature(importlib.import_module("minixl.ops.layernorm").layernorm_forward).parameters) == [
        "x", "weight", "bias", "eps"]


def training_step(observer=None) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of one step of a tiny BERT with dropout, and all parameters afterwards."""
    config = BertConfig.from_json(TINY | {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1})
    model, rng = Transformer(config, LABELS, "token"), np.random.default_rng(5)
    for parameter in model.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    optimizer = AdamW(model.store, decay_groups(model.store, model.store.names(), lr=0.01, weight_decay=0.01))
    batch = make_batch(rng)

    def step() -> float:
        loss, cache = model.loss_forward(batch, rng=rng)
        model.loss_backward(1.0, cache)
        optimizer.step()
        return loss

    if observer is None:
        loss = step()
    else:
        with recording(observer):
            loss = step()
    return loss, {parameter.name: parameter.value.copy() for parameter in model.store}


def test_a_recorded_training_step():
    """Backward runs forward's calls in reverse order, each with its own cache; every dx is finite; the bits are the same."""
    calls, norms = [], []

    def observe(call):
        calls.append(call)
        if call.name.endswith("_backward") and call.result[0] is not None:        # the ids of an embedding have no gradient
            norms.append((call.name, float(np.linalg.norm(call.result[0]))))

    loss, parameters = training_step(observe)
    forward = [call for call in calls if call.name.endswith("_forward") and call.name != "log_softmax_forward"]    # nested
    backward = [call for call in calls if call.name.endswith("_backward")]
    assert [call.name.removesuffix("_backward") for call in backward] == [
        call.name.removesuffix("_forward") for call in reversed(forward)]
    assert len(forward) == 5 + 12 * TINY["num_hidden_layers"] + 3       # embeddings, layers, head and loss
    assert sorted(id(call.arguments["cache"]) for call in backward) == sorted(id(call.result[1]) for call in forward)
    assert len(norms) == len(backward) - 3 and all(np.isfinite(norm) and norm > 0 for _, norm in norms)
    assert norms[0][0] == "softmax_cross_entropy_backward" and norms[-1][0] == "layernorm_backward"
    assert {call.name for call in calls} - {call.name for call in forward + backward} == {
        "log_softmax_forward", "sum_rows", "adamw_step"}

    plain_loss, plain_parameters = training_step()
    assert loss == plain_loss
    for name, value in plain_parameters.items():
        np.testing.assert_array_equal(parameters[name], value, err_msg=name)


def test_a_call_has_its_arguments_by_name(rng):
    calls, logits = [], rng.normal(size=(2, 3))
    with recording(calls.append):
        _, cache = soft_squared_error_forward(logits, targets=logits)
    assert [call.name for call in calls] == ["softmax_forward", "soft_squared_error_forward"], "the nested call returns first"
    assert calls[1].arguments.keys() == {"logits", "targets"} and calls[1].arguments["logits"] is logits
    assert calls[1].result[1] is cache


def test_only_calls_inside_the_block_are_recorded(rng):
    outer, inner, x = [], [], rng.normal(size=(2, 3))
    with recording(outer.append):
        gelu_forward(x)
        with pytest.raises(ZeroDivisionError):
            with recording(inner.append):
                gelu_forward(x)
                raise ZeroDivisionError
        gelu_forward(x)
    gelu_forward(x)
    assert (len(outer), len(inner)) == (3, 1) and not backend._observers
