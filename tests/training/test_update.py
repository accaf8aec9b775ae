"""One update: generators that replay, accumulation that changes nothing, groups and schedules from the settings, errors."""
import numpy as np
import pytest

from minixl.data.batching import Batch, pack
from minixl.methods import SCHEMA
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.optim import SGD, AdamW
from minixl.training.optimizers import make_optimizer
from minixl.training.update import PendingUpdate, step_rng, update_parameters
from tests.models.hugging_face import LABELS, TINY, make_batch, random_examples
from tests.training.one_update import supervised, train_step


def model(pooling: str = "token", dropout: float = 0.0) -> Transformer:
    config = BertConfig.from_json(TINY | {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout})
    made, rng = Transformer(config, LABELS, pooling, dtype=np.float64), np.random.default_rng(5)
    for parameter in made.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    return made


def one_step(made: Transformer, batch: Batch, *assignments: str, step: int = 0, seed: int = 7):
    """The update record and the parameters after one step."""
    settings = SCHEMA.settings({"optim.name": "sgd", "optim.lr": 0.1, "optim.schedule": "constant", "optim.warmup": 0.0})
    update = train_step(made, batch, settings.override(assignments), seed=seed, step=step)
    return update, {p.name: p.value.copy() for p in made.store}


def test_a_generator_is_a_function_of_seed_step_and_loss():
    draws = [step_rng(*key, np).integers(0, 1 << 30, 4).tolist() for key in [(1, 2, 0), (1, 2, 0), (2, 1, 0), (1, 3, 0), (1, 2, 1)]]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 4


@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_accumulation_changes_nothing(rng, pooling, parts):
    """Parts hold different numbers of scored words, some none; loss, norm and step are those of the whole batch."""
    batch = make_batch(rng, documents=pooling != "token")
    expected, parameters = one_step(model(pooling), batch)
    found, others = one_step(model(pooling), batch, f"train.accumulate={parts}")
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-10)
    for name, value in parameters.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_the_record_of_an_update(rng):
    made, batch = model(), make_batch(rng)
    update, _ = one_step(made, batch, "optim.clip=0.0", step=4)
    assert (update.step, update.loss, update.lr, update.tokens) == (4, "task", 0.1, batch.tokens)
    assert update.value > 0 and update.gradient_norm > 0
    again, _ = one_step(made, batch)
    assert again.value < update.value, "a small step downhill"


def test_gradients_are_zero_afterwards(rng):
    made = model()
    one_step(made, make_batch(rng))
    assert not made.store.grads.any() and made.store["bert.embeddings.word_embeddings.weight"].grad is None


def test_clipping(rng):
    """With SGD all parameters together move by lr times the clipped norm."""
    made, batch = model(), make_batch(rng)
    before = {p.name: p.value.copy() for p in made.store}
    update, after = one_step(made, batch, "optim.clip=0.5")
    way = np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in before))
    assert update.gradient_norm > 0.5 and way == pytest.approx(0.1 * 0.5, rel=1e-5)


def test_dropout_replays_by_seed_and_step(rng):
    batch = make_batch(rng)
    results = [one_step(model(dropout=0.3), batch, seed=seed, step=step)[0].value
               for seed, step in [(1, 5), (1, 5), (1, 6), (2, 5)]]
    assert results[0] == results[1] and len(set(results)) == 3


def test_nothing_scored(rng):
    examples = random_examples(rng, (3, 4))
    for example in examples:
        example.labels[...] = -100
    made = model()
    before = {p.name: p.value.copy() for p in made.store}
    update, after = one_step(made, pack(examples))
    assert (update.value, update.gradient_norm) == (0, 0)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite(bad):
    made = model()
    names = made.store.names()
    made.store["classifier.bias"].grad[0] = bad
    before = made.store.values.copy()
    with pytest.raises(FloatingPointError, match=f"^the gradient became {bad}$"):
        optimizer = make_optimizer(made, names, SCHEMA.settings({}), 10, 1)
        update_parameters(PendingUpdate(0, "task", names, made.store, optimizer), 1.0)
    np.testing.assert_array_equal(made.store.values, before)


def test_observers_see_the_gradients_before_they_are_used(rng):
    """An observer that records norms by parameter: their squares add up to the update's, unclipped, and nothing is changed."""
    norms: list[dict[str, float]] = []

    def record(pending: PendingUpdate) -> None:
        assert (pending.loss, pending.optimizer.steps) == ("task", len(norms))
        grads = {name: pending.store[name].grad for name in pending.names}
        norms.append({name: float(np.linalg.norm(getattr(grad, "values", grad))) for name, grad in grads.items()})

    settings = SCHEMA.settings({"optim.clip": 0.1, "optim.warmup": 0.0})
    batches, stores = [make_batch(rng), make_batch(rng)], []
    for observers in ([], [record]):
        objective = supervised(model(dropout=0.3), batches, settings)
        objective.observers += observers
        updates = [objective.step(step)[0] for step in range(2)]
        stores.append(objective.model.store)
    for update, recorded in zip(updates, norms, strict=True):
        assert set(recorded) == set(objective.subsets["task"])
        assert update.gradient_norm == pytest.approx(np.sqrt(sum(norm ** 2 for norm in recorded.values())))
        assert update.gradient_norm > 0.1, "clipped afterwards"
    np.testing.assert_array_equal(stores[0].values, stores[1].values)


