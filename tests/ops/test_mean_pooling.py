"""mean_pooling: the checks of every op on packed sentences, and sentences without rows."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.ops import mean_pooling
from tests.ops.checks import CHECKS, Case, packed

SHAPES = [((1,), 1), ((3, 1, 4, 1, 5), 7), ((2, 2), 768)]               # lengths, H


def case(module, rng, shape) -> Case:
    lengths, hidden = shape
    return Case(module.mean_pooling_forward, module.mean_pooling_backward, {"x": rng.normal(size=(sum(lengths), hidden))},
                lambda x: torch.stack([part.mean(0) for part in x.split(list(lengths))]), {"starts": packed(lengths)})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_checks(check, xp, rng, shape):
    check(case(mean_pooling, rng, shape), xp, rng)


def test_no_sentences(xp):
    y, cache = mean_pooling.mean_pooling_forward(xp.zeros((0, 5)), packed(()))
    assert y.shape == (0, 5)
    assert to_numpy(mean_pooling.mean_pooling_backward(y, cache)[0]).shape == (0, 5)


def test_a_sentence_without_rows_is_named():
    with pytest.raises(ValueError, match="^mean_pooling: sentence 1 of the batch has no rows$"):
        mean_pooling.mean_pooling_forward(np.ones((3, 2)), packed((2, 0, 1)))
