"""layer_sums: the checks of every op for both sums; the weights sum to one; the gradient of the states is optional."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import layer_sums
from tests.ops.checks import CHECKS, Case

SHAPES = [(1, 1, 1), (5, 3, 7), (4, 7, 1024)]                          # T, L, H


def case(module, rng, shape) -> Case:
    tokens, layers, hidden = shape
    arrays = {"states": rng.normal(size=shape), "weight": rng.normal(size=(layers, hidden))}
    return Case(module.fully_weighted_forward, module.fully_weighted_backward, arrays,
                lambda states, weight: (states * torch.softmax(weight, 0)).sum(1))


def self_case(module, rng, shape) -> Case:
    arrays = {"states": rng.normal(size=shape), "scores": rng.normal(size=shape[:2])}
    return Case(module.self_weighted_forward, module.self_weighted_backward, arrays,
                lambda states, scores: (states * torch.softmax(scores, 1)[:, :, None]).sum(1))


@pytest.mark.parametrize("make", [case, self_case])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape, make):
    check(make(layer_sums, rng, shape), xp, rng)


def test_weights_sum_to_one(xp, rng):
    """Equal layers give that layer, whatever the weights."""
    layer = rng.normal(size=(4, 6))
    states = xp.asarray(np.repeat(layer[:, None], 3, axis=1))
    for y in (layer_sums.fully_weighted_forward(states, xp.asarray(rng.normal(size=(3, 6))))[0],
              layer_sums.self_weighted_forward(states, xp.asarray(rng.normal(size=(4, 3))))[0]):
        np.testing.assert_allclose(to_numpy(y), layer, rtol=1e-12)


@pytest.mark.parametrize("name, shape", [("fully_weighted", (3, 6)), ("self_weighted", (4, 3))])
def test_states_need_no_gradient(xp, rng, name, shape):
    _, cache = getattr(layer_sums, f"{name}_forward")(xp.asarray(rng.normal(size=(4, 3, 6))), xp.asarray(rng.normal(size=shape)))
    dy, backward = xp.asarray(rng.normal(size=(4, 6))), getattr(layer_sums, f"{name}_backward")
    dstates, grads = backward(dy, cache, need_dx=False)
    assert dstates is None
    for key, grad in backward(dy, cache)[1].items():
        np.testing.assert_array_equal(to_numpy(grads[key]), to_numpy(grad))


MISTAKES = [
    (case, "softmax over the dimensions", "softmax_forward(weight.T)", "(lambda r: (r[0].T, r[1]))(softmax_forward(weight))"),
    (case, "softmax's gradient forgotten",
     "softmax_backward(xp.einsum(\"tlh,th->hl\", states, dy), cache.softmax)", "xp.einsum('tlh,th->hl', states, dy), 0"),
    (case, "states with equal weights", "dy[:, None] * cache.softmax.probs.T", "dy[:, None] * (0 * cache.softmax.probs.T + 1)"),
    (self_case, "softmax's gradient forgotten", "softmax_backward(dshares, cache.softmax)", "dshares, 0"),
    (self_case, "scores without the states", "matmul(cache.states, dy[:, :, None])", "matmul(0 * cache.states, dy[:, :, None])"),
]


@pytest.mark.parametrize("make, what, old, new", MISTAKES, ids=[mistake[1] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, make, what, old, new):
    from tests.mutants import mutant
    from tests.ops.checks import matches_pytorch
    with pytest.raises((AssertionError, ValueError)):
        matches_pytorch(make(mutant("minixl.ops.layer_sums", old, new), rng, SHAPES[1]), np, rng)
