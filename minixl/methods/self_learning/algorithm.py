"""Self-learning: a model labels target text and learns from the labels it is surest of.  Dong et al. 2020, section 2.

    L ← labelled source text,  U ← unlabelled target text
    for t = 1, 2, ... until a stop rule:
        f ← train on L                                     with perturbation.kind=adversarial, on perturbed embeddings too
        predict every text in U
        for each class c: move the K_t texts that are predicted as c with the highest confidence from U to L
    f ← train on L                                         the result of the run

    OUT/rounds/T/                               a run folder for each round
    OUT/pseudo-labels/round-T.LANGUAGE.safetensors    predictions of round T, and what has been selected so far
    OUT/pseudo-labels/LANGUAGE.tsv or .conll    the items selected in all rounds, with label, confidence and round
    OUT/rounds.json                             sizes, agreement, quality of the pseudo-labels by round
    OUT/                                        the last training, a run like any other

Each round trains a fresh model (self_learning.start=continue: the last round's).  The selected model of a round labels the
text, which without --dev is the last.  K items are selected per class and language.  docs/methods.md says how minixl fills
the gaps in the paper.

    selection.py   predictions, balanced selection      round.py   training on L
    files.py       selections on disk                   record.py, page.py   rounds.json, the report
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minixl.data.examples import TAGGING
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.methods.finetune import Supervised
from minixl.methods.gold import read_gold
from minixl.methods.records import audit_warnings
from minixl.methods.self_learning.files import Labelled, label_and_select, write_selected
from minixl.methods.self_learning.page import report_section
from minixl.methods.self_learning.round import NAME, Round
from minixl.methods.self_learning.record import (AGREEMENT, SOURCE_DEV, STOP_RULES, TARGET_DEV, RoundRecord, record_round,
                                                 write_rounds)
from minixl.methods.self_learning.selection import ALL, CONSTANT, LINEAR, RULES, SCHEDULES, SUREST, Selection, label_starts
from minixl.run.method import Job, Method, Scores
from minixl.run.prepared import Prepared
from minixl.settings import Section, Setting, Settings

FRESH, CONTINUE = STARTS = ("fresh", "continue")

SECTIONS = (Section("self-learning", {
    "self_learning.rounds": Setting(10, "at most N rounds of training and selection before the last training; 0: fine-tuning",
                                    at_least=0),
    "self_learning.count": Setting(50, "K, how many items of every class and language a round selects", at_least=1),
    "self_learning.schedule": Setting(CONSTANT, "K in every round; K times the number of the round; or all items in every round, "
                                      "each time with new labels", SCHEDULES),
    "self_learning.select": Setting(SUREST, "which K items: those with the highest confidence; any; or as many of all classes "
                                    "together, so that their shares stay", RULES),
    "self_learning.start": Setting(FRESH, "train each round's model anew, or continue with that of the round before", STARTS),
    "self_learning.stop_on": Setting(AGREEMENT, "what ends the rounds early: nothing; labels that agree with those of the round "
                                     "before; no better score on source dev, or on target dev (an oracle: it uses target labels)",
                                     STOP_RULES),
    "self_learning.agreement": Setting(0.99, "share of equal labels with which the rounds end", above=0, at_most=1),
    "self_learning.patience": Setting(2, "rounds without a better dev score with which the rounds end", at_least=1),
    "self_learning.audit": Setting(False, "read the labels of the --unlabelled files, to measure the quality of the pseudo-labels",
                                   compared=False),
}, used=lambda settings: settings["method"] == NAME),)


class SelfLearning(Method):
    """Rounds of training and balanced selection."""

    name = NAME
    sections = SECTIONS
    objective = Supervised
    needs_unlabelled = True

    def run(self, job: Job) -> Scores:
        settings, texts = job.settings, job.prepared.unlabelled_targets
        gold = read_gold(settings, [text.corpus for text in texts.values()]) if settings["self_learning.audit"] else {}
        tagger = settings["task"] in TAGGING
        selections: Mapping[str, Selection] = {language: Selection.none_of(label_starts(text.encoded, tagger))
                                               for language, text in texts.items()}
        start: Path | None = None
        before: dict[str, Labelled] = {}
        begun, records = list[tuple[Mapping[str, Selection], Path | None]](), list[RoundRecord]()
        for number in range(1, settings["self_learning.rounds"] + 1):
            begun.append((selections, start))
            trained = job.train(Round(self.terms, selections, start), f"rounds/{number}", title=f"round {number}")
            labelled = label_and_select(job, number, trained.model, selections, count_of(settings, number))
            records.append(record_round(job, number, trained, selections, labelled, before, gold))
            write_rounds(job.folder, records)
            selections, before = {language: answer.selection for language, answer in labelled.items()}, labelled
            start = trained.model if settings["self_learning.start"] == CONTINUE else None
            reason = reason_to_stop(settings, records)
            if reason:
                job.reporter.message(f"no further round: {reason}")
                break
        if settings["self_learning.stop_on"] in (SOURCE_DEV, TARGET_DEV):
            selections, start = begun[best_round(records)]
            job.reporter.message(f"the last training repeats round {best_round(records) + 1}, the best on dev")
        write_selected(job, selections)
        return job.train(Round(self.terms, selections, start)).scores

    def resolve(self, settings: Settings) -> tuple[Settings, list[str]]:
        """Become fine-tuning without rounds: the paper's baseline."""
        return (settings if settings["self_learning.rounds"] else settings.override(["method=finetune"])), []

    def check_prepared(self, settings: Settings, inputs: Inputs, prepared: Prepared) -> list[str]:
        messages = super().check_prepared(settings, inputs, prepared)
        rule, dev = settings["self_learning.stop_on"], prepared.evaluation.files["dev"]
        sources = prepared.evaluation.sources
        if settings["self_learning.schedule"] == ALL and settings["self_learning.select"] != SUREST:
            raise UserError(f"self_learning.select: expected {SUREST} with self_learning.schedule={ALL}, which selects every item, "
                            f"got {settings['self_learning.select']}")
        if rule == SOURCE_DEV and not any(language in sources for language in dev):
            raise UserError("self_learning.stop_on: source-dev expected a dev file of a source language, such as "
                            f"--dev {sources[0]}=dev.txt, found none; give one, or --set self_learning.stop_on={AGREEMENT}")
        if rule == TARGET_DEV and all(language in sources for language in dev):
            raise UserError("self_learning.stop_on: target-dev expected a dev file of a target language (its labels are used), "
                            f"found none; give one, or --set self_learning.stop_on={AGREEMENT}")
        corpora = [text.corpus for text in prepared.unlabelled_targets.values()]
        return messages + audit_warnings("self_learning.audit", settings, corpora)

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        return report_section(folder, metrics)


