"""Whole iterations T, D, G against PyTorch, what each update may move, parts of a batch, planted mistakes, planted languages."""
from __future__ import annotations

from math import log

import numpy as np
import pytest

from minixl.data.batching import Batch, pack
from minixl.errors import UserError
from minixl.methods import adversary
from minixl.methods.language_adversarial import LanguageAdversarial
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.settings import Settings
from tests.methods.twin_language_adversarial import Trainer, Twin
from tests.models.hugging_face import LABELS, TINY, random_examples
from tests.mutants import mutant

KEUNG = {"optim.name": "adam", "optim.schedule": "constant", "optim.warmup": 0.0, "optim.clip": 0.0, "optim.lr": 1e-3,
         "optim.head_lr": 2e-3, "adversary.level": "sentence", "adversary.lr": 3e-4, "adversary.discriminator_lr": 5e-3}
ADVPICKER = KEUNG | {"optim.name": "adamw", "optim.schedule": "linear", "optim.warmup": 0.2, "optim.weight_decay": 0.1,
                     "adversary.level": "token", "adversary.weight_decay": 0.2}
FROZEN = ["bert.embeddings.*", "bert.encoder.layer.0.*"]
CASES = {"Keung, tagger": ("token", [], KEUNG),
         "Keung, classifier": ("mean", [], KEUNG | {"adversary.specials": False, "adversary.every": 2}),
         "Keung, clipped": ("token", [], KEUNG | {"optim.clip": 0.5, "train.accumulate": 3}),
         "AdvPicker": ("token", FROZEN, ADVPICKER),
         "AdvPicker, all trained": ("token", [], ADVPICKER | {"adversary.specials": False, "adversary.order": "generator-first"})}


def model(settings: Settings, pooling: str = "token", freeze=(), *, seed: int = 5, dropout: float = 0.0) -> Transformer:
    """Random weights and biases of a size at which mistakes show."""
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    made = Transformer(BertConfig.from_json(TINY | rates), LABELS, pooling, discriminator=settings["adversary.level"],
                       discriminator_size=9, dtype=np.float64)
    rng = np.random.default_rng(seed)
    for parameter in made.store:
        parameter.value[...] = 0.3 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    if freeze:
        made.store.freeze(freeze)
    return made


def make_batches(rng, count: int, pooling: str) -> dict[str, list[Batch]]:
    """`count` batches a stream, of different sizes for the two languages."""
    return {name: [pack(random_examples(rng, rng.integers(1, 9, 5 if name.startswith("source") else 3), 40,
                                        documents=pooling == "mean")) for _ in range(count)]
            for name in LanguageAdversarial.STREAMS}


def method(made: Transformer, batches: dict[str, list[Batch]], settings: Settings, total: int, module=adversary):
    """The method over these batches, D and G by `module`."""
    streams = {name: iter(given) for name, given in batches.items()}
    made_method = LanguageAdversarial(made, streams, settings, 1, total)
    made_method.adversary = module.Adversary(made, streams, settings, 1, total)
    return made_method


def assert_equals_twin(rng, case: str, steps: int, module=adversary) -> None:
    """Values, accuracies and every parameter after `steps` iterations, within 1e-6 of the way the parameter went."""
    pooling, freeze, changed = CASES[case]
    settings = Settings(changed)
    made, batches = model(settings, pooling, freeze), make_batches(rng, steps, pooling)
    before = {p.name: p.value.copy() for p in made.store}
    twin = Twin(made)
    trainer, ours = Trainer(twin, settings, steps), method(made, batches, settings, steps, module)
    for step in range(steps):
        expected, updates = trainer.iteration(step, batches), ours.step()
        assert [update.loss for update in updates] == [loss for loss, _, _ in expected]
        for update, (_, value, accuracy) in zip(updates, expected, strict=True):
            assert update.value == pytest.approx(value, rel=1e-7)
            assert update.accuracy == (None if accuracy is None else pytest.approx(accuracy, abs=1e-12))
    for name, parameter in twin.named_parameters():
        expected = parameter.detach().numpy()
        way = max(np.abs(expected - before[name]).max(), 1e-4)
        if "key.bias" in name:                                         # its gradient is rounding, which Adam enlarges
            way = steps * 1e-3
        np.testing.assert_allclose(made.store[name].value, expected, rtol=0, atol=1e-6 * way, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_twenty_iterations_equal_pytorch(rng, case):
    assert_equals_twin(rng, case, 20)