def test_an_observer_may_change_the_gradients_that_are_used(rng):
    """As a sum over workers will: halved gradients, with SGD, move the parameters half as far."""
    ways = []
    for factor in (1.0, 0.5):
        settings = SCHEMA.settings({"optim.name": "sgd", "optim.lr": 0.1, "optim.schedule": "constant", "optim.warmup": 0.0,
                                    "optim.clip": 0.0})
        objective = supervised(model(), [make_batch(np.random.default_rng(3))], settings)
        before = objective.model.store.values.copy()
        objective.observers.append(lambda pending, factor=factor: pending.store.grads.__imul__(factor))
        objective.step(0)
        ways.append(objective.model.store.values - before)
    np.testing.assert_allclose(ways[1], ways[0] / 2, rtol=1e-9, atol=1e-15)


def test_groups_of_the_optimiser():
    made = model("cls")
    settings = SCHEMA.settings({"optim.lr": 1e-3, "optim.head_lr": 5e-3, "optim.weight_decay": 0.2, "optim.beta1": 0.8,
                                "optim.eps": 1e-6})
    optimizer = make_optimizer(made, made.store.names(), settings, 10, 1)
    assert isinstance(optimizer, AdamW) and (optimizer.betas, optimizer.eps) == ((0.8, 0.999), 1e-6)
    assert sorted(optimizer.names) == sorted(made.store.names())
    for group in optimizer.groups:
        for name in group.names:
            assert group.lr == (5e-3 if name.startswith(("classifier", "bert.pooler")) else 1e-3), name
            assert group.weight_decay == (0 if name.endswith("bias") or "LayerNorm" in name else 0.2), name
    same = make_optimizer(made, made.store.names(), SCHEMA.settings({"optim.lr": 1e-3}), 10, 1)
    assert {group.lr for group in same.groups} == {1e-3}, "head_lr = 0 stands for optim.lr"


@pytest.mark.parametrize("name, kind, decay", [("adamw", AdamW, 0.2), ("adam", AdamW, 0.0), ("sgd", SGD, 0.0)])
def test_optimisers_by_name(name, kind, decay):
    made = model()
    optimizer = make_optimizer(made, ["classifier.weight"], SCHEMA.settings({"optim.name": name, "optim.weight_decay": 0.2}), 10, 1)
    assert type(optimizer) is kind and optimizer.groups[0].weight_decay == decay and optimizer.names == ["classifier.weight"]


@pytest.mark.parametrize("schedule, warmup, factors", [
    ("linear", 0.4, [0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0]),
    ("linear", 0.0, [1 - i / 10 for i in range(11)]),
    ("constant", 0.4, [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]), ("constant", 0.0, [1] * 11)])
def test_schedules(schedule, warmup, factors):
    made = model()
    settings = SCHEMA.settings({"optim.schedule": schedule, "optim.warmup": warmup})
    optimizer = make_optimizer(made, made.store.names(), settings, 10, 1)
    assert [optimizer.schedule(step) for step in range(11)] == pytest.approx(factors)


@pytest.mark.parametrize("warmup", [0.0, 0.3])
def test_the_inverse_schedule_goes_by_epochs(warmup):
    """4 updates an epoch: 1/1 in the first, 1/1.5 in the second, 1/2 in the third."""
    made = model()
    settings = SCHEMA.settings({"optim.schedule": "inverse", "optim.decay": 0.5, "optim.warmup": warmup})
    optimizer = make_optimizer(made, made.store.names(), settings, 10, 4)
    rising = [0, 1 / 3, 2 / 3] if warmup else [1, 1, 1]
    assert [optimizer.schedule(step) for step in range(10)] == pytest.approx([*rising, 1, *4 * [1 / 1.5], 1 / 2, 1 / 2])


@pytest.mark.parametrize(("schedule", "floor", "ends"), [
    ("inverse", 0.02, {"bert": 0.02, "classifier": 0.5 / 11}), ("inverse", 0.2, {"bert": 0.1, "classifier": 0.2}),
    ("inverse", 0.0, {"bert": 0.1 / 11, "classifier": 0.5 / 11}), ("constant", 0.3, {"bert": 0.1, "classifier": 0.5}),
    ("linear", 0.3, {"bert": 0.0, "classifier": 0.0})])
def test_the_floor_is_that_of_every_learning_rate(rng, schedule, floor, ends):
    """The encoder's is 0.1, the head's 0.5; after 20 epochs of one update 1/11 is left.  SGD: a way is a rate times a gradient."""
    made = model()
    settings = SCHEMA.settings({"optim.name": "sgd", "optim.lr": 0.1, "optim.head_lr": 0.5, "optim.schedule": schedule,
                                "optim.decay": 0.5, "optim.floor": floor, "optim.warmup": 0.0})
    optimizer = make_optimizer(made, made.store.names(), settings, 20, 1)
    optimizer.steps = 20
    before = {p.name: p.value.copy() for p in made.store}
    made.store.grads[...] = 1
    optimizer.step()
    for name in ("bert.encoder.layer.0.output.dense.weight", "bert.encoder.layer.0.output.dense.bias", "classifier.weight"):
        np.testing.assert_allclose(before[name] - made.store[name].value, ends[name.partition(".")[0]], rtol=1e-9, atol=1e-15)
    assert optimizer.last_lr == pytest.approx(ends["bert"], abs=1e-15)
