"""Encoder and head together against transformers: logits, loss, every gradient, freezing, twenty optimiser steps."""
import numpy as np
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from minixl.errors import UserError
from minixl.methods import SCHEMA
from minixl.models.bert import WORD_TABLE
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.ops.softmax_cross_entropy import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minixl.settings import Settings
from tests.models.hugging_face import LABELS, TINY, assert_gradients, gradient, make_batch, padded, tiny_pair
from tests.ops.checks import assert_close
from tests.training.one_update import supervised

POOLINGS = ["token", "cls"]


def loss_and_gradients(ours: Transformer, batch) -> float:
    """One forward and backward pass into ours.store, which is set to zero first."""
    ours.store.zero_grad()
    logits, cache = ours.forward(batch)
    loss, loss_cache = softmax_cross_entropy_forward(logits, batch.labels)
    ours.backward(softmax_cross_entropy_backward(1.0, loss_cache)[0], cache)
    return float(loss)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_loss_and_every_gradient(rng, pooling):
    theirs, ours = tiny_pair(pooling)
    batch = make_batch(rng, documents=pooling == "cls")
    outputs = theirs(**padded(batch))
    outputs.loss.backward()
    assert loss_and_gradients(ours, batch) == pytest.approx(outputs.loss.item(), rel=1e-9)
    assert_gradients(ours, theirs, 1e-9)


def test_mean_pooling_by_central_difference(rng):
    """transformers has no such head."""
    ours = Transformer(tiny_pair("cls")[1].config, LABELS, "mean", dtype=np.float64)
    for parameter in ours.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    batch = make_batch(rng, documents=True)
    loss_and_gradients(ours, batch)
    direction = {p.name: rng.normal(size=p.value.shape) for p in ours.store}
    slope = sum((gradient(ours, name) * d).sum() for name, d in direction.items())
    losses = []
    for step in (1e-6, -2e-6):
        for name, d in direction.items():
            ours.store[name].value += step * d
        losses.append(loss_and_gradients(ours, batch))
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("patterns", [["bert.embeddings.*"], ["bert.embeddings.*", "bert.encoder.layer.0.*"],
                                      ["bert.encoder.layer.1.*"], [WORD_TABLE], ["*.bias"], ["classifier.*"],
                                      ["bert.embeddings.*", "bert.encoder.*"]], ids=str)
def test_frozen_parameters_have_no_gradient_and_the_others_theirs(rng, pooling, patterns):
    _, ours = tiny_pair(pooling)
    batch = make_batch(rng, documents=pooling == "cls")
    loss = loss_and_gradients(ours, batch)
    expected = {name: gradient(ours, name).copy() for name in ours.store.names()}
    ours.store.zero_grad()
    frozen = ours.store.freeze(patterns)
    assert loss_and_gradients(ours, batch) == loss
    for name, value in expected.items():
        if name in frozen:
            assert not gradient(ours, name).any(), name
        else:
            np.testing.assert_array_equal(gradient(ours, name), value, err_msg=name)


def test_trained_encoder_names():
    ours = tiny_pair("cls")[1]
    assert ours.trained_encoder_names() == ours.encoder_names()
    ours.store.freeze(["bert.embeddings.*", "bert.encoder.layer.0.*"])
    assert ours.trained_encoder_names() == [name for name in ours.encoder_names()
                                            if not name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))]
    ours.store.freeze(["bert.encoder.*"])                              # the pooler, still trained, is of the head
    with pytest.raises(UserError, match="model.freeze: all parameters of the encoder are frozen, .*; freeze fewer$"):
        ours.trained_encoder_names()


@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
def test_keep_nothing_gives_the_same_logits(rng, pooling):
    ours = Transformer(tiny_pair("cls")[1].config, LABELS, pooling, dtype=np.float64)
    ours.initialise(rng)
    batch = make_batch(rng, documents=pooling != "token")
    logits, _ = ours.forward(batch, keep=False)
    np.testing.assert_array_equal(logits, ours.forward(batch)[0])
    assert logits.shape == (len(batch.labels), len(LABELS))


