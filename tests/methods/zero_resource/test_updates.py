"""Twenty steps of augmented fine-tuning against PyTorch: losses, norms, the pseudo-labels of every round, all parameters."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.data.batching import Stream
from minixl.data.encoding import Encoded
from minixl.methods import SCHEMA
from minixl.methods.zero_resource import augmented
from minixl.methods.zero_resource.labels import predict, with_labels
from minixl.methods.zero_resource.rounds import batches, plan
from minixl.models.bilstm_crf_config import CHAR_TABLE, TARGET, WORD_TABLE
from tests.models import test_augmented_tagger as tagger
from tests.models.test_augmented_tagger import FIXED, Twin
from tests.models.test_bilstm_crf import SENTENCES, examples_of
from tests.mutants import mutant

STEPS, SEED, BATCH = 20, 7, 2
SGD = {"optim.name": "sgd", "optim.lr": 0.1, "optim.schedule": "inverse", "optim.decay": 0.5, "optim.floor": 0.02,
       "optim.warmup": 0.0, "optim.clip": 1.0}
ADAM = {"optim.name": "adam", "optim.lr": 3e-3, "optim.schedule": "constant", "optim.warmup": 0.0, "optim.clip": 5.0}
LENGTHS = np.array([len(sentence) for sentence in SENTENCES])


def settings(changes):
    return SCHEMA.settings({"method": "zero-resource", "model.type": "augmented-tagger", "train.batch_size": BATCH,
                            "zero_resource.shortest": 4, "zero_resource.longest": 7, "zero_resource.round_steps": 3, **changes})


class Labels:
    """The pseudo-labels of a round, from the source model of its first step; keeps them."""

    def __init__(self, examples):
        self.examples, self.made = examples, []

    def label(self, this, model, *, begins):
        assert begins
        chosen = [example for example in self.examples if LENGTHS[example.source] <= this.threshold]
        encoded = Encoded([replace(example, source=i) for i, example in enumerate(chosen)], len(chosen))
        labelled = with_labels(encoded, predict(model, encoded, "none", constrained=False))
        self.made.append([example.labels.tolist() for example in labelled])
        return [replace(example, source=before.source) for example, before in zip(labelled, chosen, strict=True)]


class Trainer:
    """Algorithm 1, step 5, as one would write it with PyTorch: two optimisers, one loss each."""

    def __init__(self, twin, chosen, model):
        self.twin, self.chosen = twin, chosen
        named = dict(twin.named_parameters())
        names = {"task": [name for name in named if name in model.store and not name.startswith(TARGET)],
                 "target": [name for name in named if name.startswith((TARGET, "dense.", "classifier.", CHAR_TABLE))
                            or name.startswith("crf.") and name in model.store]}
        if not model.config.chars:
            names["task"].remove(CHAR_TABLE)
        if model.flow:
            names["target"] = [name for name in named if name in model.store]
        self.parameters = {loss: [named[name] for name in group if name != WORD_TABLE] for loss, group in names.items()}
        self.optimizers = {loss: self.optimizer(group) for loss, group in self.parameters.items()}

    def optimizer(self, group):
        if self.chosen["optim.name"] == "sgd":
            return torch.optim.SGD(group, self.chosen["optim.lr"])
        return torch.optim.Adam(group, self.chosen["optim.lr"], eps=self.chosen["optim.eps"])

    def update(self, loss, value, epoch):
        """Return the norm of the gradients before clipping."""
        value.backward()
        for parameter in self.parameters[loss]:        # a batch of single words has no transitions, but Adam must still step
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        norm = torch.nn.utils.clip_grad_norm_(self.parameters[loss], self.chosen["optim.clip"]).item()
        if self.chosen["optim.name"] == "sgd":
            self.optimizers[loss].param_groups[0]["lr"] = max(self.chosen["optim.lr"] / (1 + self.chosen["optim.decay"] * epoch),
                                                              self.chosen["optim.floor"])
        self.optimizers[loss].step()
        self.twin.zero_grad()
        return norm

    def loss(self, path, examples):
        self.twin.path = path
        return self.twin.loss(examples)

    def label(self, examples):
        self.twin.path = "source"
        emissions, mask = self.twin.scored(examples)
        return self.twin.crf.decode(emissions, mask)

    def step(self, source, target, epoch):
        """(value, norm) of both updates, and the value of the pseudo-labels in the first."""
        first, pseudo = self.loss("source", source), self.loss("source", target)
        norm = self.update("task", first + pseudo, epoch)
        last = self.loss("augmented", target)
        return first.item(), norm, pseudo.item(), last.item(), self.update("target", last, epoch)


def check_against_pytorch(rng, config, changes, *, flow=False, module=augmented, models=tagger.augmented_tagger):
    chosen = settings(changes)
    model = tagger.model_of(replace(config, dropout=0.0), rng, models, flow=flow)
    for parameter in model.store:
        parameter.value *= 0.5
    examples = examples_of(model, rng)
    labels, count = Labels(examples), np.ones(len(examples), int)
    rounds = plan(LENGTHS, count, chosen, SEED, STEPS)
    ours = module.Augmented(model, {"source": Stream(examples, BATCH, SEED)}, chosen, SEED, STEPS, rounds=rounds, labels=labels)
    trainer = Trainer(Twin(replace(config, dropout=0.0), flow).read(model), chosen, model)
    stream, made = Stream(examples, BATCH, SEED), []
    for step in range(STEPS):
        this = next(item for item in reversed(rounds) if item.first <= step)
        if this.first == step:
            within = [example for example in examples if LENGTHS[example.source] <= this.threshold]
            made.append(trainer.label(within))
            order = batches(len(within), BATCH, SEED, this.number)
            within = [replace(example, labels=np.array(tags)) for example, tags in zip(within, made[-1], strict=True)]
        drawn = next(stream).order, next(order)
        source = [examples[i] for i in stream.order[stream.position - len(drawn[0]):stream.position]]
        expected = trainer.step(source, [within[i] for i in drawn[1]], step // stream.batches_per_epoch)
        task, pseudo, target = ours.step(step)
        found = task.value, task.gradient_norm, pseudo.value, target.value, target.gradient_norm
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"step {step}")
    assert labels.made == made and len(made) == 7 and len({len(part) for part in made}) > 1
    theirs = trainer.twin.state_dict()
    for parameter in model.store:
        value = theirs[parameter.name].numpy()
        np.testing.assert_allclose(to_numpy(parameter.value), value, rtol=1e-6, atol=1e-9 * np.abs(value).max(),
                                   err_msg=parameter.name)


@pytest.mark.parametrize("config", [FIXED, replace(FIXED, tied=True), replace(FIXED, chars=False)],
                         ids=["untied", "tied", "source without characters"])
@pytest.mark.parametrize("changes", [SGD, ADAM], ids=["sgd", "adam"])
def test_twenty_steps_against_pytorch(rng, config, changes):
    check_against_pytorch(rng, config, changes)


def test_twenty_steps_with_a_gradient_that_flows(rng):
    check_against_pytorch(rng, replace(FIXED, tied=True), ADAM, flow=True)


def test_the_target_update_never_moves_the_source_encoder(rng):
    """Bit by bit, also with Adam, whose moments would move it without a gradient."""
    model = tagger.model_of(FIXED, rng)
    examples = examples_of(model, rng)
    ours = augmented.Augmented(model, {"source": Stream(examples, BATCH, SEED)}, settings(ADAM), SEED, STEPS,
                               rounds=plan(LENGTHS, np.ones(5, int), settings(ADAM), SEED, STEPS), labels=Labels(examples))
    before = {}

    def keep(pending):
        if pending.loss == "target":
            before.update({name: model.store[name].value.copy() for name in model.source.encoder_names()})
            for name in model.source.encoder_names():
                assert name.startswith(("char_embeddings", "word_embeddings")) or not np.any(model.store[name].grad)

    ours.observers.append(keep)
    for step in range(3):
        ours.step(step)
        for name, value in before.items():
            if not name.startswith("char_embeddings"):
                np.testing.assert_array_equal(model.store[name].value, value, err_msg=name)
    assert before


MISTAKES = [
    ("no loss on pseudo-labels", "task_gradients(source, pseudo, parts, self.rng(step, PSEUDO))", "0.0"),
    ("pseudo-labels of θ_s on source text", "task_gradients(source, pseudo, parts, self.rng(step, PSEUDO))",
     "task_gradients(source, batch, parts, self.rng(step, PSEUDO))"),
    ("θ_t learns before θ_s",
     "        task = self.update(step, TASK, loss, batch.tokens)\n        of_target = task_gradients(self.model, pseudo, parts, "
     "self.rng(step, TARGET))\n",
     "        of_target = task_gradients(self.model, pseudo, parts, self.rng(step, TARGET))\n"
     "        task = self.update(step, TASK, loss, batch.tokens)\n"),
    ("θ_t learns from the source path", "of_target = task_gradients(self.model,", "of_target = task_gradients(source,"),
    ("θ_t learns from source text", "task_gradients(self.model, pseudo,", "task_gradients(self.model, batch,"),
    ("source text through the augmented path", "self.gradients(source, batch, step)", "self.gradients(self.model, batch, step)"),
    ("pseudo-labels of the target model", "self.labels.label(this, self.model.source,", "self.labels.label(this, self.model,"),
    ("labels are never made again", "if this != self.current:", "if self.current is None:"),
    ("every round begins at its first batch", "step - this.first, None", "0, None"),
    ("the target update moves θ_s", "(TARGET, self.model.target_names())", "(TARGET, self.model.source.task_names())"),
    ("one optimiser for both", "        return [task,", "        self.optimizers[TASK].steps += 1\n        return [task,"),
]


@pytest.mark.parametrize("what, old, new", MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_planted_mistake_is_noticed(rng, what, old, new):
    with pytest.raises(AssertionError):
        check_against_pytorch(rng, FIXED, SGD, module=mutant("minixl.methods.zero_resource.augmented", old, new))
