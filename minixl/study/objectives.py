"""Small objectives of every method and term in float64: the updates that `minixl study check` compares with their losses.

All learning rates are 0, so the updates of a step leave the parameters where they are, and the value of each loss is a function
of them.  Term by term that is the whole step: streams, batches of two languages, dropout, discriminators.

pytorch_objectives.py has the same losses in PyTorch.

An adversarial perturbation is a constant in the paper, but moves with the parameters in a difference quotient, so the random one
is checked here: it takes the same way.  Its direction, the gradient of the embeddings, is checked with the models.  In the same
way the target update of zero-resource is checked with a source encoder that is no constant.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minixl.data.batching import Stream
from minixl.data.encoding import Example
from minixl.data.monolingual import Encoded, SentenceStream
from minixl.methods import METHODS, SCHEMA
from minixl.methods.advpicker.student import PSEUDO, Distillation
from minixl.methods.mlma.language_model import LanguageModeling
from minixl.methods.zero_resource.augmented import Augmented
from minixl.methods.zero_resource.rounds import Round
from minixl.packing import starts_of
from minixl.run.method import LABELLED
from minixl.settings import Settings
from minixl.study.models import (LABELS, augmented_tagger, bilstm_crf, language_lexicon, language_model, mlma_tagger, pieces,
                                 transformer, words)
from minixl.training.objective import Objective

SEED, STEPS = 3, 5
PSEUDO_LABELLED = "pseudo-labelled"
STILL = {"optim.lr": 0.0, "optim.head_lr": 0.0, "optim.warmup": 0.0, "optim.weight_decay": 0.0, "adversary.lr": 0.0,
         "adversary.discriminator_lr": 0.0, "linkage.lr": 0.0, "train.batch_size": 3}


class ObjectiveCase(NamedTuple):
    """An objective at its first step, and how its streams began."""

    name: str
    objective: Objective
    begun: dict[str, Any]              # stream -> its state

    def rewind(self) -> None:
        """Let the streams begin again."""
        for stream, state in self.begun.items():
            self.objective.streams[stream].load_state_dict(state)


def _language_model_case(name: str, options: dict[str, Any]) -> ObjectiveCase:
    """Return the case of MLMA's first stage, on sentences of random words."""
    settings, model, rng = SCHEMA.settings({**STILL, **options}), language_model(), np.random.default_rng(SEED)
    streams = {}
    for language, size in model.config.vocabulary_sizes.items():
        starts = starts_of(rng.integers(2, 7, 9))
        text = Encoded(rng.integers(1, size, int(starts[-1])).astype(np.int32), starts)
        streams[language] = SentenceStream(text, settings["language_model.tokens"], 1, [SEED])
    objective = LanguageModeling(model, streams, settings, SEED, STEPS, lexicon=language_lexicon())
    return ObjectiveCase(name, objective, {language: stream.state_dict() for language, stream in streams.items()})


def _case(name: str, options: dict[str, Any]) -> ObjectiveCase:
    settings = SCHEMA.settings({**STILL, **options})
    documents = settings["task"] == "classification"
    if settings["model.type"] != "transformer":
        makers: dict[str, Callable[[], Any]] = {"bilstm-crf": bilstm_crf, "augmented-tagger": augmented_tagger,
                                                "mlma-tagger": mlma_tagger}
        model = makers[settings["model.type"]]()
        texts = {LABELLED: words(model), PSEUDO_LABELLED: words(model)[1:]}
    else:
        model = transformer("mean" if documents else "token", discriminator=settings["adversary.level"])
        texts = {LABELLED: pieces(documents), "source": pieces(documents, 1), "target": pieces(documents, 2)}
    return _with_streams(name, model, texts, settings)


def _with_streams(name: str, model: Any, texts: dict[str, list[Example]], settings: Settings) -> ObjectiveCase:
    method = settings["method"]

    def streams(names: dict[str, str]) -> dict[str, Stream]:
        return {stream: Stream(texts[text], settings["train.batch_size"], [SEED, i])
                for i, (stream, text) in enumerate(names.items())}

    if method == "advpicker":
        soft = np.random.default_rng(SEED).dirichlet(np.ones(len(LABELS)), sum(len(example.rows) for example in texts[LABELLED]))
        texts = texts | {PSEUDO: _numbered(texts[LABELLED])}
        objective: Objective = Distillation(model, streams({"source": PSEUDO}), settings, SEED, STEPS, targets=soft)
    elif method == "zero-resource":
        objective = Augmented(model, streams({"source": LABELLED}), settings, SEED, STEPS, rounds=[Round(1, 9, 0, STEPS)],
                              labels=_Fixed(texts[PSEUDO_LABELLED]))
    else:
        objective = METHODS[method].make_objective(model, streams(METHODS[method].streams(settings)), settings, SEED, STEPS)
    return ObjectiveCase(name, objective, {stream: state.state_dict() for stream, state in objective.streams.items()})


class _Fixed(NamedTuple):
    """Pseudo-labels that do not change."""

    examples: list[Example]

    def label(self, this: Round, model: Any, *, begins: bool) -> list[Example]:
        return self.examples


def _numbered(examples: list[Example]) -> list[Example]:
    """Return the examples with the numbers of their words, in the order of the text, as labels."""
    first, numbered = 0, []
    for example in examples:
        count = len(example.rows)
        numbered.append(Example(example.input_ids, example.rows, np.arange(first, first + count), example.source, 0))
        first += count
    return numbered


OPTIONS: dict[str, dict[str, Any]] = {
    "finetune": {"method": "finetune"},
    "finetune, accumulated": {"method": "finetune", "train.accumulate": 2, "task": "classification"},
    "finetune, bilstm-crf": {"method": "finetune", "model.type": "bilstm-crf"},
    "language-adversarial": {"method": "language-adversarial", "adversary.level": "sentence", "task": "classification"},
    "language-adversarial, token": {"method": "language-adversarial", "adversary.level": "token", "adversary.specials": False,
                                    "adversary.size": 5},
    "advpicker": {"method": "advpicker", "distill.temperature": 2.0},
    "self-learning": {"method": "self-learning"},
    "zero-resource": {"method": "zero-resource", "model.type": "augmented-tagger"},
    "mlma": {"method": "mlma", "model.type": "mlma-tagger"},
    "linkage": {"method": "finetune", "linkage.level": "sentence"},
    "linkage, token": {"method": "finetune", "linkage.level": "token"},
    "perturbation": {"method": "finetune", "perturbation.kind": "random"},
}
LANGUAGE_MODEL = {"mlma, language model": {
    "method": "mlma", "language_model.lr": 0.0, "language_model.tokens": 20, "mlma.average_linkage": 0.7,
    "mlma.cosine_linkage": 0.5, "mlma.mean": 0.3, "mlma.deviation": 0.2, "mlma.identical_strings": 0.4}}
OBJECTIVES: dict[str, Callable[[], ObjectiveCase]] = {
    **{name: partial(_case, name, options) for name, options in OPTIONS.items()},
    **{name: partial(_language_model_case, name, options) for name, options in LANGUAGE_MODEL.items()}}
