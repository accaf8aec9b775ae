"""bilstm_forward/backward: untied against torch.nn.LSTM with packed sequences, tied against a plain loop."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops import bilstm
from tests.ops.lstm_by_hand import LENGTHS, gradients, packed, plain_bilstm, random_weights, torch_bilstm
from tests.ops.mutants_lstm_crf import LSTM_STEPS, TWO_DIRECTIONS, mutant


def check_bilstm(module, rng, lengths, *, tied, reference, two_biases=True, xp=np, inputs=3, size=4):
    """Everything a BiLSTM returns, against a reference, with random dy for all states and for the final ones."""
    starts, x = packed(lengths), rng.normal(size=(sum(lengths), inputs))
    weights = random_weights(rng, inputs, size, tied=tied, two_biases=two_biases)
    dhidden, dfinal = rng.normal(size=(len(x), 2 * size)), rng.normal(size=(len(lengths), 2 * size))
    expected = gradients(reference, x, weights, starts, dhidden, dfinal)
    on_device = {name: xp.asarray(value) for name, value in weights.items()}
    (hidden, final), cache = module.bilstm_forward(xp.asarray(x), **on_device, starts=starts)
    dx, grads = module.bilstm_backward((xp.asarray(dhidden), xp.asarray(dfinal)), cache)
    assert grads.keys() == weights.keys()
    for name, ours in {"hidden": hidden, "final": final, "x": dx, **grads}.items():
        np.testing.assert_allclose(to_numpy(ours), expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("lengths", [(3, 1, 5, 2, 5), (1,), (1, 1), (1, 2, 9), (30, 4, 17)], ids=str)
def test_untied_with_two_biases_equals_torch_nn_lstm(xp, rng, lengths):
    check_bilstm(bilstm, rng, lengths, tied=False, reference=torch_bilstm, xp=xp, inputs=6, size=5)


@pytest.mark.parametrize("two_biases", [False, True], ids=["one bias", "two biases"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_equals_a_plain_loop(xp, rng, lengths, tied, two_biases):
    check_bilstm(bilstm, rng, lengths, tied=tied, two_biases=two_biases, reference=plain_bilstm, xp=xp)


def test_rows_over_several_blocks_and_threads(rng):
    """Large enough that the backward pass computes its factors in blocks."""
    check_bilstm(bilstm, rng, (70, 60, 41), tied=False, reference=torch_bilstm, inputs=4, size=256)


def test_tied_directions_mirror_each_other(rng):
    """Reading the reversed sentence swaps the two halves of the states."""
    weights = random_weights(rng, 3, 4, tied=True, two_biases=False)
    x, starts = rng.normal(size=(6, 3)), packed((6,))
    (hidden, _), _ = bilstm.bilstm_forward(x, **weights, starts=starts)
    (mirrored, _), _ = bilstm.bilstm_forward(x[::-1], **weights, starts=starts)
    np.testing.assert_allclose(mirrored[::-1], np.concatenate([hidden[:, 4:], hidden[:, :4]], axis=1), rtol=1e-13)


@pytest.mark.parametrize("mistake", LSTM_STEPS + TWO_DIRECTIONS, ids=lambda case: case[0])
def test_planted_mistakes_are_caught(rng, mistake):
    module = mutant("minixl.ops.lstm_steps", *mistake[1:], entry="minixl.ops.bilstm")
    with pytest.raises(AssertionError):
        check_bilstm(module, rng, LENGTHS["mixed"], tied=True, reference=plain_bilstm)


def test_an_incomplete_reverse_cell_is_rejected(rng):
    weights = random_weights(rng, 3, 4, tied=False, two_biases=False)
    del weights["bias_reverse"]
    with pytest.raises(ValueError, match="or none of them .tied directions., got only some"):
        bilstm.bilstm_forward(np.zeros((2, 3)), **weights, starts=packed((2,)))
