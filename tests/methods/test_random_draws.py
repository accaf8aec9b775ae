"""Dropout of every method: drawn by the run's seed and the step, and anew for every part of a batch that is cut."""
import numpy as np
import pytest

from minixl.data.batching import Stream, split
from minixl.methods import METHODS as ALL
from minixl.methods import SCHEMA
from minixl.methods.advpicker.student import Distillation
from tests.methods.advpicker.tiny_teachers import teacher
from tests.models.hugging_face import LABELS, make_batch, random_examples

STILL = {"optim.lr": 0.0, "adversary.lr": 0.0, "adversary.discriminator_lr": 0.0, "linkage.lr": 0.0, "train.batch_size": 4}
METHODS = {                                                    # name -> settings, the losses of one step
    "finetune": ({}, ["task"]),
    "language-adversarial": ({"method": "language-adversarial", "adversary.level": "token"},
                             ["task", "discriminator", "generator"]),
    "terms": ({"adversary.level": "token", "linkage.level": "sentence"},
              ["task", "discriminator", "generator", "average linkage"]),
    "distillation": ({"method": "advpicker"}, ["task"]),
}


def method(made, examples, changes, seed: int):
    """A method none of whose updates moves anything; all of its streams deal the same batches, whatever its seed."""
    chosen = SCHEMA.settings(STILL | changes)
    of_run = ALL[chosen["method"]]
    streams = {name: Stream(examples, chosen["train.batch_size"], 5) for name in of_run.streams(chosen)}
    if chosen["method"] == "advpicker":
        targets = np.random.default_rng(1).dirichlet(np.ones(len(LABELS)), len(LABELS))
        return Distillation(made, streams, chosen, seed, 10, targets=targets)
    return of_run.make_objective(made, streams, chosen, seed, 10)


def encoded(made, monkeypatch):
    """Every pass through the encoder from now on: the generator of its dropout, and its last states."""
    passes, real = [], made.encode

    def encode(batch, *, rng=None, **options):
        hidden, cache = real(batch, rng=rng, **options)
        passes.append((rng, hidden))
        return hidden, cache

    monkeypatch.setattr(made, "encode", encode)
    return passes


def all_different(arrays) -> bool:
    return not any(np.array_equal(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


@pytest.mark.parametrize("name", METHODS)
def test_dropout_is_a_function_of_seed_and_step(rng, name):
    """The same weights and the same batch: only the masks differ."""
    made, examples, (changes, losses) = teacher(), random_examples(rng), METHODS[name]
    for example in examples:
        example.labels[...] = np.abs(example.labels) % len(LABELS)

    def values(seed: int, step: int) -> list[float]:
        ready = method(made, examples, changes, seed)
        updates = ready.step(step)
        assert [(update.loss, update.step) for update in updates] == [(loss, step) for loss in losses]
        return [update.value for update in updates]

    first = values(1, 0)
    assert values(1, 0) == first
    for other in (values(2, 0), values(1, 1), values(2, 1)):
        assert all(a != b for a, b in zip(first, other, strict=True)), losses


def test_the_losses_of_a_step_draw_masks_of_their_own(rng, monkeypatch):
    made, examples = teacher(), random_examples(rng, (5, 5, 5, 5))
    passes = encoded(made, monkeypatch)
    method(made, examples, METHODS["terms"][0], 1).step(0)
    task, *others = (hidden for _, hidden in passes)                   # the others read a batch of each language at once
    assert len(others) == 3 and all_different(others) and all_different([task, *(hidden[:len(task)] for hidden in others)])


@pytest.mark.parametrize("name", ["finetune", "language-adversarial", "distillation"])
def test_parts_of_a_batch_draw_one_after_another(rng, monkeypatch, name):
    """Parts of the same sentences have different states: one generator serves them all, none begins anew."""
    made, (changes, losses) = teacher(), METHODS[name]
    example, = random_examples(rng, (6,))
    example.labels[...] = 1
    passes = encoded(made, monkeypatch)
    method(made, [example] * 4, changes | {"train.accumulate": 4}, 1).step(0)
    assert len(passes) == 4 * len(losses)
    for i in range(0, len(passes), 4):
        generators, states = zip(*passes[i:i + 4], strict=True)
        assert all(generator is generators[0] is not None for generator in generators)
        assert len({state.shape for state in states}) == 1 and all_different(states)
    assert len({id(generator) for generator, _ in passes}) == len(losses)


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("documents", [False, True], ids=["tagger", "classifier"])
def test_parts_bring_the_kept_states_of_their_own_pieces(rng, parts, documents):
    batch = make_batch(rng, documents=documents)
    batch = batch._replace(bottom=rng.normal(size=(batch.tokens, 3)))
    pieces = split(batch, parts)
    assert all(len(piece.bottom) == piece.tokens for piece in pieces)
    np.testing.assert_array_equal(np.concatenate([piece.bottom for piece in pieces]), batch.bottom)
