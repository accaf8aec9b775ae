"""Optimisers against torch.optim, clipping, schedules, row-sparse tables, and their state."""
import numpy as np
import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from minixl import optim
from minixl.ops.embedding import sum_rows
from minixl.optim import SGD, AdamW, Group, clip_gradients, decay_groups, gradient_norm, linear_schedule
from minixl.parameters import ParameterStore
from tests.ops.checks import assert_close

SHAPES = {"table": (11, 3), "a.weight": (5, 7), "a.bias": (5,), "frozen.weight": (3, 3), "b.weight": (2, 5),
          "LayerNorm.weight": (5,), "LayerNorm.bias": (5,)}
NAMES = [name for name in SHAPES if not name.startswith("frozen")]
LOOKED_UP = [[3, 1, 3], [3], [], [7, 3], [1], [9, 9, 9, 0]]              # ids of the table, step by step
WARMUP, CLIP = 2, 8.0


def groups(lr: float = 0.05, decay: float = 0.1) -> list[Group]:
    """Parameters with and without weight decay, and one with its own learning rate."""
    return [Group(("table", "a.weight"), lr, decay), Group(("a.bias", "LayerNorm.weight", "LayerNorm.bias"), lr),
            Group(("b.weight",), 3 * lr, decay)]


def filled_store(rng, dtype=np.float64) -> ParameterStore:
    store = ParameterStore(SHAPES, tables=["table"], dtype=dtype)
    for parameter in store:
        parameter.value[...] = rng.normal(size=parameter.value.shape)
    return store


def draw(rng, ids: list[int], scale: float, store: ParameterStore) -> dict[str, np.ndarray]:
    """Fill the store with random gradients (the table's only for `ids`); return them, dense, by name."""
    drawn = {name: scale * rng.normal(size=shape) for name, shape in SHAPES.items() if name != "table"}
    values = scale * rng.normal(size=(len(ids), 3))
    store.zero_grad()
    store.accumulate("", {name: value.astype(store.dtype) for name, value in drawn.items()})
    if ids:
        store.accumulate("", {"table": sum_rows(np.array(ids), values.astype(store.dtype))})
    drawn["table"] = np.zeros(SHAPES["table"])
    np.add.at(drawn["table"], np.array(ids, int), values)
    return drawn


def as_torch(store: ParameterStore) -> dict[str, torch.nn.Parameter]:
    return {name: torch.nn.Parameter(torch.tensor(store[name].value.astype(np.float64))) for name in NAMES}


def adamw_equals_torch(module, rng, eps: float = 1e-2) -> None:
    """Clipping, warm-up, AdamW: 18 steps in float64 against torch, tables included.  eps is large, so that mistakes in it show."""
    store = filled_store(rng)
    theirs = as_torch(store)
    steps = 3 * len(LOOKED_UP)
    ours = module.AdamW(store, groups(), module.linear_schedule(steps, WARMUP), betas=(0.8, 0.95), eps=eps)
    reference = torch.optim.AdamW([{"params": [theirs[n] for n in group.names], "lr": group.lr,
                                    "weight_decay": group.weight_decay} for group in groups()], betas=(0.8, 0.95), eps=eps)
    schedule = get_linear_schedule_with_warmup(reference, WARMUP, steps)
    for step in range(steps):
        drawn = draw(rng, LOOKED_UP[step % len(LOOKED_UP)], 0.3 if step % 2 else 3.0, store)
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(drawn[name])
        norm = module.clip_gradients(store, NAMES, CLIP)
        assert_close(norm, float(torch.nn.utils.clip_grad_norm_(theirs.values(), CLIP)), 1e-12, "norm")
        assert (norm > CLIP) == (step % 2 == 0), "both sides of the limit should occur"
        ours.step()
        reference.step()
        schedule.step()
        for name, parameter in theirs.items():
            assert_close(store[name].value, parameter.detach().numpy(), 1e-9, f"{name} after step {step}")


def test_adamw_equals_torch(rng):
    adamw_equals_torch(optim, rng)
    adamw_equals_torch(optim, rng, eps=1e-8)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_equals_torch(rng, decay):
    store = filled_store(rng)
    theirs = as_torch(store)
    names = [name for name in NAMES if name != "table"]
    ours = SGD(store, [Group(tuple(names), 0.1, decay)])
    reference = torch.optim.SGD([theirs[name] for name in names], lr=0.1, weight_decay=decay)
    for _ in range(4):
        drawn = draw(rng, [], 1.0, store)
        for name in names:
            theirs[name].grad = torch.tensor(drawn[name])
        ours.step()
        reference.step()
    for name in names:
        assert_close(store[name].value, theirs[name].detach().numpy(), 1e-12, name)


