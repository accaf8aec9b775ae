"""Workers: gradients of the parts of a batch, computed at the same time, are those of the whole, whatever the number of threads."""
import numpy as np
import pytest

from minixl.backend import recording
from minixl.blas import using_threads
from minixl.data.batching import pack
from minixl.methods import METHODS, SCHEMA
from minixl.models.bert import WORD_TABLE
from minixl.ops.embedding import sum_rows
from minixl.training import update
from minixl.training.update import WORTH_A_WORKER, WORTH_WORKERS, workers_for
from tests.models.hugging_face import make_batch, random_examples
from tests.training.one_update import Dealt, supervised
from tests.training.test_update import model, one_step


def assert_same(parameters: dict, others: dict) -> None:
    for name, value in parameters.items():
        np.testing.assert_array_equal(others[name], value, err_msg=name)


@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("parts", [1, 2])
def test_workers_change_nothing_without_dropout(rng, pooling, workers, parts):
    """Pieces hold different numbers of scored words, some of eight hold no sentence; loss, norm and step are the whole's."""
    batch = make_batch(rng, documents=pooling != "token")
    expected, parameters = one_step(model(pooling), batch, "train.workers=1")
    found, others = one_step(model(pooling), batch, f"train.workers={workers}", f"train.accumulate={parts}")
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-10)
    for name, value in parameters.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bits_on_any_number_of_threads(rng, threads):
    batch, settings = make_batch(rng), ("train.workers=3", "train.accumulate=2")
    with using_threads(1):
        expected, parameters = one_step(model(dropout=0.3), batch, *settings)
    with using_threads(threads):
        found, others = one_step(model(dropout=0.3), batch, *settings)
    assert found == expected
    assert_same(parameters, others)


def test_every_worker_draws_masks_of_its_own(rng, monkeypatch):
    """Two workers with the same sentences have different states; the same seed and step draw the same masks again."""
    example, = random_examples(rng, (6,))
    example.labels[...] = 1
    batch, made, states = pack([example] * 4), model(dropout=0.3), []
    forward = made.bert.forward

    def recorded(*arguments, **options):
        hidden, cache = forward(*arguments, **options)
        states.append(hidden)
        return hidden, cache

    monkeypatch.setattr(made.bert, "forward", recorded)
    settings = SCHEMA.settings({"train.workers": 2, "optim.lr": 0.0, "optim.head_lr": 0.0})
    with using_threads(1):
        for seed, step in ((1, 0), (1, 0), (1, 1), (2, 0)):
            supervised(made, [batch] * 2, settings, seed=seed).step(step)
    assert len(states) == 8 and len({state.shape for state in states}) == 1
    first, again, *others = [tuple(states[i:i + 2]) for i in range(0, 8, 2)]
    assert not np.array_equal(*first)
    assert_same(dict(enumerate(first)), dict(enumerate(again)))
    for other in others:
        assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_recorded_step_has_the_same_bits(rng):
    """A recorder sees one call after another, worker by worker."""
    batch, calls = make_batch(rng), []
    expected, parameters = one_step(model(dropout=0.3), batch, "train.workers=2")
    with using_threads(2), recording(calls.append):
        found, others = one_step(model(dropout=0.3), batch, "train.workers=2")
    assert found == expected
    assert_same(parameters, others)
    assert sum(call.name == "softmax_cross_entropy_forward" for call in calls) == 2


def test_an_error_in_a_worker_reaches_the_caller_and_the_next_step_collects_nothing(rng, monkeypatch):
    made, batch = model(), make_batch(rng)
    real = made.loss_backward
    monkeypatch.setattr(made, "loss_backward", lambda *arguments: 1 / 0)
    with using_threads(2), pytest.raises(ZeroDivisionError):
        one_step(made, batch, "train.workers=2")
    monkeypatch.setattr(made, "loss_backward", real)
    made.store.zero_grad()
    _, parameters = one_step(made, batch, "train.workers=2")
    assert_same(one_step(model(), batch, "train.workers=2")[1], parameters)


def test_gradients_kept_apart(rng):
    """They are added up by name, dense and row-sparse, without frozen ones; the store's own do not change before the end."""
    store = model().store
    store.freeze(["classifier.bias"])
    weight, table = store["classifier.weight"].value, store[WORD_TABLE]
    rows = [sum_rows(np.array(ids), rng.normal(size=(len(ids), table.value.shape[1]))) for ids in ([1, 2, 1], [2, 5])]
    with store.collecting() as collected:
        for sparse in rows:
            store.accumulate("", {"classifier": {"weight": np.ones_like(weight), "bias": np.ones(len(weight))},
                                  WORD_TABLE: sparse})
        other = model().store
        other.accumulate("classifier", {"weight": np.ones_like(weight)})
        assert (other["classifier.weight"].grad == 1).all(), "only this store's are kept apart"
    assert not store.grads.any() and table.grad is None
    assert set(collected) == {"classifier.weight", WORD_TABLE}
    store.accumulate("", collected)
    assert (store["classifier.weight"].grad == 2).all() and table.grad.rows.tolist() == [1, 2, 5]
    np.testing.assert_allclose(table.grad.values[1], rows[0].values[1] + rows[1].values[0])


@pytest.mark.parametrize(("tokens", "threads", "expected"), [
    (2 * WORTH_A_WORKER - 1, 4, 1), (2 * WORTH_A_WORKER, 4, 2), (3 * WORTH_A_WORKER, 2, 2), (100 * WORTH_A_WORKER, 1, 1)])
def test_the_rule(rng, tokens, threads, expected):
    class Store:
        xp, values = np, np.zeros(WORTH_WORKERS)

    batch = make_batch(rng)
    batch = batch._replace(starts=np.array([0, tokens]))
    with using_threads(threads):
        assert workers_for(batch, Store) == expected
        Store.values = np.zeros(WORTH_WORKERS - 1)
        assert workers_for(batch, Store) == 1, "a small model"
        Store.values, Store.xp = np.zeros(WORTH_WORKERS), None
        assert workers_for(batch, Store) == 1, "on a GPU"


def test_the_rule_applies_where_the_setting_is_0(rng, monkeypatch):
    """With more pieces than the rule asks for, the step is that of two workers on two threads, and of none otherwise."""
    monkeypatch.setattr(update, "WORTH_A_WORKER", 4)
    monkeypatch.setattr(update, "WORTH_WORKERS", 1)
    batch = make_batch(rng)
    for threads, workers in ((1, 1), (2, 2)):
        with using_threads(threads):
            assert_same(one_step(model(dropout=0.3), batch, f"train.workers={workers}")[1], one_step(model(dropout=0.3), batch)[1])


def test_a_perturbed_step_has_no_workers(rng):
    """The perturbation of a whole batch needs the gradients of all of its parts first."""
    batch = make_batch(rng)

    def after(workers: int):
        made = model(dropout=0.3)
        settings = SCHEMA.settings({"perturbation.kind": "adversarial", "train.workers": workers, "optim.warmup": 0.0})
        objective = METHODS["finetune"].make_objective(made, {"source": Dealt([batch])}, settings, 1, 10)
        value = objective.step(0)[0].value
        return value, {p.name: p.value.copy() for p in made.store}

    (value, parameters), (other, others) = after(1), after(3)
    assert value == other
    assert_same(parameters, others)
