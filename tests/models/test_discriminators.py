"""Discriminators against PyTorch autograd and central differences, with and without [CLS] and [SEP], and planted mistakes."""
import numpy as np
import pytest
import torch
from torch.nn.functional import linear

from minixl.backend import to_numpy
from minixl.models import discriminators
from minixl.models.discriminators import (DISCRIMINATORS, discriminator_backward, discriminator_forward, discriminator_shapes,
                                          initialise_discriminator, judged)
from minixl.parameters import ParameterStore
from tests.mutants import mutant
from tests.ops.checks import assert_close, packed

LENGTHS = (1, 2, 3, 5, 4)                                              # the first two have nothing but special pieces
HIDDEN, WIDTH = 6, 7
KEPT = [0, 1, 2, 4, 7, 8, 9, 12, 13]                                   # the rows read without special pieces


def parameters(rng, kind: str) -> dict[str, dict[str, np.ndarray]]:
    """Random values in the form of store.under("discriminator")."""
    store = ParameterStore(discriminator_shapes(kind, HIDDEN, WIDTH), dtype=np.float64)
    for parameter in store:
        parameter.value[...] = rng.normal(size=parameter.value.shape)
    return store.under("discriminator")


def reference(hidden, params, kind: str, specials: bool):
    """The same in PyTorch, sentence by sentence."""
    parts = [part if specials or len(part) <= 2 else part[1:-1] for part in hidden.split(list(LENGTHS))]
    if kind == "sentence":
        return linear(torch.stack([part.mean(0) for part in parts]), **params[""])[:, 0]
    return linear(torch.relu(linear(torch.cat(parts), **params["dense"])), **params["out"])[:, 0]


def by_module(grads: dict, kind: str) -> dict[str, dict]:
    return {"": grads} if kind == "sentence" else grads


def compare(module, rng, kind: str, specials: bool, xp=np) -> None:
    """Logits and all gradients, float64, within 1e-9."""
    hidden, params = rng.normal(size=(sum(LENGTHS), HIDDEN)), parameters(rng, kind)
    ours = {name: {key: xp.asarray(value) for key, value in inner.items()} for name, inner in params.items()}
    logits, cache = module.discriminator_forward(xp.asarray(hidden), ours, starts=packed(LENGTHS), kind=kind, specials=specials)
    theirs = {name: {key: torch.tensor(value, requires_grad=True) for key, value in inner.items()}
              for name, inner in params.items()}
    into = torch.tensor(hidden, requires_grad=True)
    expected = reference(into, theirs, kind, specials)
    assert_close(to_numpy(logits), expected.detach().numpy(), 1e-9, "logits")
    dlogits = rng.normal(size=logits.shape)
    expected.backward(torch.tensor(dlogits))
    dhidden, grads = module.discriminator_backward(xp.asarray(dlogits), cache)
    assert_close(to_numpy(dhidden), into.grad.numpy(), 1e-9, "dhidden")
    assert by_module(grads, kind).keys() == params.keys()
    for name, inner in theirs.items():
        for key, tensor in inner.items():
            assert_close(to_numpy(by_module(grads, kind)[name][key]), tensor.grad.numpy(), 1e-9, f"{name}.{key}")
    nothing, alone = module.discriminator_backward(xp.asarray(dlogits), cache, need_dx=False)
    assert nothing is None and str(alone) == str(grads)
    again, none = module.discriminator_backward(xp.asarray(dlogits), cache, need_grads=False)
    assert none == {}
    assert_close(to_numpy(again), to_numpy(dhidden), 1e-12, "dhidden without gradients")


@pytest.mark.parametrize("specials", [True, False], ids=["with specials", "without"])
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_logits_and_gradients(xp, rng, kind, specials):
    compare(discriminators, rng, kind, specials, xp)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_central_difference(rng, kind):
    """The slope in a random direction of the states, without PyTorch."""
    hidden, params, direction = (rng.normal(size=(15, HIDDEN)), parameters(rng, kind), rng.normal(size=(15, HIDDEN)))
    logits, cache = discriminator_forward(hidden, params, starts=packed(LENGTHS), kind=kind)
    dlogits = rng.normal(size=logits.shape)
    dhidden, _ = discriminator_backward(dlogits, cache)
    ends = [(discriminator_forward(hidden + step * direction, params, starts=packed(LENGTHS), kind=kind)[0] * dlogits).sum()
            for step in (1e-6, -1e-6)]
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx((dhidden * direction).sum(), rel=1e-6)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_leaves_its_inputs_alone(rng, kind):
    hidden, params = rng.normal(size=(15, HIDDEN)), parameters(rng, kind)
    logits, cache = discriminator_forward(hidden, params, starts=packed(LENGTHS), kind=kind, specials=False)
    dlogits = rng.normal(size=logits.shape)
    arrays = [hidden, dlogits, *(value for inner in params.values() for value in inner.values())]
    kept = [array.copy() for array in arrays]
    first, _ = discriminator_backward(dlogits, cache)
    second, _ = discriminator_backward(dlogits, cache)
    np.testing.assert_array_equal(first, second)
    for before, now in zip(kept, arrays, strict=True):
        np.testing.assert_array_equal(before, now)


