"""variational_dropout: the same mask at every step of a sentence, its scale, its gradient, replay."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops.variational_dropout import variational_dropout_backward, variational_dropout_forward

STARTS = np.array([0, 3, 3, 4, 9])


def test_one_mask_for_each_sentence(rng):
    y, cache = variational_dropout_forward(np.ones((9, 50)), 0.5, starts=STARTS, rng=rng)
    for begin, end in zip(STARTS[:-1], STARTS[1:]):
        for row in y[begin:end]:
            np.testing.assert_array_equal(row, y[begin])
    assert set(np.unique(y)) == {0.0, 2.0} and cache.mask.shape == (4, 50)
    assert not np.array_equal(y[0], y[3])


def test_against_a_loop_and_replay(xp, rng):
    x, dy, mask = rng.normal(size=(9, 6)), rng.normal(size=(9, 6)), rng.random((4, 6)) < 0.75
    y, cache = variational_dropout_forward(xp.asarray(x), 0.25, starts=STARTS, mask=xp.asarray(mask))
    dx, grads = variational_dropout_backward(xp.asarray(dy), cache)
    assert grads == {}
    for b, (begin, end) in enumerate(zip(STARTS[:-1], STARTS[1:])):
        for t in range(begin, end):
            np.testing.assert_allclose(to_numpy(y)[t], x[t] * mask[b] / 0.75, rtol=1e-12)
            np.testing.assert_allclose(to_numpy(dx)[t], dy[t] * mask[b] / 0.75, rtol=1e-12)


def test_mean_is_kept(rng):
    y, _ = variational_dropout_forward(np.ones((2000, 100)), 0.3, starts=np.arange(2001), rng=rng)
    assert abs(y.mean() - 1) < 0.01 and abs((y == 0).mean() - 0.3) < 0.01


@pytest.mark.parametrize("options", [{"p": 0.5}, {"p": 0.0, "rng": np.random.default_rng(1)}],
                         ids=["evaluation", "p = 0"])
def test_nothing_is_dropped(options):
    x = np.arange(18.0).reshape(9, 2)
    y, cache = variational_dropout_forward(x, starts=STARTS, **options)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(variational_dropout_backward(x, cache)[0], x)


def test_float32_and_inputs_left_alone(rng):
    x = rng.normal(size=(9, 3)).astype(np.float32)
    before = x.copy()
    y, cache = variational_dropout_forward(x, 0.5, starts=STARTS, rng=rng)
    assert y.dtype == np.float32 and variational_dropout_backward(x, cache)[0].dtype == np.float32
    np.testing.assert_array_equal(x, before)
