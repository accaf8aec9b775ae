"""The LSTM cell kernels: a whole recurrence through the launchers against the op in float64."""
import functools

import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels import lstm_steps as launcher
from minixl.ops import lstm_steps as op


def parameters(rng, cells, inputs, hidden):
    shapes = (4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,)
    return [[rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(cells)]


def recurrence(xp, x, weights, reverse, starts, dhidden, dfinal):
    """Outputs, dx and the gradients of every cell."""
    cells = tuple(op.Cell(*map(xp.asarray, parts), None) for parts in weights)
    (hidden, final), cache = op.recurrent_forward(xp.asarray(x), cells, reverse, starts)
    dx, grads = op.recurrent_backward(xp.asarray(dhidden), xp.asarray(dfinal), cache)
    return [hidden, final, dx, *(grad for own in grads for grad in own.values())]


def compare(rng, monkeypatch, lengths, hidden, reverse, cells, xp, threads=64):
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    x, weights = rng.normal(size=(starts[-1], 3)).astype(np.float32), parameters(rng, cells, 3, hidden)
    dhidden = rng.normal(size=(starts[-1], len(reverse) * hidden)).astype(np.float32)
    dfinal = rng.normal(size=(len(lengths), len(reverse) * hidden)).astype(np.float32)
    wide = [[part.astype(np.float64) for part in parts] for parts in weights]
    exact = recurrence(np, x.astype(np.float64), wide, reverse, starts, dhidden.astype(np.float64), dfinal.astype(np.float64))
    with monkeypatch.context() as patched:
        patched.setattr(op, "lstm_steps_forward", functools.partial(launcher.lstm_steps_forward, threads=threads))
        patched.setattr(op, "lstm_steps_backward", functools.partial(launcher.lstm_steps_backward, threads=threads))
        results = recurrence(xp, x, weights, reverse, starts, dhidden, dfinal)
    for number, (ours, theirs) in enumerate(zip(results, exact, strict=True)):
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-4, atol=2e-5, err_msg=f"result {number}")


@pytest.mark.parametrize("lengths", [[], [0], [1], [4, 0, 2, 7], [3] * 40], ids=str)
@pytest.mark.parametrize("hidden", [1, 5, 33])
@pytest.mark.parametrize("reverse, cells", [((False,), 1), ((False, True), 2), ((False, True), 1)], ids=["one", "two", "tied"])
def test_matches_op(device, rng, monkeypatch, lengths, hidden, reverse, cells):
    compare(rng, monkeypatch, lengths, hidden, reverse, cells, device)


@pytest.mark.parametrize("threads", [32, 256])
def test_block_sizes(device, rng, monkeypatch, threads):
    compare(rng, monkeypatch, [4, 2, 7], 17, (True,), 1, device, threads)


@pytest.mark.parametrize("old, new", [
    ("if (k != 2)", "if (k != 3)"), ("a[1] * cell[", "cell["), ("a[3] * squashed", "squashed"), ("+ before + row", "+ now + row"),
    ("* running * H) return", "* running * H - 1) return"), ("row < following", "row < following - 1"),
    ("dh * carry", "carry"), ("k < 3; ++k) own", "k < 2; ++k) own"),
    ("dc_now * gates[place * 4 * H + H", "dc_now * gates[place * 4 * H"),
], ids=["gate", "forget", "output", "predecessor", "one too few", "following", "carry", "three gates", "forget gate"])
def test_planted_mistakes_are_caught(mutant, rng, monkeypatch, old, new):
    mutant("lstm_steps.cu", old, new)
    with pytest.raises((AssertionError, RuntimeWarning)):              # unwritten rows are NaN, which NumPy warns about
        compare(rng, monkeypatch, [4, 2, 7], 5, (False, True), 2, np)


def test_bad_input_is_named():
    states = tuple(np.zeros((1, 3, 2), np.float32) for _ in range(3))
    with pytest.raises(ValueError, match=r"gates: expected .* shape \(1, 3, 8\), got float32 \(1, 3, 4\)"):
        launcher.lstm_steps_forward(np.zeros((1, 3, 4), np.float32), np.zeros((1, 2, 8), np.float32), np.ones(8, np.float32),
                                    [0, 3], states, np)
    gates, recurrent = np.zeros((1, 3, 8), np.float32), np.zeros((1, 2, 8), np.float32)
    for change, message in (({"gates": gates.astype(np.int32)}, "gates: .* got int32"),
                            ({"gates": gates.swapaxes(0, 1).reshape(1, 3, 8)[:, ::-1]}, "gates: .* strides"),
                            ({"recurrent": recurrent[..., :4]}, r"recurrent: .* \(1 or 1, 2, 8\), got float32 \(1, 2, 4\)"),
                            ({"bounds": [0, 2]}, r"bounds: expected increasing numbers from 0 to T = 3, got \[0, 2\]"),
                            ({"bounds": [0, 4, 3]}, "bounds: .* increasing")):
        arguments = {"gates": gates, "recurrent": recurrent, "bounds": [0, 3], **change}
        with pytest.raises(ValueError, match=message):
            launcher.lstm_steps_forward(arguments["gates"], arguments["recurrent"], np.ones(8, np.float32), arguments["bounds"],
                                        states, np)
