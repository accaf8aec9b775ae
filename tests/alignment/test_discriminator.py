"""The discriminator of word vectors against PyTorch: logits, gradients of its parameters and of its input."""
import numpy as np
import pytest
import torch

from minixl.alignment.discriminator import (LAYERS, PREFIX, discriminator_backward, discriminator_forward, discriminator_shapes,
                                            initialise_discriminator)
from minixl.parameters import ParameterStore


@pytest.fixture
def store(rng):
    store = ParameterStore(discriminator_shapes(5, 7), dtype=np.float64)
    initialise_discriminator(store, rng)
    return store


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_matches_pytorch(store, rng, dropout):
    x, dlogits = rng.normal(size=(9, 5)), rng.normal(size=9)
    mask = rng.random((9, 5)) > dropout if dropout else None
    logits, cache = discriminator_forward(x, store, dropout=dropout, mask=mask)
    dx, grads = discriminator_backward(dlogits, cache, need_dx=True, need_grads=True)
    tensors = {name: torch.tensor(store[name].value, requires_grad=True) for name in store.names()}
    inputs = torch.tensor(x, requires_grad=True)
    y = inputs if mask is None else inputs * torch.tensor(mask) / (1 - dropout)
    for layer in LAYERS:
        y = torch.nn.functional.linear(y, *(tensors[f"{PREFIX}.{layer}.{part}"] for part in ("weight", "bias")))
        y = y if layer == "out" else torch.nn.functional.leaky_relu(y, 0.2)
    y[:, 0].backward(torch.tensor(dlogits))
    np.testing.assert_allclose(logits, y[:, 0].detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(dx, inputs.grad.numpy(), rtol=1e-10, atol=1e-14)
    for name, tensor in tensors.items():
        layer, _, part = name.removeprefix(f"{PREFIX}.").rpartition(".")
        np.testing.assert_allclose(grads[layer][part], tensor.grad.numpy(), rtol=1e-10, atol=1e-14, err_msg=name)


def test_only_what_is_needed_is_computed(store, rng):
    _, cache = discriminator_forward(rng.normal(size=(3, 5)), store)
    dx, grads = discriminator_backward(np.ones(3), cache, need_grads=True)
    assert dx is None and grads.keys() == set(LAYERS)
    dx, grads = discriminator_backward(np.ones(3), cache, need_dx=True)
    assert dx.shape == (3, 5) and grads == {}


def test_initial_values_have_the_bounds_of_torch(store):
    for layer, inputs in zip(LAYERS, (5, 7, 7), strict=True):
        values = np.concatenate([store[f"{PREFIX}.{layer}.{part}"].value.ravel() for part in ("weight", "bias")])
        assert 0.5 * inputs ** -0.5 < np.abs(values).max() <= inputs ** -0.5