def count_of(settings: Settings, number: int) -> int:
    """Return K_t of a round."""
    return int(settings["self_learning.count"] * (number if settings["self_learning.schedule"] == LINEAR else 1))


def best_round(records: list[RoundRecord]) -> int:
    """Return the index of the first round with the highest dev score."""
    return max(range(len(records)), key=lambda i: (records[i]["dev"] or 0.0, -i))


def reason_to_stop(settings: Settings, records: list[RoundRecord]) -> str:
    """Return why no further round follows; "" if one does."""
    last, rule = records[-1], settings["self_learning.stop_on"]
    languages = last["languages"].values()
    if not any(language["new"] for language in languages):
        return "nothing more was selected"
    if settings["self_learning.schedule"] != ALL and not any(language["pool"] for language in languages):
        return "no unlabelled text is left"
    agreements = [language["agreement"] for language in languages if language["agreement"] is not None]
    if rule == AGREEMENT and agreements and min(agreements) >= settings["self_learning.agreement"]:
        return f"{100 * min(agreements):.1f} % of the labels are those of the round before"
    if rule in (SOURCE_DEV, TARGET_DEV) and len(records) - 1 - best_round(records) >= settings["self_learning.patience"]:
        return f"no better {rule.replace('-', ' ')} score in {settings['self_learning.patience']} rounds"
    return ""
