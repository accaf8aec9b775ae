"""An attempt that is saved, restored in a new object and continued ends with the same bits."""
import json

import numpy as np
import pytest

from minixl.alignment import learners
from minixl.alignment.learners import AdversarialLearner, PairsLearner, SimilarityLearner
from minixl.alignment.settings import SCHEMA
from minixl.ops import csls
from tests.alignment.planted import planted_spaces

QUICK = {"adversarial.hidden": 8, "adversarial.epoch_size": 40_000, "adversarial.epochs": 3, "similarity.patience": 1,
         "similarity.max_iterations": 12}


@pytest.fixture(scope="module")
def spaces():
    return planted_spaces(400, 8)


@pytest.fixture(params=[AdversarialLearner, SimilarityLearner], ids=lambda kind: kind.__name__)
def make(request, spaces, monkeypatch):
    monkeypatch.setattr(learners, "CHUNK", 3)
    return lambda seed=1: request.param(spaces.x, spaces.y, SCHEMA.settings(QUICK), seed, csls)


def finish(learner):
    points, steps = [], 0
    while not learner.ended:
        progress = learner.advance()
        steps += progress.steps
        points += [progress.point] if progress.point else []
    return points, steps


def test_continuing_gives_the_same_bits(make):
    whole, resumed = make(), make()
    points, _ = finish(whole)
    for _ in range(4):
        resumed.advance()
    arrays, values = resumed.state()
    again = make(seed=99)
    again.restore({name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(values)))
    rest, _ = finish(again)
    assert rest == points[-len(rest):] and len(rest) < len(points)
    np.testing.assert_array_equal(again.mapping, whole.mapping)
    assert again.best == whole.best > 0


def test_a_state_before_the_first_step(make):
    fresh, again = make(), make()
    again.restore(*fresh.state())
    assert finish(again)[0] == finish(fresh)[0]


def test_other_seeds_give_other_maps(make):
    one, two = make(1), make(2)
    assert finish(one)[0] != finish(two)[0]


def test_the_adversarial_curve_has_a_point_for_each_epoch(spaces):
    learner = AdversarialLearner(spaces.x, spaces.y, SCHEMA.settings(QUICK), 1, csls)
    points, steps = finish(learner)
    assert steps == learner.steps == 3 * learner.epoch_steps and len(points) == 3
    assert points[0].keys() == {"criterion", "discriminator_loss", "discriminator_accuracy", "lr"}
    assert learner.best == max(point["criterion"] for point in points)
    np.testing.assert_allclose([point["lr"] for point in points][:2], [0.1, 0.098])


def test_divergence_ends_an_attempt(spaces):
    settings = SCHEMA.settings(QUICK | {"adversarial.lr": 1e30})
    learner = AdversarialLearner(spaces.x, spaces.y, settings, 1, csls)
    with np.errstate(all="ignore"):
        points, _ = finish(learner)
    assert len(points) == 1 and learner.best == learners.LOWEST and np.isfinite(learner.mapping).all()


def test_known_pairs_are_one_step(spaces):
    learner = PairsLearner(spaces.x, spaces.y, np.stack([np.arange(400)] * 2, 1), SCHEMA.settings(), csls)
    points, steps = finish(learner)
    assert steps == 1 and points == [{"criterion": learner.best}] and learner.best > 0.9
    np.testing.assert_allclose(learner.mapping, spaces.rotation, atol=0.05)
