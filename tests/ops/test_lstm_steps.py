"""recurrent_forward/backward, one direction: against torch.nn.LSTM, a plain loop, and central differences."""
from functools import partial

import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops import lstm_steps
from tests.ops.lstm_by_hand import LENGTHS, gradients, packed, plain_lstm, random_weights, torch_bilstm
from tests.ops.mutants_lstm_crf import LSTM_STEPS, mutant


def forward(x, weights, starts, *, reverse=False, module=lstm_steps):
    """The hidden states and the final ones of one direction, and the cache."""
    return module.recurrent_forward(x, (module.Cell(**{"bias_hh": None, **weights}),), (reverse,), starts)


def backward(dy, cache, *, module=lstm_steps):
    """dx and the gradients of the one cell."""
    dx, (grads,) = module.recurrent_backward(*dy, cache)
    return dx, grads


def check_lstm(module, rng, lengths, *, reverse, reference, two_biases=True, xp=np, inputs=3, size=4):
    """Everything an LSTM returns, against a reference, with random dy for all states and for the final ones."""
    starts, x = packed(lengths), rng.normal(size=(sum(lengths), inputs))
    weights = random_weights(rng, inputs, size, tied=True, two_biases=two_biases)
    dhidden, dfinal = rng.normal(size=(len(x), size)), rng.normal(size=(len(lengths), size))
    expected = gradients(reference, x, weights, starts, dhidden, dfinal)
    on_device = {name: xp.asarray(value) for name, value in weights.items()}
    (hidden, final), cache = forward(xp.asarray(x), on_device, starts, reverse=reverse, module=module)
    dx, grads = backward((xp.asarray(dhidden), xp.asarray(dfinal)), cache, module=module)
    assert grads.keys() == weights.keys()
    for name, ours in {"hidden": hidden, "final": final, "x": dx, **grads}.items():
        np.testing.assert_allclose(to_numpy(ours), expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("two_biases", [False, True], ids=["one bias", "two biases"])
@pytest.mark.parametrize("reverse", [False, True], ids=["rightwards", "leftwards"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_equals_a_plain_loop(xp, rng, lengths, reverse, two_biases):
    check_lstm(lstm_steps, rng, lengths, reverse=reverse, two_biases=two_biases, xp=xp,
               reference=partial(plain_lstm, reverse=reverse))


@pytest.mark.parametrize("lengths", [(3, 1, 5, 2, 5), (1,), (1, 2, 9)], ids=str)
def test_equals_torch_nn_lstm(xp, rng, lengths):
    check_lstm(lstm_steps, rng, lengths, reverse=False, reference=torch_bilstm, xp=xp, inputs=6, size=5)


@pytest.mark.parametrize("used", [0, 1], ids=["all states", "final states"])
def test_an_unused_output_needs_no_gradient(rng, used):
    weights = random_weights(rng, 3, 2, tied=True, two_biases=False)
    y, cache = forward(rng.normal(size=(8, 3)), weights, packed((3, 1, 4)))
    dy = [rng.normal(size=part.shape) for part in y]
    dy[1 - used] = np.zeros_like(dy[1 - used])
    expected_dx, expected = backward(dy, cache)
    dx, grads = backward([part if number == used else None for number, part in enumerate(dy)], cache)
    np.testing.assert_array_equal(dx, expected_dx)
    for name, value in expected.items():
        np.testing.assert_array_equal(grads[name], value)


def test_central_difference_in_a_random_direction(rng):
    starts, x = packed((4, 2, 6)), rng.normal(size=(12, 3))
    weights = random_weights(rng, 3, 4, tied=True, two_biases=True)
    dhidden, dfinal = rng.normal(size=(12, 4)), rng.normal(size=(3, 4))
    dx_direction = rng.normal(size=x.shape)
    direction = {name: rng.normal(size=value.shape) for name, value in weights.items()}

    def loss(step):
        moved = {name: value + step * direction[name] for name, value in weights.items()}
        (hidden, final), _ = forward(x + step * dx_direction, moved, starts)
        return (hidden * dhidden).sum() + (final * dfinal).sum()

    dx, grads = backward((dhidden, dfinal), forward(x, weights, starts)[1])
    slope = (dx * dx_direction).sum() + sum((value * direction[name]).sum() for name, value in grads.items())
    np.testing.assert_allclose((loss(1e-5) - loss(-1e-5)) / 2e-5, slope, rtol=1e-7)


def test_backward_leaves_its_inputs_alone(xp, rng):
    x = xp.asarray(rng.normal(size=(9, 3)))
    weights = {n: xp.asarray(v) for n, v in random_weights(rng, 3, 2, tied=True, two_biases=False).items()}
    y, cache = forward(x, weights, packed((4, 0, 5)))
    dy = tuple(xp.asarray(rng.normal(size=part.shape)) for part in y)
    held = [x, *weights.values(), *dy, *y, cache.inputs, cache.gates, cache.cell, cache.cell_tanh, cache.hidden]
    before = [to_numpy(array).copy() for array in held]
    first, _ = backward(dy, cache)
    for kept, now in zip(before, held):
        np.testing.assert_array_equal(kept, to_numpy(now))
    np.testing.assert_array_equal(to_numpy(first), to_numpy(backward(dy, cache)[0]))


def test_float32_is_close_and_stays_float32(rng):
    starts, x = packed((20, 3, 11)), rng.normal(size=(34, 12))
    weights = random_weights(rng, 12, 10, tied=True, two_biases=False)
    results = []
    for dtype in (np.float64, np.float32):
        (hidden, final), cache = forward(x.astype(dtype), {n: v.astype(dtype) for n, v in weights.items()}, starts)
        dx, grads = backward((np.cos(x[:, :10]).astype(dtype), None), cache)
        results.append([hidden, final, dx, *grads.values()])
    for wide, narrow in zip(*results):
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-4 * np.abs(wide).max())


@pytest.mark.parametrize("mistake", LSTM_STEPS, ids=lambda case: case[0])
def test_planted_mistakes_are_caught(rng, mistake):
    module = mutant("minixl.ops.lstm_steps", *mistake[1:])
    with pytest.raises(AssertionError):
        check_lstm(module, rng, LENGTHS["mixed"], reverse=True, reference=partial(plain_lstm, reverse=True))


@pytest.mark.parametrize("name, shape, text", [
    ("weight_hh", (8, 3), r"weight_ih: expected shape \(12, 5\) for 3 hidden units, got \(8, 5\)"),
    ("weight_ih", (8, 4), r"weight_ih: expected shape \(8, 5\) for 2 hidden units, got \(8, 4\)"),
    ("bias", (4,), r"bias: expected shape \(8,\) for 2 hidden units, got \(4,\)"),
])
def test_wrong_shape_is_named(rng, name, shape, text):
    weights = random_weights(rng, 5, 2, tied=True, two_biases=False) | {name: np.zeros(shape)}
    with pytest.raises(ValueError, match=text):
        forward(np.zeros((3, 5)), weights, packed((3,)))


def test_starts_that_do_not_fit_are_named(rng):
    weights = random_weights(rng, 5, 2, tied=True, two_biases=False)
    with pytest.raises(ValueError, match="starts: the last entry must be the number of rows of x, 3, got 4"):
        forward(np.zeros((3, 5)), weights, packed((4,)))