def test_float32_is_close(rng):
    state = rng.bit_generator.state
    stores = []
    for dtype in (np.float64, np.float32):
        rng.bit_generator.state = state
        store = filled_store(rng, dtype)
        optimizer = AdamW(store, groups())
        for ids in LOOKED_UP:
            draw(rng, ids, 1.0, store)
            optimizer.step()
        stores.append(store)
    for wide, narrow in zip(*stores, strict=True):
        assert narrow.value.dtype == np.float32
        np.testing.assert_allclose(narrow.value, wide.value, rtol=1e-4, atol=1e-5)


def test_only_the_parameters_of_its_groups_change(rng):
    """Neighbours in the flat buffer are updated together, but not the parameters between them."""
    store = filled_store(rng)
    before = {p.name: p.value.copy() for p in store}
    optimizer = AdamW(store, [Group(("a.weight", "b.weight", "LayerNorm.bias"), 0.1, 0.1)])
    draw(rng, [1, 2], 1.0, store)
    optimizer.step()
    changed = {name for name, value in before.items() if (store[name].value != value).any()}
    assert changed == {"a.weight", "b.weight", "LayerNorm.bias"}


def test_the_step_does_not_change_gradients(rng):
    store = filled_store(rng)
    drawn = draw(rng, [4, 4, 2], 1.0, store)
    AdamW(store, groups()).step()
    for name in NAMES:
        if name != "table":
            np.testing.assert_array_equal(store[name].grad, drawn[name])
    assert_close(store["table"].grad.values, drawn["table"][[2, 4]], 1e-15)


def test_moments_are_found_by_parameter(rng):
    store = filled_store(rng)
    optimizer = AdamW(store, groups())
    drawn = draw(rng, [3, 1, 3], 1.0, store)
    optimizer.step()
    for name in NAMES:
        moments = optimizer.moments_of(name)
        assert_close(moments["m"], 0.1 * drawn[name], 1e-12, name)
        assert_close(moments["v"], 0.001 * drawn[name] ** 2, 1e-12, name)
    assert SGD(store, groups()).moments_of("a.bias") == {}
    with pytest.raises(KeyError, match="frozen.weight"):
        optimizer.moments_of("frozen.weight")


@pytest.mark.parametrize("used", [False, True], ids=["fresh optimiser", "used optimiser"])
def test_state_continues_bit_by_bit(rng, used):
    store = filled_store(rng)
    optimizer = AdamW(store, groups(), linear_schedule(10, 2))
    for ids in LOOKED_UP[:3]:
        draw(rng, ids, 1.0, store)
        optimizer.step()
    state = {key: np.array(value) for key, value in optimizer.state_dict().items()}
    kept, generator = {p.name: p.value.copy() for p in store}, rng.bit_generator.state

    def continue_training(optimizer):
        rng.bit_generator.state = generator
        for parameter in store:
            parameter.value[...] = kept[parameter.name]
        for ids in LOOKED_UP[3:]:
            draw(rng, ids, 1.0, store)
            optimizer.step()
        return {p.name: p.value.copy() for p in store}

    expected = continue_training(optimizer)
    second = optimizer if used else AdamW(store, groups(), linear_schedule(10, 2))
    second.load_state_dict(state)
    assert second.steps == 3
    for name, value in continue_training(second).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("total, warmup", [(10, 3), (10, 0), (5, 5), (1, 0)])
