"""Average linkage as a term: against PyTorch, what it may move, planted mistakes, and two planted languages drawn together."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from minixl.data.batching import pack
from minixl.errors import UserError
from minixl.methods import SCHEMA, linkage
from minixl.methods.linkage import AverageLinkage
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from tests.methods.planted_languages import make_model, make_streams, told_apart
from tests.methods.twin_language_adversarial import Twin, mean
from tests.models.hugging_face import random_examples
from tests.mutants import mutant
from tests.ops.energy_reference import energy_distance
from tests.ops.test_cosine_linkage import all_pairs
from tests.ops.test_moment_distance import in_pytorch as moments
from tests.ops.test_moment_norms import in_pytorch as moment_norms
from tests.training.one_update import Dealt

SHIFT = "bert.encoder.layer.2.output.LayerNorm.bias"                   # moves both clouds alike: no distance changes
LEVELS = ["sentence", "token"]
TWINS = {"average-linkage": energy_distance, "cosine-linkage": all_pairs, "moments": lambda x, y: moments(x, y, 0.1, 0.01),
         "moment-norms": lambda x, y: moment_norms(x, y, 0.1, 0.01)}
PLAIN = {"optim.name": "adam", "optim.schedule": "constant", "optim.warmup": 0.0, "optim.clip": 0.0,
         "linkage.lr": 1e-3}


def settings(level: str, **changed) -> Settings:
    return SCHEMA.settings(PLAIN | {"adversary.level": "sentence", "linkage.level": level} | changed)


def make_batches(rng, count: int):
    return {name: [pack(random_examples(rng, rng.integers(1, 9, 5 if name.startswith("source") else 3))) for _ in range(count)]
            for name in AverageLinkage.STREAMS}


def method(made: Transformer, batches, chosen: Settings, total: int, module=linkage) -> AverageLinkage:
    streams = {name: Dealt(given) for name, given in {"source": [], **batches}.items()}
    return module.AverageLinkage(made, streams, chosen, 1, total)


def assert_equals_twin(rng, level: str, steps: int, module=linkage, **changed) -> None:
    """Values and every parameter after `steps` updates, within 1e-6 of the way the parameter went."""
    chosen = settings(level, **changed)
    made, batches = make_model(chosen), make_batches(rng, steps)
    before = {p.name: p.value.copy() for p in made.store}
    twin, ours = Twin(made), method(made, batches, chosen, steps, module)
    optimizer = torch.optim.Adam(twin.bert.parameters(), lr=chosen["linkage.lr"])
    for step in range(steps):
        clouds = []
        for side in ("source", "target"):
            states, mask = twin.encode(batches[f"{side}/linkage"][step])
            clouds.append(mean(states, mask) if level == "sentence" else states[mask.bool()])
        value = TWINS[chosen["linkage.distance"]](*clouds)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(twin.bert.parameters(), chosen["optim.clip"] or float("inf")).item()
        optimizer.step()
        optimizer.zero_grad()
        (update,) = ours.step(step)
        assert (update.value, update.gradient_norm) == (pytest.approx(value.item(), rel=1e-7), pytest.approx(norm, rel=1e-6))
        assert (update.loss, update.step, update.lr) == ("average linkage", step, 1e-3)
    for name, parameter in twin.named_parameters():
        expected = parameter.detach().numpy()
        way = max(np.abs(expected - before[name]).max(), 1e-4)
        if "key.bias" in name or name == SHIFT:                        # their gradient is rounding, which Adam enlarges
            way = steps * 1e-3
        np.testing.assert_allclose(made.store[name].value, expected, rtol=0, atol=1e-6 * way, err_msg=name)


@pytest.mark.parametrize("distance", TWINS)
def test_ten_updates_with_every_distance(rng, distance):
    assert_equals_twin(rng, "token", 10, **{"linkage.distance": distance})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_ten_updates_equal_pytorch(rng, level, clip):
    assert_equals_twin(rng, level, 10, **{"optim.clip": clip})


MISTAKES = [
    ("gradients of the two languages exchanged", "concatenate([dsource, dtarget])",
     "concatenate([dtarget, dsource])[:len(points)]"),
    ("target stands still", "concatenate([dsource, dtarget])", "concatenate([dsource, 0 * dtarget])"),
    ("border at the wrong sentence", "border = len(source.order)", "border = len(source.order) - 1"),
    ("border at the wrong piece", "border, pooling = source.tokens, None", "border, pooling = source.tokens + 1, None"),
    ("pooling's gradient forgotten", "mean_pooling_backward(dpoints, pooling)[0]",
     "mean_pooling_backward(dpoints, pooling)[0] * len(points)"),
    ("gradients not set to zero", "return [self.update(step, LOSS,",
     "self.optimizers[LOSS].step(); return [Update(step, LOSS, 0.0, 0.0,"),
    ("one language twice", "self.streams[\"target/linkage\"]", "self.streams[\"source/linkage\"]"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    changed, caught = mutant("minixl.methods.linkage", old, new), 0
    for level in LEVELS:
        try:
            assert_equals_twin(rng, level, 3, changed)
        except (AssertionError, ValueError, StopIteration):
            caught += 1
    assert caught, what


@pytest.mark.parametrize("level", LEVELS)
def test_only_the_trainable_encoder_moves_and_no_gradient_is_left(rng, level):
    made = make_model(settings(level), freeze=["bert.embeddings.*", "bert.encoder.layer.0.*"])
    before = {p.name: p.value.copy() for p in made.store}
    ours = method(made, make_batches(rng, 2), settings(level), 2)
    for step in range(2):
        (update,) = ours.step(step)
    assert update.gradient_norm > 0 and update.accuracy is None
    moved = {name for name, value in before.items() if (made.store[name].value != value).any()}
    assert moved == set(ours.subsets["average linkage"]) and ours.optimizers.keys() == {"average linkage"}
    assert all(name.startswith(("bert.encoder.layer.1", "bert.encoder.layer.2")) for name in moved)
    assert not made.store.grads.any()


def test_dropout_is_on_and_replays(rng):
    batches = make_batches(rng, 1)
    values = [method(make_model(settings("sentence"), dropout=p), batches, settings("sentence"), 1).step(step)[0].value
              for p, step in ((0.3, 0), (0.3, 0), (0.3, 1), (0.0, 0))]
    assert values[0] == values[1] and len(set(values)) == 3


def test_nothing_to_move():
    made = make_model(settings("token"), freeze=["bert.*"])
    with pytest.raises(UserError, match="^model.freeze: all parameters of the encoder are frozen, .*; freeze fewer$"):
        AverageLinkage.check_model(made, settings("token"))


@pytest.mark.parametrize("level", LEVELS)
def test_planted_languages_are_drawn_together(level):
    """A fresh linear probe tells two planted languages apart before, and is near chance afterwards."""
    chosen = settings(level, **{"optim.schedule": "linear", "linkage.lr": 3e-3, "optim.beta2": 0.9})
    made, streams = make_streams(["source", *AverageLinkage.STREAMS], chosen)
    before = told_apart(made, level)
    ours = AverageLinkage(made, streams, chosen, 1, 200)
    values = [ours.step(step)[0].value for step in range(200)]
    after = told_apart(made, level)
    assert before > (0.97 if level == "sentence" else 0.8) and after < 0.7, (before, after)
    assert np.mean(values[-5:]) < np.mean(values[:5]) / 20
