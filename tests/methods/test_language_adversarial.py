"""Whole iterations T, D, G against PyTorch, what each update may move, parts of a batch, planted mistakes, planted languages."""
from __future__ import annotations

from math import log

import numpy as np
import pytest

from minixl.data.batching import Batch, pack
from minixl.errors import UserError
from minixl.methods import METHODS, SCHEMA, adversary, languages, linkage
from minixl.methods.finetune import Supervised
from minixl.models.transformer import Transformer
from minixl.optim import constant
from minixl.settings import Settings
from minixl.training.objective import Composition
from tests.methods.planted_languages import make_model, make_streams, told_apart
from tests.methods.twin_language_adversarial import Trainer, Twin
from tests.models.hugging_face import gradient, random_examples
from tests.mutants import mutant
from tests.training.one_update import Dealt

KEUNG = {"optim.name": "adam", "optim.schedule": "constant", "optim.warmup": 0.0, "optim.clip": 0.0, "optim.lr": 1e-3,
         "optim.head_lr": 2e-3, "adversary.level": "sentence", "adversary.lr": 3e-4, "adversary.discriminator_lr": 5e-3}
ADVPICKER = KEUNG | {"optim.name": "adamw", "optim.schedule": "linear", "optim.warmup": 0.2, "optim.weight_decay": 0.1,
                     "adversary.level": "token", "adversary.weight_decay": 0.2}
STREAMS = {**Supervised.STREAMS, **adversary.Adversary.STREAMS}
FROZEN = ["bert.embeddings.*", "bert.encoder.layer.0.*"]
CASES = {"Keung, tagger": ("token", [], KEUNG),
         "Keung, classifier": ("mean", [], KEUNG | {"adversary.specials": False, "adversary.every": 2}),
         "Keung, clipped": ("token", [], KEUNG | {"optim.clip": 0.5, "train.accumulate": 3}),
         "AdvPicker": ("token", FROZEN, ADVPICKER),
         "AdvPicker, all trained": ("token", [], ADVPICKER | {"adversary.specials": False, "adversary.order": "generator-first"})}


def make_batches(rng, count: int, pooling: str) -> dict[str, list[Batch]]:
    """`count` batches a stream, of different sizes for the two languages."""
    return {name: [pack(random_examples(rng, rng.integers(1, 9, 5 if name.startswith("source") else 3), 40,
                                        documents=pooling == "mean")) for _ in range(count)]
            for name in STREAMS}


def method(made: Transformer, batches: dict[str, list[Batch]], settings: Settings, total: int, module=adversary, epoch: int = 1):
    """The method over these batches, D and G by `module`."""
    streams = {name: Dealt(given, epoch) for name, given in batches.items()}
    return Composition(Supervised(made, streams, settings, 1, total), [module.Adversary(made, streams, settings, 1, total)])


