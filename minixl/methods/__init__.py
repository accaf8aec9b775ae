"""The methods and terms by name, and the schema of all settings.

A method is a file or a folder here.  To add a method, list it in METHODS; to add a term, in TERMS.

    metrics = train(SCHEMA.recipe("finetune-ner"), inputs, Path("runs/mine"), seed=1, reporter=reporter)
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import minixl.data.reading
import minixl.evaluation.files
import minixl.run.groups
import minixl.training.loop
import minixl.training.optimizers
from minixl.building import FAMILIES, families
from minixl.data.inputs import Inputs
from minixl.distributed.launch import describe_processes
from minixl.errors import DETAILS
from minixl.methods.adversary import Adversary
from minixl.methods.advpicker.algorithm import AdvPicker
from minixl.methods.finetune import Finetune
from minixl.methods.language_adversarial import LanguageAdversarial
from minixl.methods.languages import TARGET_SIZE, LanguagesTerm
from minixl.methods.linkage import AverageLinkage
from minixl.methods.mlma.algorithm import Mlma
from minixl.methods.perturbation import Perturbation
from minixl.methods.self_learning.algorithm import SelfLearning
from minixl.methods.zero_resource.algorithm import ZeroResource
from minixl.run.job import train_run
from minixl.run.method import Method, Term
from minixl.run.seeds import train_seeds
from minixl.settings import Schema, Section, Setting, Settings
from minixl.training import stopping
from minixl.training.metrics import Metrics
from minixl.training.progress import Reporter

TERMS: tuple[type[Term], ...] = (Adversary, AverageLinkage, Perturbation)
METHODS: dict[str, Method] = {method.name: method(TERMS)
                              for method in (Finetune, LanguageAdversarial, AdvPicker, SelfLearning, ZeroResource, Mlma)}

LOSSES = {name: loss for term in TERMS for name, loss in term.LOSSES.items()} \
    | {name: loss for method in METHODS.values() for name, loss in method.objective.LOSSES.items()}

RENAMED = {"alignment.average_linkage": "linkage.level, which is none, sentence or token",
           "alignment.level": "linkage.level", "alignment.lr": "linkage.lr", "advpicker.study": "advpicker.audit"}


def upgrade(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Rewrite the settings of a run of an older version under today's names."""
    values = dict(settings)
    if "alignment.average_linkage" in values:
        level = values.pop("alignment.level", "sentence")
        values["linkage.level"] = level if values.pop("alignment.average_linkage") else "none"
    for old, new in (("alignment.lr", "linkage.lr"), ("advpicker.study", "advpicker.audit")):
        if old in values:
            values[new] = values.pop(old)
    return values


def _of_term(term: type[Term]) -> Section:
    """Return the term's section; a run uses it if the term is active, or if a stage of the method has the term."""
    return Section(term.SECTION.title, term.SECTION.settings,
                   lambda settings: term.active(settings) or term in METHODS[settings["method"]].terms_of_stages)


OF_TERMS = {term: _of_term(term) for term in TERMS}
COMPARED = Section("text that adversary and linkage compare", TARGET_SIZE,
                   lambda settings: any(OF_TERMS[term].used(settings) for term in TERMS if issubclass(term, LanguagesTerm)))

SCHEMA = Schema([
    Section("run", {"method": Setting("finetune", "transfer method", tuple(METHODS))}),
    minixl.run.groups.SECTION, minixl.data.reading.SECTION, families.SECTION, *(family.section for family in FAMILIES.values()),
    minixl.training.loop.SECTION, stopping.section(LOSSES), minixl.training.optimizers.SECTION, minixl.evaluation.files.SECTION,
    *OF_TERMS.values(), COMPARED,
    *(section for method in METHODS.values() for section in method.sections)], RENAMED, upgrade)


def resolve(settings: Settings) -> tuple[Method, Settings, list[str]]:
    """Return the method of these settings, the settings without variants, and messages for the user.

    A variant may become another method, with other settings.
    """
    messages: list[str] = []
    while True:
        method = METHODS[settings["method"]]
        settings, more = method.resolve(settings)
        messages += more
        if settings["method"] == method.name:
            return method, settings, messages


def train(settings: Settings, inputs: Inputs, out: Path, *, reporter: Reporter, seed: int = 1, seeds: Sequence[int] = (),
          **options: Any) -> Metrics:
    """Train settings["method"] in the folder `out`, once or for each of several seeds; return the content of metrics.json.

    options: of run.job.train_run or run.seeds.train_seeds.
    """
    method, settings, messages = resolve(settings)
    for message in [*describe_processes(options.get("xp")), *messages]:
        reporter.message(message)
    DETAILS.debug("settings that differ from the defaults: %s",
                  ", ".join(f"{name}={value}" for name, value in settings.changed().items()) or "none")
    if seeds:
        return train_seeds(method, settings, inputs, out, seeds=seeds, reporter=reporter, **options)
    return train_run(method, settings, inputs, out, seed=seed, reporter=reporter, **options)
