"""Dropout masks of a device: repeated by the generator of the same step, and replayed on the CPU."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops.attention import attention_backward, attention_forward
from minixl.ops.dropout import dropout_forward
from minixl.ops.masked_softmax_dropout import masked_softmax_dropout_forward
from minixl.ops.variational_dropout import variational_dropout_forward
from minixl.training.update import step_rng

pytestmark = pytest.mark.gpu
STARTS = np.array([0, 3, 4, 9])
OPS = {
    "dropout": lambda x, **how: dropout_forward(x, 0.4, **how),
    "variational_dropout": lambda x, **how: variational_dropout_forward(x, 0.4, starts=STARTS, **how),
    "masked_softmax_dropout": lambda x, valid=None, **how: masked_softmax_dropout_forward(x, valid, 0.4, **how),
    "attention": lambda x, **how: attention_forward(x, x, x, STARTS, heads=2, dropout=0.4, **how),
}


def options(name, xp):
    return {"valid": xp.asarray([8, 3, 0, 5, 8, 1, 2, 8, 8])} if name == "masked_softmax_dropout" else {}


@pytest.mark.parametrize("name", OPS)
def test_replayed_on_the_cpu(cuda, rng, name):
    """float64: without kernels, the mask is in the cache."""
    x = rng.normal(size=(9, 8))
    y, cache = OPS[name](cuda.asarray(x), rng=step_rng(1, 5, 0, cuda), **options(name, cuda))
    mask = to_numpy(cache.mask)
    assert mask.dtype == bool and 0 < mask.mean() < 1
    again, _ = OPS[name](x, mask=mask, **options(name, np))
    np.testing.assert_allclose(to_numpy(y), again, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPS)
def test_a_step_can_be_repeated(cuda, rng, name, dtype):
    """With kernels (float32) and without: the same seed, step and update give the same masks, and another update others."""
    x = cuda.asarray(rng.normal(size=(9, 8)), dtype)
    results = [to_numpy(OPS[name](x, rng=step_rng(1, 5, masks, cuda), **options(name, cuda))[0]) for masks in (0, 0, 1)]
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


def test_the_backward_pass_has_the_mask_of_the_forward_pass(cuda, rng):
    """The attention kernels draw the mask again, from the seed that the cache keeps."""
    x, dy = (cuda.asarray(rng.normal(size=(9, 8)), np.float32) for _ in range(2))
    _, cache = attention_forward(x, x, x, STARTS, heads=2, dropout=0.4, rng=step_rng(1, 5, 0, cuda))
    once, twice = (attention_backward(dy, cache) for _ in range(2))
    np.testing.assert_array_equal(to_numpy(once[0]), to_numpy(twice[0]))
    h = 1e-2
    value = [to_numpy((attention_forward(x, x, x + s * h * dy, STARTS, heads=2, dropout=0.4, rng=step_rng(1, 5, 0, cuda))[0]
                       * dy).sum()) for s in (1, -1)]
    np.testing.assert_allclose(to_numpy((once[1]["value"] * dy).sum()), (value[0] - value[1]) / (2 * h), rtol=1e-3)