def assert_equals_twin(rng, case: str, steps: int, module=adversary) -> None:
    """Values, accuracies and every parameter after `steps` iterations, within 1e-6 of the way the parameter went."""
    pooling, freeze, changed = CASES[case]
    settings = SCHEMA.settings(changed)
    made, batches = make_model(settings, pooling, freeze), make_batches(rng, steps, pooling)
    before = {p.name: p.value.copy() for p in made.store}
    twin = Twin(made)
    trainer, ours = Trainer(twin, settings, steps), method(made, batches, settings, steps, module)
    for step in range(steps):
        expected, updates = trainer.iteration(step, batches), ours.step(step)
        for update, theirs in zip(updates, expected, strict=True):
            assert (update.step, update.loss) == (step, theirs.loss)
            assert update.value == pytest.approx(theirs.value, rel=1e-7)
            assert update.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-6)
            assert update.accuracy == (None if theirs.accuracy is None else pytest.approx(theirs.accuracy, abs=1e-12))
    for name, parameter in twin.named_parameters():
        expected = parameter.detach().numpy()
        way = max(np.abs(expected - before[name]).max(), 1e-4)
        if "key.bias" in name:                                         # its gradient is rounding, which Adam enlarges
            way = steps * 1e-3
        np.testing.assert_allclose(made.store[name].value, expected, rtol=0, atol=1e-6 * way, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_twenty_iterations_equal_pytorch(rng, case):
    assert_equals_twin(rng, case, 20)


RETURN = "return self.update(step, loss, value, both.tokens, correct)"
MISTAKES = [
    ("labels not exchanged", "1 - label if flipped else label", "label"),
    ("labels always exchanged", "1 - label if flipped else label", "1 - label"),
    ("only the target's labels exchanged", "1 - label if flipped else label",
     "1 - label if flipped and label == TARGET else label"),
    ("one mean over both languages", "share = len(own) / total", "share = len(own) / sum(totals)"),
    ("gradient of a sum", "own.dtype.type(share)", "own.dtype.type(len(own))"),
    ("gradient of a part not weighted", "own.dtype.type(share)", "own.dtype.type(1)"),
    ("border counts the whole batch", "np.clip(starts[sources], starts[first], starts[last]) - starts[first]", "starts[sources]"),
    ("border counts sentences", "int(starts[sources]), int(starts[-1] - starts[sources])",
     "sources, len(starts) - 1 - sources"),
    ("gradients not set to zero",
     RETURN, "self.optimizers[loss].step()\n        return Update(step, loss, 0.0, 0.0, 0.0, 0)"),
    ("D's gradient stays in the encoder, as in one public implementation", RETURN, RETURN.replace("return", "record =") + """
        if loss == "discriminator":
            hidden, encoder = self.model.encode(both)
            logits, cache = self._logits(hidden, both)
            judged = languages_loss(logits, Languages.of(starts, len(source.order), 0, len(both.order)), flipped=False)
            self.model.encode_backward(discriminator_backward(judged.dlogits, cache)[0], encoder)
        return record"""),
    ("the generator reads the discriminator's batch", "next(self.streams[f\"target/{loss}\"])",
     "next(self.streams[\"target/discriminator\"])"),
    ("order exchanged", "== GENERATOR_FIRST", "!= GENERATOR_FIRST"),
    ("every iteration", "if step % self.settings[\"adversary.every\"]:", "if False:"),
    ("schedule of all iterations", "-(-self.total_steps // every)", "2 * self.total_steps"),
    ("decay on the discriminator", "settings[\"adversary.discriminator_lr\"], 0.0)",
     "settings[\"adversary.discriminator_lr\"], 0.1)"),
    ("no decay on the encoder", "settings[\"adversary.weight_decay\"])):", "0.0)):"),
    ("learning rates exchanged", "settings[\"adversary.lr\"], ", "settings[\"adversary.discriminator_lr\"], "),
    ("the generator moves the discriminator",
     "(\"generator\", model.trained_encoder_names(),",
     "(\"generator\", model.trained_encoder_names() + model.discriminator_names(),"),
    ("special pieces always", "specials=self.settings[\"adversary.specials\"])\n", "specials=True)\n"),
    ("accuracy of the flipped labels", "(label == SOURCE)).mean()", "((label == SOURCE) != flipped)).mean()"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_caught(rng, what, old, new):
    changed = mutant("minixl.methods.adversary", old, new)
    for case in CASES:
        try:
            assert_equals_twin(rng, case, 3, changed)
        except (AssertionError, ValueError):
            return
    pytest.fail(f"no comparison notices: {what}")


def gradients(made: Transformer, names) -> float:
    """The largest gradient of `names`."""
    return max(np.abs(gradient(made, name)).max() for name in names)


@pytest.mark.parametrize("case", CASES)
def test_what_each_update_may_move(rng, case):
    """Bit for bit: T no discriminator; D nothing else; G the trainable encoder alone.  No gradient is left over."""
    pooling, freeze, changed = CASES[case]
    settings = SCHEMA.settings(changed)
    made = make_model(settings, pooling, freeze, dropout=0.1)
    ours = method(made, make_batches(rng, 1, pooling), settings, 4)
    trainable = set(made.store.names(trainable=True))
    allowed = {"task": trainable - set(made.discriminator_names()), "discriminator": set(made.discriminator_names()),
               "generator": set(made.encoder_names()) & trainable}
    assert {loss: set(names) for loss, names in ours.subsets.items()} == allowed
    for loss in ("task", "discriminator", "generator"):
        before = {p.name: p.value.copy() for p in made.store}
        ours.optimizers[loss].schedule = constant                        # a warm-up begins with a step of length 0
        if loss == "task":
            ours.parts[0].step(0)
        else:
            ours.parts[1].update_against(0, loss)
        assert {name for name, value in before.items() if (made.store[name].value != value).any()} == allowed[loss]
        assert gradients(made, made.store.names()) == 0


@pytest.mark.parametrize("level", [KEUNG, ADVPICKER], ids=["sentence", "token"])
def test_the_discriminators_gradient_never_enters_the_encoder(rng, level):
    """Before anything is set to zero: D leaves gradients in the discriminator alone, G in the encoder alone."""
    settings = SCHEMA.settings(level)
    made = make_model(settings)
    ours, batches = method(made, make_batches(rng, 1, "token"), settings, 4).parts[1], make_batches(rng, 1, "token")
    batch = languages.join(batches["source/generator"][0], batches["target/generator"][0])
    count = len(batch.order) if settings["adversary.level"] == "sentence" else batch.tokens
    sides = adversary.Languages(count // 2, count // 2, count - count // 2)
    for gradients_of, moved, still in ((ours.discriminator_gradients, made.discriminator_names(), made.encoder_names()),
                                       (ours.generator_gradients, made.encoder_names(), made.discriminator_names())):
        gradients_of(batch, None, sides)
        assert all(gradients(made, [name]) > 0 for name in moved)
        assert gradients(made, still + made.head_names()) == 0
        made.store.zero_grad()


def test_an_undecided_discriminator_costs_two_ln_2_either_way(rng):
    settings = SCHEMA.settings(KEUNG)
    made = make_model(settings)
    for name in made.discriminator_names():
        made.store[name].value[...] = 0
    ours = method(made, make_batches(rng, 1, "token"), SCHEMA.settings(KEUNG | {"adversary.discriminator_lr": 0.0}), 4)
    _, discriminator, generator = ours.step(0)
    assert discriminator.value == pytest.approx(2 * log(2), rel=1e-12) == pytest.approx(generator.value, rel=1e-12)
    assert generator.gradient_norm == 0, "weights of zero pass nothing on"


def test_three_optimisers_share_nothing(rng):
    settings = SCHEMA.settings(ADVPICKER)
    ours = method(make_model(settings), make_batches(rng, 2, "token"), settings, 4)
    for step in range(2):
        ours.step(step)
    optimizers = ours.optimizers
    assert list(optimizers) == ["task", "discriminator", "generator"] and [o.steps for o in optimizers.values()] == [2, 2, 2]
    held = [array for o in optimizers.values() for state in (*o.span_state, *o.table_state) for array in state.values()]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(held) for b in held[:i])


@pytest.mark.parametrize("parts", [2, 3, 50])
@pytest.mark.parametrize("case", ["Keung, classifier", "AdvPicker, all trained"])
def test_parts_change_nothing(rng, case, parts):
    pooling, freeze, changed = CASES[case]
    batches, stores, updates = make_batches(rng, 2, pooling), [], []
    for accumulate in (1, parts):
        settings = SCHEMA.settings(changed | {"train.accumulate": accumulate, "optim.warmup": 0.0})
        ours = method(make_model(settings, pooling, freeze), batches, settings, 4)
        updates.append([update for step in range(2) for update in ours.step(step)])
        stores.append(ours.model.store)
    for one, other in zip(*updates, strict=True):
        assert other._replace(value=0, gradient_norm=0, accuracy=0) == one._replace(value=0, gradient_norm=0, accuracy=0)
        for name in ("value", "gradient_norm") + (("accuracy",) if one.accuracy is not None else ()):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)
    for parameter in stores[0]:
        if "key.bias" not in parameter.name:                               # its gradient is rounding, which Adam enlarges
            np.testing.assert_allclose(stores[1][parameter.name].value, parameter.value, rtol=0, atol=1e-9, err_msg=parameter.name)


def test_dropout_is_on_and_replays(rng):
    """In D and in G, with masks of their own, given by seed and step."""
    settings = SCHEMA.settings(KEUNG | {"adversary.lr": 0.0, "adversary.discriminator_lr": 0.0})
    batches = make_batches(rng, 1, "token")
    batches |= {f"{side}/generator": batches[f"{side}/discriminator"] for side in ("source", "target")}
    runs = [method(make_model(settings, dropout=p), batches, settings, 4).parts[1].step(step)
            for p, step in ((0.3, 0), (0.3, 0), (0.3, 1), (0.0, 0))]
    assert runs[0] == runs[1]
    for loss in (0, 1):
        assert len({run[loss].value for run in runs}) == 3
    masks = [loss.masks for part in (Supervised, *METHODS["finetune"].terms) for loss in part.LOSSES.values()]
    assert len(set(masks)) == len(masks) == 6, "no two losses of a step share their masks"


def test_joined_batches_are_read_as_each_alone(rng):
    made = make_model(SCHEMA.settings(KEUNG))
    batches = make_batches(rng, 1, "token")
    source, target = batches["source"][0], batches["target/generator"][0]
    joined = languages.join(source, target)
    np.testing.assert_allclose(made.encode(joined)[0], np.concatenate([made.encode(batch)[0] for batch in (source, target)]),
                               rtol=1e-10)
    np.testing.assert_array_equal(joined.input_ids[joined.rows[len(source.rows):]], target.input_ids[target.rows])
    assert sorted(joined.order) == list(range(8)) and joined.bottom is None
    kept = [batch._replace(bottom=rng.normal(size=(batch.tokens, 3))) for batch in (source, target)]
    np.testing.assert_array_equal(languages.join(*kept).bottom, np.concatenate([batch.bottom for batch in kept]))
    assert languages.join(source, kept[1]).bottom is None


@pytest.mark.parametrize("every", [1, 3])
def test_the_inverse_schedule_of_every_loss_goes_by_epochs_of_the_source(rng, every):
    """4 iterations an epoch: iterations 0, 3, 6, 9 are in epochs 0, 0, 1, 2."""
    settings = SCHEMA.settings(KEUNG | {"optim.schedule": "inverse", "optim.decay": 1.0, "adversary.every": every,
                                        "linkage.lr": 1e-4, "optim.floor": 2e-4})
    batches = make_batches(rng, 10, "token") | {name: [] for name in linkage.AverageLinkage.STREAMS}
    ours = method(make_model(settings), batches, settings, 10, epoch=4)
    updates = [update for step in range(10) for update in ours.step(step)]
    for loss, rate in (("task", 1e-3), ("discriminator", 5e-3), ("generator", 3e-4)):
        found = {u.step: u.lr for u in updates if u.loss == loss}
        assert list(found) == list(range(0, 10, 1 if loss == "task" else every))
        assert found == pytest.approx({step: max(rate / (1 + step // 4), 2e-4) for step in found})
    streams = {name: Dealt(given, 4) for name, given in batches.items()}
    schedule = linkage.AverageLinkage(ours.model, streams, settings, 1, 10).optimizers[linkage.LOSS].schedule
    assert [schedule(step) for step in range(9)] == pytest.approx([1, 1, 1, 1, 1 / 2, 1 / 2, 1 / 2, 1 / 2, 1 / 3])


def test_nothing_to_move():
    settings = SCHEMA.settings(KEUNG)
    with pytest.raises(UserError, match="^model.freeze: all parameters of the encoder are frozen, .*; freeze fewer$"):
        method(make_model(settings, freeze=["bert.*"]), {"source": []}, settings, 1)


PLANTED = KEUNG | {"optim.schedule": "linear", "optim.beta1": 0.5, "optim.beta2": 0.9}
RATES = {"sentence": 1.0, "token": 5e-2}


@pytest.mark.parametrize("level", RATES)
def test_planted_languages_are_confused(level):
    """A fresh linear probe on sentences tells the languages apart without G, and hardly with it."""
    told = {}
    for generator, iterations in ((0.0, 100), (1e-3, 300)):
        settings = SCHEMA.settings(PLANTED | {"adversary.level": level, "adversary.lr": generator,
                                              "adversary.discriminator_lr": RATES[level]})
        made, streams = make_streams(STREAMS, settings)
        ours = METHODS["language-adversarial"].make_objective(made, streams, settings, 1, iterations)
        updates = [ours.step(step) for step in range(iterations)]
        told[generator] = told_apart(made), np.mean([update[1].accuracy for update in updates[-20:]])
    assert min(told[0.0]) > 0.95 and max(told[1e-3]) < 0.8, told