def test_linear_schedule_is_that_of_transformers(total, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimizer, warmup, total)
    ours = linear_schedule(total, warmup)
    for step in range(total):
        assert ours(step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        theirs.step()
    assert ours(total + 3) == 0


def test_clipping_below_the_limit_changes_nothing(rng):
    store = filled_store(rng)
    drawn = draw(rng, [1, 5], 1.0, store)
    norm = np.sqrt(sum((drawn[name] ** 2).sum() for name in NAMES))
    assert gradient_norm(store, NAMES) == pytest.approx(norm, rel=1e-12)
    assert clip_gradients(store, NAMES, 1.001 * norm) == pytest.approx(norm, rel=1e-12)
    np.testing.assert_array_equal(store["a.weight"].grad, drawn["a.weight"])
    clip_gradients(store, NAMES, norm / 4)
    assert gradient_norm(store, NAMES) == pytest.approx(norm / 4, rel=1e-5)


def test_biases_and_layernorm_are_not_decayed(rng):
    store = filled_store(rng)
    decayed, plain = decay_groups(store, NAMES, 0.1, 0.01)
    assert (decayed.names, decayed.weight_decay) == (("table", "a.weight", "b.weight"), 0.01)
    assert (plain.names, plain.weight_decay) == (("a.bias", "LayerNorm.weight", "LayerNorm.bias"), 0)
    assert decay_groups(store, ["a.bias"], 0.1, 0.01) == [Group(("a.bias",), 0.1)]


def test_a_parameter_in_two_groups_is_named(rng):
    with pytest.raises(ValueError, match="^optimizer: a.bias is in more than one group$"):
        AdamW(filled_store(rng), [Group(("a.bias",), 0.1), Group(("b.weight", "a.bias"), 0.1)])


def test_large_spans_on_threads_equal_torch(rng, monkeypatch):
    monkeypatch.setattr("minixl.backend.BLOCK", 16)
    monkeypatch.setattr("minixl.backend.WORTH_A_THREAD", 0, raising=False)
    monkeypatch.setattr("minixl.backend.threads", lambda: 3)
    adamw_equals_torch(optim, rng)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_table_of_which_every_row_was_looked_up_equals_torch(rng, monkeypatch, decay):
    """In place and in blocks, from the second step on; some rows have no gradient in later steps."""
    monkeypatch.setattr("minixl.backend.WORTH_A_THREAD", 0)
    monkeypatch.setattr("minixl.backend.BLOCK", 128)
    store = ParameterStore({"table": (40, 30), "other": (2,)}, tables=["table"], dtype=np.float64)
    store["table"].value[...] = rng.normal(size=(40, 30))
    tensor = torch.nn.Parameter(torch.tensor(store["table"].value))
    ours = AdamW(store, [Group(("table",), 0.05, decay)])
    theirs = torch.optim.AdamW([tensor], lr=0.05, weight_decay=decay)
    for step in range(6):
        ids = np.arange(20) if not step else np.arange(20, 40) if step == 1 else rng.integers(0, 40, 7)
        values = rng.normal(size=(len(ids), 30))
        store.accumulate("", {"table": sum_rows(ids, values)})
        dense = np.zeros((40, 30))
        np.add.at(dense, ids, values)
        tensor.grad = torch.tensor(dense)
        ours.step()
        theirs.step()
        store.zero_grad()
        assert_close(store["table"].value, tensor.detach().numpy(), 1e-9, f"step {step}")
    assert ours.active[0].all()


def test_exponential_schedule_is_that_of_torch():
    """The learning rate after every epoch of four steps, times 0.9."""
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    theirs, ours = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), optim.exponential_schedule(4, 0.1)
    for epoch in range(5):
        assert [ours(4 * epoch + i) for i in range(4)] == pytest.approx([optimizer.param_groups[0]["lr"]] * 4)
        optimizer.step()
        theirs.step()
    assert optim.exponential_schedule(4, 1.0)(3) == 1 and optim.exponential_schedule(4, 1.0)(4) == 0


def test_delayed_schedule():
    factors = [optim.delayed_schedule(2, 6)(step) for step in range(8)]
    assert factors == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert [optim.delayed_schedule(0, 0)(step) for step in range(3)] == [0, 1, 1]


def test_a_group_may_have_a_schedule_of_its_own(rng):
    """Beside another one with the optimiser's, as two parameter groups of torch with a schedule each."""
    store = filled_store(rng)
    first, second = NAMES[::2], NAMES[1::2]
    own, shared = (lambda step: 0.5 ** step), (lambda step: 1 / (1 + step))
    ours = AdamW(store, [Group(tuple(first), 0.05), Group(tuple(second), 0.02, schedule=own)], shared)
    tensors = as_torch(store)
    theirs = torch.optim.Adam([{"params": [tensors[name] for name in first], "lr": 0.05},
                               {"params": [tensors[name] for name in second], "lr": 0.02}])
    schedule = torch.optim.lr_scheduler.LambdaLR(theirs, [shared, own])
    for _ in range(4):
        drawn = draw(rng, [0, 2], 1.0, store)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(drawn[name])
        ours.step()
        theirs.step()
        schedule.step()
        assert ours.last_lr == pytest.approx(0.05 * shared(ours.steps - 1))
        store.zero_grad()
    for name, tensor in tensors.items():
        assert_close(store[name].value, tensor.detach().numpy(), 1e-9, name)
