"""Zero-resource named-entity recognition: "Cross-Augmented".  Bari et al. 2020, algorithm 1.

    (map the word vectors of both languages into one space: before the run, --vectors has the mapped ones)
    θ_s ← train the source model on labelled source text                                                  OUT/source/
    repeat
        l ~ U(shortest, longest);  D ← the target sentences of at most l words, labelled by θ_s            one round
        repeat
            b_s ← a batch of labelled source text,  b_t ← a batch of D
            θ_s ← optimiser on L_s(b_s) + L_s(b_t)                                                         augmented.py
            θ_t ← optimiser on L_t(b_t)
        for n steps
    until the last step, or early stopping

    OUT/source/                              a run folder: the source model, Cross-Shared if model.tied is on
    OUT/pseudo-labels/round-R.safetensors    D of every round (labels.py)
    OUT/rounds.json                          what happened in every round (record.py)
    OUT/                                     the joint training, a run like any other; its model has both encoders

A source language is tagged through the source path, any other through the augmented path.  docs/methods.md says how minixl
fills the gaps in the paper.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.data.inputs import Inputs, by_language
from minixl.errors import UserError
from minixl.methods.finetune import Supervised
from minixl.methods.records import audit_warnings
from minixl.methods.zero_resource.augmented import Augmented
from minixl.methods.zero_resource.labels import Labeller, lengths_of
from minixl.methods.zero_resource.page import report_section
from minixl.methods.zero_resource.picture import write_picture
from minixl.methods.zero_resource.record import write_record
from minixl.methods.zero_resource.rounds import bounds, plan
from minixl.run.method import Job, Method, Scores, Term
from minixl.run.prepared import Prepared
from minixl.settings import Section, Setting, Settings
from minixl.weights.folder import load_parameters

NAME, FAMILY = "zero-resource", "augmented-tagger"

SECTIONS = (Section("zero-resource", {
    "zero_resource.source_epochs": Setting(30, "passes over the labelled source text in the first stage, which trains the source "
                                           "model", at_least=1),
    "zero_resource.source_lr": Setting(0.0, "learning rate of the first stage, instead of optim.lr; 0: optim.lr", at_least=0),
    "zero_resource.shortest": Setting(0, "least length threshold in words; 0: 5 words or the 5th percentile of the target "
                                      "sentences' lengths, whichever is more", at_least=0),
    "zero_resource.longest": Setting(0, "greatest length threshold in words; 0: the longest target sentence", at_least=0),
    "zero_resource.round_steps": Setting(0, "steps with one threshold, after which the text is labelled again; 0: one pass over "
                                         "the target sentences up to the threshold", at_least=0),
    "zero_resource.audit": Setting(False, "read the labels of the --unlabelled file, to compare the pseudo-labels with them, by "
                                   "round and by length", compared=False),
}, used=lambda settings: settings["method"] == NAME),)


class ZeroResource(Method):
    """The source model, then rounds of augmented fine-tuning."""

    name = NAME
    sections = SECTIONS
    objective = Augmented
    needs_unlabelled = True

    def run(self, job: Job) -> Scores:
        source = job.train(SourceModel(self.terms), "source", settings=source_settings(job.settings), title="source model")
        labeller = Labeller(job, source.model)
        trained = job.train(JointTraining(self.terms, labeller, source.model))
        write_record(job, labeller, source)
        write_picture(job, labeller)
        return trained.scores

    def check(self, settings: Settings, inputs: Inputs) -> None:
        if settings["model.type"] != FAMILY:
            raise UserError(f"model.type: expected {FAMILY}, which method {NAME} trains, found {settings['model.type']}; use the "
                            "recipe cross-augmented")
        super().check(settings, inputs)
        targets = sorted({language for language, _ in inputs.unlabelled} - set(by_language(inputs.source)))
        if len(targets) > 1:
            raise UserError(f"--unlabelled: expected one target language, as the target encoder has one, found "
                            f"{', '.join(targets)}; start a run for each")
        if not inputs.vectors:
            raise UserError("--vectors: expected word vectors of the source and the target language, mapped into one space, found "
                            "none; without them no word of the target language is known")
        shortest, longest = settings["zero_resource.shortest"], settings["zero_resource.longest"]
        if 0 < longest < shortest:
            raise UserError(f"zero_resource.longest: expected at least zero_resource.shortest={shortest}, found {longest}")

    def check_prepared(self, settings: Settings, inputs: Inputs, prepared: Prepared) -> list[str]:
        messages = super().check_prepared(settings, inputs, prepared)
        [(language, text)] = prepared.unlabelled_targets.items()
        lengths = lengths_of(text.encoded)
        least, _ = bounds(lengths, settings)
        if not (lengths <= least).any():
            name = "shortest" if settings["zero_resource.shortest"] == least else "longest"
            raise UserError(f"zero_resource.{name}: expected at least {lengths.min()}, the words of the shortest sentence in "
                            f"{language}, found {least}")
        return messages + audit_warnings("zero_resource.audit", settings, [text.corpus])

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        return report_section(folder, metrics)


class SourceModel(Method):
    """The first stage: a bilstm-crf learns from labelled source text; unlabelled text only adds its characters to the alphabet."""

    name = NAME
    objective = Supervised
    needs_unlabelled = True


class JointTraining(Method):
    """The second stage: all rounds."""

    name = NAME
    objective = Augmented

    def __init__(self, terms: Sequence[type[Term]], labeller: Labeller, source: Path) -> None:
        """source: the folder of the source model."""
        super().__init__(terms)
        self.labeller, self.source = labeller, source

    def own_objective(self, model: Any, *arguments: Any) -> Augmented:
        _, settings, seed, total = arguments
        load_parameters(self.source, {name: model.store[name].value for name in model.source.names})
        encoded = self.labeller.encoded
        examples = lengths_of(encoded) * 0
        for example in encoded.examples:
            examples[example.source] += 1
        rounds = plan(self.labeller.lengths, examples, settings, seed, total)
        return Augmented(model, *arguments, rounds=rounds, labels=self.labeller)


def source_settings(settings: Settings) -> Settings:
    """Return the settings of the first stage."""
    return settings.override(["model.type=bilstm-crf", "model.save_dtype=float32", "train.max_steps=0",
                              f"train.epochs={settings['zero_resource.source_epochs']}",
                              f"optim.lr={settings['zero_resource.source_lr'] or settings['optim.lr']}"])
