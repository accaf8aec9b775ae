"""The learning rates that updates record: warm-up and decline over a run's own steps, the inverse schedule by epochs."""
import numpy as np
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from minixl.data.batching import Stream
from minixl.methods import SCHEMA
from minixl.methods.advpicker.student import Distillation
from minixl.methods.finetune import Supervised
from minixl.methods.linkage import AverageLinkage
from tests.methods.planted_languages import make_model
from tests.models.hugging_face import LABELS, random_examples

STEPS = 9


def streams(rng, names, count=10, batch_size=3):
    """Four batches an epoch."""
    return {name: Stream(random_examples(rng, rng.integers(3, 9, count)), batch_size, 1) for name in names}


@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_the_linkage_declines_over_the_steps_of_the_run(rng, warmup):
    """As transformers' schedule has it, down to almost nothing in the last step; every parameter that moves follows it."""
    chosen = SCHEMA.settings({"optim.name": "adam", "optim.schedule": "linear", "optim.warmup": warmup, "optim.clip": 0.0,
                              "linkage.level": "token", "linkage.lr": 1e-3, "adversary.level": "sentence"})
    made = make_model(chosen)
    ours = AverageLinkage(made, streams(rng, ["source", *AverageLinkage.STREAMS]), chosen, 1, STEPS)
    theirs = torch.optim.SGD([torch.zeros(1)], 1e-3)
    schedule = get_linear_schedule_with_warmup(theirs, round(warmup * STEPS), STEPS)
    for step in range(STEPS):
        expected = theirs.param_groups[0]["lr"]
        before = made.store["bert.encoder.layer.0.output.dense.weight"].value.copy()
        assert ours.step(step)[0].lr == pytest.approx(expected), step
        way = np.abs(made.store["bert.encoder.layer.0.output.dense.weight"].value - before).max()
        assert way <= 4 * expected and (way > 0) == (expected > 0)     # Adam's steps are about as long as the learning rate
        theirs.step()
        schedule.step()
    assert expected == pytest.approx(1e-3 / (STEPS - round(warmup * STEPS)))


@pytest.mark.parametrize("method", [Supervised, Distillation])
def test_the_inverse_schedule_is_constant_within_an_epoch(rng, method):
    """Four updates an epoch: 1, 1/2, 1/3 of the learning rate in epochs 0, 1, 2."""
    chosen = SCHEMA.settings({"optim.schedule": "inverse", "optim.decay": 1.0, "optim.warmup": 0.0, "optim.lr": 1e-3,
                              "optim.head_lr": 2e-3})
    given = streams(rng, ["source"])
    more = {}
    if method is Distillation:
        rows = iter(range(1000))
        for example in given["source"].examples:
            example.labels[...] = [next(rows) for _ in example.labels]
        more = {"targets": rng.dirichlet(np.ones(len(LABELS)), next(rows))}
    ours = method(make_model(chosen), given, chosen, 1, STEPS, **more)
    assert given["source"].batches_per_epoch == 4
    assert [ours.step(step)[0].lr for step in range(STEPS)] == pytest.approx([1e-3 / (1 + step // 4) for step in range(STEPS)])
    assert [ours.optimizers["task"].schedule(step) for step in (3, 4, 8)] == pytest.approx([1, 1 / 2, 1 / 3])
