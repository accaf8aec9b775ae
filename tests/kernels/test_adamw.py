"""The AdamW kernel against the formula of Loshchilov & Hutter 2019 in float64."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.kernels.adamw import adamw_step

SETTINGS = {"lr": 0.02, "weight_decay": 0.1, "betas": (0.9, 0.99), "eps": 1e-6}


def formula(value, grad, m, v, lr, weight_decay, betas, eps, steps):
    m, v = betas[0] * m + (1 - betas[0]) * grad, betas[1] * v + (1 - betas[1]) * grad ** 2
    update = (m / (1 - betas[0] ** steps)) / (np.sqrt(v / (1 - betas[1] ** steps)) + eps)
    return value - lr * weight_decay * value - lr * update, m, v


def compare(rng, shape, xp, **options):
    state = [rng.normal(size=shape), None, 0.1 * rng.normal(size=shape), rng.uniform(0, 0.1, shape)]
    arrays = [None if part is None else xp.asarray(part, np.float32) for part in state]
    for steps in (3, 4):
        grad = rng.normal(size=shape)
        adamw_step(arrays[0], xp.asarray(grad, np.float32), *arrays[2:], steps=steps, **SETTINGS, **options)
        state[0], *state[2:] = formula(state[0], grad, *state[2:], steps=steps, **SETTINGS)
    for name, ours, theirs in zip(("value", "m", "v"), (arrays[0], *arrays[2:]), (state[0], *state[2:]), strict=True):
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("shape", [(0,), (1,), (1000,), (5, 33)], ids=str)
@pytest.mark.parametrize("threads", [32, 256])
def test_matches_formula(device, rng, shape, threads):
    compare(rng, shape, device, threads=threads)


def test_more_elements_than_one_grid(device, rng, monkeypatch):
    monkeypatch.setattr("minixl.kernels.MAX_BLOCKS", 2)
    compare(rng, (300,), device, threads=32)


@pytest.mark.parametrize("old, new", [
    ("value[e] * keep", "value[e]"), (" * debias", ""), ("v[e] = v_now;", ""), ("new2 * g * g", "new2 * g"), ("+ eps", ""),
    ("e < size;", "e < size - 1;"),
], ids=["decay", "debias", "moment", "square", "eps", "one too few"])
def test_planted_mistakes_are_caught(mutant, rng, old, new, monkeypatch):
    mutant("adamw.cu", old, new)
    monkeypatch.setitem(SETTINGS, "eps", 1e-2)
    with pytest.raises(AssertionError):
        compare(rng, (65,), np)


def test_bad_input_is_named():
    value = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"grad: expected a C-contiguous float32 array of shape \(4,\), got float16 \(4,\)"):
        adamw_step(value, np.ones(4, np.float16), value.copy(), value.copy(), steps=1, **SETTINGS)
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        adamw_step(value, value.copy(), value.copy(), value.copy(), steps=0, **SETTINGS)
    with pytest.raises(ValueError, match="v: expected a C-contiguous float32 array .* got float64"):
        adamw_step(value, value.copy(), value.copy(), np.ones(4), steps=1, **SETTINGS)
    with pytest.raises(ValueError, match=r"m: expected .* shape \(4,\), got float32 \(3,\)"):
        adamw_step(value, value.copy(), np.ones(3, np.float32), value.copy(), steps=1, **SETTINGS)
    with pytest.raises(ValueError, match=r"grad: expected a C-contiguous .* strides \(8,\)"):
        adamw_step(value, np.ones(8, np.float32)[::2], value.copy(), value.copy(), steps=1, **SETTINGS)
