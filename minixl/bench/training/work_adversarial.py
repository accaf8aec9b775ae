"""The work of the family bert-adversarial: for each iteration a labelled batch and four for the discriminator.

    T   labelled source batch           D, G   a fresh source batch and a fresh target batch each
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minixl.bench.training.products import step_operations
from minixl.bench.training.work import LEVEL, AdversarialWork, Iteration, Options, Say, check_enough, choose_batches
from minixl.bench.training.work_bert import facts_of, find_inputs, make_settings, sample_file
from minixl.data.encoding import Example
from minixl.data.inputs import Inputs
from minixl.data.sample import LANGUAGES
from minixl.errors import UserError
from minixl.methods import METHODS
from minixl.methods.adversary import Adversary
from minixl.methods.finetune import Supervised
from minixl.models.transformer import Transformer
from minixl.run.prepare import prepare

# the learning rates of AdvPicker's teacher (Chen et al. 2021); the discriminator's is from their code
RATES = {"optim.lr": 6e-5, "adversary.lr": 6e-7, "adversary.discriminator_lr": 5e-3}


def make_work(options: Options, scratch: Path, say: Say) -> tuple[AdversarialWork, dict[str, Any]]:
    """Read, check and tokenise as `minixl train` does; choose the batches."""
    encoder, source = find_inputs(options, scratch, say)
    target = options.target or sample_file(scratch, LANGUAGES[1])
    if target[0] == source[0]:
        raise UserError(f"--target {target[0]}={target[1]}: expected text in a language other than {source[0]}, "
                        "the language of the source")
    level = options.level or LEVEL
    settings = make_settings(options, {**RATES, "method": "language-adversarial", "adversary.level": level,
                                       "data.unlabelled_limit": options.limit})
    method = METHODS[settings["method"]]
    prepared = prepare(method, settings, Inputs(encoder, [source], unlabelled=[target]), options.seed)
    model, examples = prepared.model, method.texts(settings, prepared, options.seed)
    assert isinstance(model, Transformer)
    check_enough(examples["source"], options, source[1])
    check_enough(examples["target"], options, target[1])
    batches = {kind: choose_iterations(examples, options, kind) for kind in options.batch_kinds}
    start = {name: model.store[name].value.copy() for name in model.head_names() + model.discriminator_names()}
    work = AdversarialWork(encoder=encoder, start={name: start.pop(name) for name in model.head_names()}, discriminator=start,
                           frozen=model.store.names(trainable=False), settings=dict(settings), batches=batches,
                           predicted={kind: [] for kind in batches}, seed=options.seed,
                           operations={kind: operations(of_kind, model) for kind, of_kind in batches.items()})
    facts = facts_of(model, settings, encoder, source)
    return work, {**facts, "model": f"{facts['model']}, a discriminator on every {level}", "level": level,
                  "target": str(target[1])}


STREAMS = {**Supervised.STREAMS, **Adversary.STREAMS}               # of language-adversarial


def choose_iterations(examples: dict[str, list[Example]], options: Options, kind: str) -> list[Iteration]:
    """Shuffle each stream separately and choose full batches; grouped batches of one iteration have similar length ranks."""
    streams = {name: choose_batches(examples[text], kind, batch_size=options.batch_size, count=options.steps,
                                    seed=[options.seed, number])
               for number, (name, text) in enumerate(STREAMS.items())}
    return [dict(zip(streams, batches, strict=True)) for batches in zip(*streams.values(), strict=False)]


def operations(iterations: Sequence[Iteration], model: Transformer) -> float:
    """Count the operations of an iteration's matrix products, mean over the iterations; D only runs the encoder forward."""
    layers, lowest = model.config.num_hidden_layers, model.bert.lowest_trainable()
    return sum(step_operations(model.config, [len(example.input_ids) for example in batch],
                               layers if name.endswith("/discriminator") else lowest)
               for iteration in iterations for name, batch in iteration.items()) / len(iterations)
