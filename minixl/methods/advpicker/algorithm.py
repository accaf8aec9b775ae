"""AdvPicker: learn from pseudo-labels of language-independent sentences.  Chen et al. 2021 (arXiv:2106.02300), algorithm 1.

    A   teachers: taggers trained on labelled source text, each against a discriminator of the language
    B   each teacher gives every unlabelled sentence soft labels ŷ and p̄, the probability that it is source text
    C   for each sentence: ŷ and p̄ ← those of the teacher that is most confident in its labels
    D   for each sentence: ℓ ← 1 - |p̄ - ½|, its language independence; keep the int(ρN) sentences with the highest ℓ
    E   student: a fresh tagger that learns ŷ of the kept sentences

    OUT/teachers/seed-K/                     A: a run folder for each teacher
    OUT/pseudo-labels/LANGUAGE.seed-K        B: a teacher's scores of a language's unlabelled text
    OUT/pseudo-labels/LANGUAGE.safetensors   C and D: merged labels, and which sentences are selected; .conll: only those
    OUT/pseudo-labels/test/                  B for the test files, which the audit and an ablation need
    OUT/                                     E: the student, a run like any other

A finished teacher is not trained again, and its scores are reused if the text, the teacher and the settings have not changed.
Students that differ in their seed (--seeds) share teachers and labels.  With advpicker.teachers_from the run uses another
run's teachers, and its scores where they fit; it never writes to that folder.  docs/methods.md says how minixl fills the gaps
in the paper.

    teachers.py   A        labels.py   B, C, D on arrays        student.py   E
    files.py      scores and pseudo-labels on disk              audit.py, page.py   quality of the pseudo-labels
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minixl.data.examples import TAGGING
from minixl.data.inputs import Inputs, path_key
from minixl.errors import WARNING, UserError
from minixl.methods.adversary import Adversary
from minixl.methods.advpicker.audit import write_audit
from minixl.methods.advpicker.files import PseudoLabels, ScoredTexts, kept_labels
from minixl.methods.advpicker.labels import RULES, independence, mask, merge, pseudo_tags, select
from minixl.methods.advpicker.page import report_section
from minixl.methods.advpicker.student import Distillation, Student
from minixl.methods.advpicker.teachers import check_teachers, common_labels, existing_teachers, make_teachers, teacher_settings
from minixl.methods.records import audit_warnings
from minixl.run.method import Job, Method, Scores
from minixl.run.prepared import Prepared
from minixl.settings import Section, Setting, Settings

NAME = "advpicker"
FULL, ALL_DATA, WITHOUT_KD, TLADV, FT = VARIANTS = ("full", "all-data", "without-kd", "tladv", "ft")
NO_TRAINING: Scores = {"steps": 0, "selected_step": 0, "seconds": 0.0, "tokens_per_second": 0.0, "peak_memory_bytes": 0,
                       "scored": {"teachers": "AdvPicker's teachers together: the most confident one tags each sentence"}}

SECTIONS = (Section("AdvPicker", {
    "advpicker.teachers": Setting(5, "number of teachers to train, with seeds 1 to N", at_least=1),
    "advpicker.teachers_from": Setting("", "folder of another advpicker run: use its teachers, train none"),
    "advpicker.rho": Setting(0.8, "share of the unlabelled sentences that the student learns from", above=0, at_most=1),
    "advpicker.merge": Setting(RULES[0], "how to measure a teacher's confidence; a sentence gets the labels of the most confident "
                               "one", RULES),
    "advpicker.epochs": Setting(10, "passes of a teacher over the source sentences", at_least=1),
    "advpicker.variant": Setting(FULL, "the full method, or an ablation of table 6: select all sentences; let the teachers tag the "
                                       "test files; train one teacher alone; fine-tune alone", VARIANTS),
    "advpicker.audit": Setting(False, "read the tags of the --unlabelled files, to measure the quality of the pseudo-labels",
                               compared=False),
    "distill.temperature": Setting(1.0, "temperature of the student's and the teachers' probabilities", at_least=1e-3),
}, used=lambda settings: settings["method"] == NAME),)


class AdvPicker(Method):
    """Train teachers, pseudo-label the unlabelled text, train a student."""

    name = NAME
    sections = SECTIONS
    objective = Distillation
    family = "transformer"
    needs_unlabelled = shares_stages = True
    terms_of_stages = (Adversary,)                                     # of the teachers

    def run(self, job: Job) -> Scores:
        settings, audit, distil = job.settings, job.settings["advpicker.audit"], job.settings["advpicker.variant"] != WITHOUT_KD
        teachers = make_teachers(job, self.terms)                                              # A
        names, rule, rho = common_labels(teachers), settings["advpicker.merge"], settings["advpicker.rho"]
        texts = ScoredTexts(job, "unlabelled", job.prepared.unlabelled_targets, teachers)
        labels = {}
        if distil or audit:
            texts.score(texts.texts if audit else texts.without_labels())                      # B

            def pick(language: str) -> PseudoLabels:
                merged = merge(texts.read(language), rule)                                     # C
                kept = select(independence(merged.p_bar), rho)                                 # D
                return PseudoLabels(merged, mask(kept, len(merged.p_bar)), names, list(teachers))

            labels = {language: kept_labels(texts, language, pick) for language in texts.texts}
        merged_tests = {}
        if audit or not distil:
            tests = ScoredTexts(job, "test", job.prepared.evaluation.files["test"], teachers)
            tests.score(tests.texts)
            merged_tests = {language: merge(tests.read(language), rule) for language in tests.texts}
        if distil:
            scores = job.train(Student(self.terms, job.prepared.unlabelled_targets, labels)).scores      # E
        else:
            tagged = _tag_tests(job, merged_tests, names)
            scores = {"test": tagged, "last": tagged, "oracle": {}, **NO_TRAINING}
        if audit:
            write_audit(job, labels, {language: texts.read(language) for language in labels}, merged_tests,
                        student=job.prepared.model if distil else None)
        return scores

    def resolve(self, settings: Settings) -> tuple[Settings, list[str]]:
        """Rewrite variants as ordinary settings: tladv is one teacher, ft is fine-tuning, all-data is ρ = 1."""
        if settings["advpicker.teachers_from"]:                        # so that --resume works from any directory
            settings = settings.override([f"advpicker.teachers_from={path_key(Path(settings['advpicker.teachers_from']))}"])
        variant = settings["advpicker.variant"]
        messages = []
        if settings["advpicker.audit"] and variant in (TLADV, FT):
            messages.append(f"{WARNING}advpicker.audit has no effect: advpicker.variant={variant} makes no pseudo-labels")
        if variant == TLADV:
            settings = teacher_settings(settings).override([f"train.max_steps={settings['train.max_steps']}"])
        elif variant == FT:
            settings = settings.override(["method=finetune", *(term.OFF for term in self.terms),
                                          f"train.epochs={settings['advpicker.epochs']}"])
        elif variant == ALL_DATA:
            settings = settings.override(["advpicker.rho=1.0"])
        return settings, messages

    def check(self, settings: Settings, inputs: Inputs) -> None:
        super().check(settings, inputs)
        if settings["task"] not in TAGGING:
            raise UserError(f"method: advpicker trains taggers (task ner or pos), got task {settings['task']}; for documents use "
                            "the recipe language-adversarial-classification")
        existing_teachers(settings)                                    # raises UserError if there are none in the folder
        if settings["advpicker.variant"] == WITHOUT_KD and not inputs.test:
            raise UserError("--test: advpicker.variant=without-kd needs a test file for its teachers to tag, for example "
                            "--test es=es.txt")

    def check_prepared(self, settings: Settings, inputs: Inputs, prepared: Prepared) -> list[str]:
        messages = super().check_prepared(settings, inputs, prepared)
        corpora = [text.corpus for text in prepared.unlabelled_targets.values()]
        for corpus in corpora:
            if not int(settings["advpicker.rho"] * len(corpus.inputs)):
                raise UserError(f"advpicker.rho: {settings['advpicker.rho']:g} selects none of the {len(corpus.inputs)} sentences "
                                f"of {corpus.path}; expected a share of at least one sentence: raise it, or give more text")
        messages += audit_warnings("advpicker.audit", settings, corpora)
        if settings["advpicker.variant"] != WITHOUT_KD and len(corpora) > 1:
            messages.append(f"one student learns all {len(corpora)} target languages; the paper (Chen et al. 2021) trains one for "
                            "each (advpicker.teachers_from)")
        check_teachers(settings, inputs, prepared.labels, prepared.fingerprints)
        return messages

    def check_seeds(self, settings: Settings, inputs: Inputs, seeds: Sequence[int]) -> None:
        if settings["advpicker.variant"] == WITHOUT_KD and len(seeds) > 1:
            raise UserError(f"advpicker.variant=without-kd: expected one seed, found {len(seeds)}; a seed only changes the "
                            "student, and this variant has none; advpicker.teachers sets the number of teachers")

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        return report_section(folder, metrics)


def _tag_tests(job: Job, merged: Mapping[str, Any], names: list[str]) -> Scores:
    """Score the ablation without a student: each test sentence has the tags of its most confident teacher."""
    evaluation, scores = job.prepared.evaluation, {}
    for language, labelled in merged.items():
        tags = pseudo_tags(labelled, names, evaluation.scheme, constrained=job.settings["decode.constrained"])
        scores[language] = evaluation.score_test(language, tags)
    return scores
