"""layernorm_forward/backward: the checks of every op, a definition by loops, and rows spread over threads."""
import numpy as np
import pytest
import torch

from minixl.ops import layernorm
from tests.ops.checks import CHECKS, Case, assert_close

SHAPES = [(1, 1), (1, 2), (7, 5), (6, 33), (3, 768)]                   # T, H
EPS = 1e-3                                                             # large enough that omitting it shows


def case(module, rng, shape) -> Case:
    arrays = {"x": rng.normal(0.5, 1.5, size=shape), "weight": rng.uniform(0.5, 1.5, shape[1]),
              "bias": rng.normal(size=shape[1])}
    return Case(module.layernorm_forward, module.layernorm_backward, arrays,
                lambda x, weight, bias: torch.nn.functional.layer_norm(x, shape[1:], weight, bias, eps=EPS), {"eps": EPS})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(layernorm, rng, shape), xp, rng)


def test_default_eps_is_that_of_bert(rng):
    x, ones, zeros = 1e-6 * rng.normal(size=(4, 9)), np.ones(9), np.zeros(9)
    assert_close(layernorm.layernorm_forward(x, ones, zeros)[0],
                 torch.nn.functional.layer_norm(torch.tensor(x), (9,), eps=1e-12).numpy(), 1e-9)


def test_a_large_mean_does_not_cancel(rng):
    """One pass over x with E[x²] - E[x]² would lose every digit in float32."""
    x = (rng.normal(size=(8, 64)) + 1e3).astype(np.float32)
    y, _ = layernorm.layernorm_forward(x, np.ones(64, np.float32), np.zeros(64, np.float32))
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True)
    np.testing.assert_allclose(y, expected, atol=1e-3)


@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-5), ("float64", 1e-13)])
def test_many_rows_on_threads_equal_one_block(rng, request, dtype, rtol):
    wide = case(layernorm, rng, (1001, 24))
    dy = rng.normal(size=(1001, 24)).astype(dtype)
    arrays = {name: value.astype(dtype) for name, value in wide.arrays.items()}

    def both():
        y, cache = layernorm.layernorm_forward(**arrays)
        dx, grads = layernorm.layernorm_backward(dy, cache)
        return {"y": y, "dx": dx, **grads}

    whole = both()
    blocks = request.getfixturevalue("many_blocks")
    for name, value in both().items():
        assert_close(value, whole[name], rtol, name)
    assert blocks() > 6