def theirs_by_torch(theirs, batches, settings: Settings, total: int) -> list[float]:
    """The same training in PyTorch; returns the norms before clipping."""
    groups = {}
    for name, parameter in theirs.named_parameters():
        head = name.startswith(("classifier", "bert.pooler"))
        plain = name.endswith(".bias") or "LayerNorm" in name
        groups.setdefault((head, plain), []).append(parameter)
    optimizer = torch.optim.AdamW([{"params": parameters, "lr": settings["optim.head_lr" if head else "optim.lr"],
                                    "weight_decay": 0.0 if plain else settings["optim.weight_decay"]}
                                   for (head, plain), parameters in groups.items()], eps=settings["optim.eps"])
    schedule = get_linear_schedule_with_warmup(optimizer, round(settings["optim.warmup"] * total), total)
    norms = []
    for batch in batches:
        optimizer.zero_grad()
        theirs(**padded(batch)).loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(theirs.parameters(), settings["optim.clip"]).item())
        optimizer.step()
        schedule.step()
    return norms


@pytest.mark.parametrize("pooling", POOLINGS)
def test_twenty_steps_of_adamw(rng, pooling):
    """Clipping, warm-up, linear decay, weight decay (also of words never read), a learning rate for the head."""
    theirs, ours = tiny_pair(pooling)
    settings = SCHEMA.settings({"optim.lr": 1e-3, "optim.head_lr": 3e-3, "optim.weight_decay": 0.1, "optim.warmup": 0.2,
                                "optim.clip": 4.0 if pooling == "token" else 6.0})
    batches = [make_batch(rng, documents=pooling == "cls", lengths=rng.integers(1, 12, 4), vocabulary=30) for _ in range(20)]
    before = {p.name: p.value.copy() for p in ours.store}
    norms = theirs_by_torch(theirs, batches, settings, len(batches))
    assert min(norms) < settings["optim.clip"] < max(norms), f"both sides of the limit should occur: {norms}"
    objective = supervised(ours, batches, settings, total=len(batches), epoch=len(batches))
    for step in range(len(batches)):
        update, = objective.step(step)
        assert update.gradient_norm == pytest.approx(norms[step], rel=1e-6)
    idle = np.setdiff1d(np.arange(47), np.concatenate([batch.input_ids for batch in batches]))
    assert len(idle) and (ours.store[WORD_TABLE].value[idle] != before[WORD_TABLE][idle]).all()
    for name, parameter in theirs.named_parameters():
        expected = parameter.detach().numpy()
        way = max(np.abs(expected - before[name]).max(), settings["optim.lr"])
        if "key.bias" in name:                                         # its gradient is rounding, which Adam enlarges
            way = settings["optim.lr"] * len(batches) / 2
        np.testing.assert_allclose(ours.store[name].value, expected, rtol=0, atol=1e-6 * way, err_msg=name)


def test_names_of_head_and_encoder():
    _, ours = tiny_pair("cls")
    head = ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"]
    assert ours.head_names() == head
    assert ours.encoder_names() == [name for name in ours.store.names() if name not in head]
    _, tagger = tiny_pair("token")
    assert tagger.head_names() == head[2:] and "bert.pooler.dense.weight" not in tagger.store


def test_initialised_head():
    config = BertConfig.from_json(TINY | {"hidden_size": 120, "initializer_range": 0.05})
    one, two = Transformer(config, [str(i) for i in range(60)], "cls"), Transformer(config, [str(i) for i in range(60)], "cls")
    encoder = [one.store[name].value.copy() for name in one.encoder_names()]
    for model in (one, two):
        model.store["classifier.bias"].value[...] = 1
        model.initialise(np.random.default_rng(8))
    for name in one.head_names():
        value = one.store[name].value
        np.testing.assert_array_equal(value, two.store[name].value)
        if name.endswith("bias"):
            assert not value.any()
        else:
            assert value.std() == pytest.approx(0.05, rel=0.05) and abs(value.mean()) < 0.005
    for name, value in zip(one.encoder_names(), encoder, strict=True):
        np.testing.assert_array_equal(one.store[name].value, value)


def test_unknown_pooling():
    with pytest.raises(ValueError, match="^model.pooling: expected one of token, mean, cls, got 'max'$"):
        Transformer(BertConfig.from_json(TINY), LABELS, "max")


def test_float32_logits_are_close(rng):
    _, wide = tiny_pair("token")
    narrow = Transformer(wide.config, LABELS, "token")
    for parameter in narrow.store:
        parameter.value[...] = wide.store[parameter.name].value
    batch = make_batch(rng)
    logits, _ = narrow.forward(batch, keep=False)
    assert logits.dtype == np.float32
    assert_close(logits, wide.forward(batch, keep=False)[0], 1e-4)
