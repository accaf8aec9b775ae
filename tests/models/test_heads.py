"""Heads against PyTorch autograd: token, mean and cls pooling, with and without dropout, and rows that carry no word."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.models.heads import head_backward, head_forward
from tests.ops.checks import assert_close, packed

LENGTHS = (1, 2, 2, 5)
ROWS = np.array([0, 2, 4, 5, 8, 9])                                    # scored words; rows 1, 3, 6, 7 carry none
HIDDEN, LABELS = 6, 3


def parameters(rng, pooling: str) -> dict[str, dict[str, np.ndarray]]:
    made = {"classifier": {"weight": rng.normal(size=(LABELS, HIDDEN)), "bias": rng.normal(size=LABELS)}}
    if pooling == "cls":
        made["bert.pooler.dense"] = {"weight": rng.normal(size=(HIDDEN, HIDDEN)) / 2, "bias": rng.normal(size=HIDDEN)}
    return made


def reference(hidden, params, pooling: str, kept=1.0):
    """The same in PyTorch; `kept` is the scaled dropout mask."""
    if pooling == "token":
        pooled = hidden[torch.tensor(ROWS)]
    elif pooling == "mean":
        pooled = torch.stack([part.mean(0) for part in hidden.split(list(LENGTHS))])
    else:
        first = hidden[torch.tensor(packed(LENGTHS)[:-1])]
        pooled = torch.tanh(torch.nn.functional.linear(first, **params["bert.pooler.dense"]))
    return torch.nn.functional.linear(pooled * kept, **params["classifier"])


def on(xp, params):
    return {module: {name: xp.asarray(value) for name, value in inner.items()} for module, inner in params.items()}


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
def test_logits_and_gradients(xp, rng, pooling, dropout):
    hidden, params = rng.normal(size=(sum(LENGTHS), HIDDEN)), parameters(rng, pooling)
    logits, cache = head_forward(xp.asarray(hidden), on(xp, params), packed(LENGTHS), xp.asarray(ROWS), pooling=pooling,
                                 dropout=dropout, rng=xp.random.default_rng(1) if dropout else None)
    kept = torch.tensor(to_numpy(cache.dropout.mask) / (1 - dropout)) if dropout else 1.0
    theirs = {module: {name: torch.tensor(value, requires_grad=True) for name, value in inner.items()}
              for module, inner in params.items()}
    into = torch.tensor(hidden, requires_grad=True)
    expected = reference(into, theirs, pooling, kept)
    dlogits = rng.normal(size=logits.shape)
    expected.backward(torch.tensor(dlogits))
    assert_close(to_numpy(logits), expected.detach().numpy(), 1e-9, "logits")
    dhidden, grads = head_backward(xp.asarray(dlogits), cache)
    assert_close(to_numpy(dhidden), into.grad.numpy(), 1e-9, "dhidden")
    assert grads.keys() == params.keys()
    for module, inner in theirs.items():
        for name, tensor in inner.items():
            assert_close(to_numpy(grads[module][name]), tensor.grad.numpy(), 1e-9, f"{module}.{name}")
    without, alone = head_backward(xp.asarray(dlogits), cache, need_dx=False)     # a frozen encoder below
    assert alone.keys() == params.keys() and (without is None or pooling == "cls")
    for module, inner in alone.items():
        for name, value in inner.items():
            np.testing.assert_array_equal(to_numpy(value), to_numpy(grads[module][name]))


def test_rows_without_a_word_have_no_gradient(rng):
    _, cache = head_forward(rng.normal(size=(10, HIDDEN)), parameters(rng, "token"), packed(LENGTHS), ROWS, pooling="token")
    dhidden, _ = head_backward(rng.normal(size=(len(ROWS), LABELS)), cache)
    assert (np.flatnonzero(dhidden.any(axis=1)) == ROWS).all()


def test_a_batch_without_scored_words(rng):
    none = np.zeros(0, int)
    logits, cache = head_forward(rng.normal(size=(10, HIDDEN)), parameters(rng, "token"), packed(LENGTHS), none, pooling="token")
    dhidden, grads = head_backward(logits, cache)
    assert logits.shape == (0, LABELS) and not dhidden.any() and not grads["classifier"]["weight"].any()