MISTAKES = [
    ("relu forgotten", "x *= active  ", "x *= 1  "),
    ("relu's gradient forgotten", "dactive *= cache.active", "pass"),
    ("relu lets the negative through", "active = x > 0", "active = x < 0"),
    ("first piece kept", "kept[starts[:-1][inner]] = False", "pass"),
    ("last piece of the next sentence", "starts[1:][inner] - 1", "starts[1:][inner] - 2"),
    ("gradient packed into the first rows", "dhidden[cache.rows] = dx", "dhidden[:len(dx)] = dx"),
    ("pooled over all pieces", "mean_pooling_forward(x, inner_starts)", "mean_pooling_forward(hidden, starts)"),
    ("pooling's gradient forgotten", "mean_pooling_backward(dx, cache.pooling)",
     "mean_pooling_backward(dx * len(dx), cache.pooling)"),
    ("gradient of the output forgotten below the output", "linear_backward(dy, cache.out, need_grads=need_grads)",
     "linear_backward(abs(dy), cache.out, need_grads=need_grads)"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    changed = mutant("minixl.models.discriminators", old, new)
    caught = 0
    for kind in DISCRIMINATORS:
        for specials in (True, False):
            try:
                compare(changed, rng, kind, specials)
            except (AssertionError, ValueError):
                caught += 1
    assert caught, what


def test_judged_rows():
    rows, starts = judged(packed(LENGTHS), False)
    np.testing.assert_array_equal(rows, KEPT)
    np.testing.assert_array_equal(starts, packed([1, 2, 1, 3, 2]))
    rows, starts = judged(packed(LENGTHS), True)
    assert rows is None
    np.testing.assert_array_equal(starts, packed(LENGTHS))


def test_shapes():
    """385 001 weights on mBERT's 768 dimensions with AdvPicker's 500 units; 769 for Keung's."""
    sizes = [sum(int(np.prod(shape)) for shape in discriminator_shapes(kind, 768, 500).values()) for kind in DISCRIMINATORS]
    assert sizes == [769, 385_001]
    with pytest.raises(ValueError, match="^discriminator: expected one of sentence, token, got 'word'$"):
        discriminator_shapes("word", 768, 500)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_initialised_as_torch_does(kind):
    """Uniform between ± 1/√inputs, biases too: the bounds are met and kept, and nothing else is touched."""
    hidden, width = 400, 900
    shapes = {"classifier.weight": (2, hidden), **discriminator_shapes(kind, hidden, width)}
    stores = [ParameterStore(shapes, dtype=np.float64) for _ in range(2)]
    for store in stores:
        initialise_discriminator(store, np.random.default_rng(3))
    assert not stores[0]["classifier.weight"].value.any()
    layers = {"discriminator": torch.nn.Linear(hidden, 1), "discriminator.dense": torch.nn.Linear(hidden, width),
              "discriminator.out": torch.nn.Linear(width, 1)}
    for name in discriminator_shapes(kind, hidden, width):
        value, layer = stores[0][name].value, layers[name.rpartition(".")[0]]
        theirs = layer.get_parameter(name.rpartition(".")[2]).detach().numpy()
        bound = 1 / np.sqrt(layer.in_features)
        np.testing.assert_array_equal(value, stores[1][name].value)
        assert value.shape == theirs.shape and value.any()
        assert max(np.abs(value).max(), np.abs(theirs).max()) <= bound * (1 + 1e-6)
        if value.size > 100:
            assert value.std() == pytest.approx(bound / np.sqrt(3), rel=0.1) and theirs.std() == pytest.approx(value.std(), rel=0.2)
            assert np.abs(value).max() > 0.95 * bound
