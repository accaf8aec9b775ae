"""gelu_forward/backward: the checks of every op, the float32 formula over its whole range, rows spread over threads."""
import numpy as np
import pytest
import torch
from scipy.special import erf

from minixl.ops import gelu
from tests.ops.checks import CHECKS, Case, assert_close

SHAPES = [(1, 1), (5, 7), (3, 768)]


def case(module, rng, shape) -> Case:
    return Case(module.gelu_forward, module.gelu_backward, {"x": rng.normal(0, 2, size=shape)},
                lambda x: torch.nn.functional.gelu(x))


def float32_error(module) -> tuple[float, float]:
    """The largest errors of y and the slope in float32, over [-12, 12] and at the ends."""
    x = np.concatenate([np.linspace(-12, 12, 20001), [0.0, -0.0, 1e-30, -1e-30, 100, -100]]).astype(np.float32)[None]
    y, cache = module.gelu_forward(x)
    slope, _ = module.gelu_backward(np.ones_like(x), cache)
    wide = x.astype(np.float64)
    cdf = 0.5 * (1 + erf(wide / np.sqrt(2)))
    density = np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi)
    return np.abs(y - wide * cdf).max() / 100, np.abs(slope - cdf - wide * density).max()


def check_float32(module) -> None:
    """The errors of y (up to 100 here) and of the slope are a few roundings of float32 (1.2e-7)."""
    assert max(float32_error(module)) < 5e-7


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(gelu, rng, shape), xp, rng)


def test_float32_formula():
    check_float32(gelu)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_the_slope_y_has_the_same_bits(xp, rng, dtype):
    x = xp.asarray(rng.normal(0, 2, size=(7, 40)).astype(dtype))
    y, cache = gelu.gelu_forward(x, need_slope=False)
    assert (y == gelu.gelu_forward(x)[0]).all() and (xp is not np or cache.slope is None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_rows_on_threads_equal_one_block(rng, request, dtype):
    x, dy = rng.normal(size=(2, 1001, 24)).astype(dtype)

    def both():
        y, cache = gelu.gelu_forward(x)
        return y, gelu.gelu_backward(dy, cache)[0]

    whole = both()
    blocks = request.getfixturevalue("many_blocks")
    for ours, expected in zip(both(), whole, strict=True):
        assert_close(ours, expected, 1e-6 if dtype == "float32" else 1e-14)
    assert blocks() > 6
