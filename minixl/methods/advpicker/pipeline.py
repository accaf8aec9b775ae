"""AdvPicker as a run of several stages, each of which is on disk before the next begins.  Chen et al. 2021, algorithm 1.

    OUT/teachers/seed-K/                     stage A: a run folder for each teacher
    OUT/pseudo-labels/LANGUAGE.seed-K        stage B: what a teacher says of a language's unlabelled text
    OUT/pseudo-labels/LANGUAGE.safetensors   stages C and D: merged, and which sentences were selected; .conll: those alone
    OUT/pseudo-labels/test/                  stage B for the test files, where the study or an ablation asks for it
    OUT/                                     stage E: the student, a run like any other

A stopped run continues in the stage and at the step where it was: a finished teacher is not trained again, a stored score
is used again if the text, the teacher and the settings are those it was made from.  Several students (--seeds) share the
teachers and their labels.

With advpicker.teachers_from another run's OUT/teachers are used, and those of its scores that were made from the same text,
teacher and settings; what is missing is made in this run's folder, the other one is only read.  So a student for each
target language, as in the paper, and an ablation take no longer than their own stages.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.data.corpus import Corpus
from minixl.data.encoding import Encoded, Example
from minixl.errors import UserError
from minixl.evaluation.scores import Score, score
from minixl.data.inputs import Inputs, key
from minixl.methods.advpicker.labels import Merged, Scored, independence, mask, merge, pseudo_tags, score_sentences, select
from minixl.methods.advpicker.student import pseudo_examples
from minixl.building.folder import load_model
from minixl.models.transformer import Transformer
from minixl.training.progress import Reporter, Stop, over_pieces, stop_here
from minixl.methods.advpicker.files import (SCORING, SELECTING, Origin, PseudoLabels, is_made_from, origin, read_pseudo_labels, read_scored,
                                  write_conll, write_pseudo_labels, write_scored)
from minixl.settings import Settings
from minixl.methods.advpicker.teachers import Teacher, common_labels
from minixl.training.loop import Evaluation


class Text(NamedTuple):
    """The unlabelled text of one language."""

    corpus: Corpus
    encoded: Encoded


def check_selection(settings: Settings, corpora: Sequence[Corpus]) -> None:
    """Raises UserError where advpicker.rho selects no sentence of a language."""
    rho = settings["advpicker.rho"]
    for corpus in corpora:
        if not int(rho * len(corpus.inputs)):
            raise UserError(f"advpicker.rho: {rho:g} selects none of the {len(corpus.inputs)} sentences of {corpus.path}; expected "
                            "a share that is at least one sentence, raise it or give more text")


class Scoring(NamedTuple):
    """Text that every teacher scores, and where the scores are stored."""

    role: str                          # "unlabelled" or "test"
    texts: Mapping[str, Text]
    digests: Mapping[str, str]         # language -> that of its file
    folders: list[Path]                # the one to write to, then one where scores may be as well

    def stored(self, settings: Settings, language: str, name: str, teacher: Teacher) -> Path:
        """Where a teacher's scores are, or else are to be."""
        own, *others = [folder / f"{language}.{name}.safetensors" for folder in self.folders]
        made_from = self.made_from(settings, language, name, teacher)
        return next((path for path in others if is_made_from(path, made_from)), own)

    def made_from(self, settings: Settings, language: str, name: str, teacher: Teacher) -> Origin:
        return origin({f"{self.role} {language}": self.digests[language]}, {name: teacher.digest}, settings,
                      (*SCORING, f"data.{self.role}_limit"))

    def read(self, settings: Settings, teachers: Mapping[str, Teacher]) -> dict[str, list[Scored]]:
        """language -> what each teacher said of its text."""
        return {language: [read_scored(self.stored(settings, language, name, teacher),
                                       self.made_from(settings, language, name, teacher))
                           for name, teacher in teachers.items()] for language in self.texts}


def scoring_of_unlabelled(settings: Settings, texts: Mapping[str, Text], inputs: Inputs, fingerprints: Mapping[str, str],
                          folder: Path) -> Scoring:
    """The text that is to be labelled; folder: where the run keeps the scores."""
    digests = {language: fingerprints[key(path)] for language, path in inputs.unlabelled}
    return Scoring("unlabelled", texts, digests, [root / "pseudo-labels" for root in _roots(settings, folder)])


def scoring_of_tests(settings: Settings, evaluation: Evaluation, inputs: Inputs, fingerprints: Mapping[str, str],
                     folder: Path) -> Scoring:
    """The test files."""
    texts = {language: Text(*file) for language, file in evaluation.files["test"].items()}
    digests = {language: fingerprints[key(path)] for language, path in inputs.test}
    return Scoring("test", texts, digests, [root / "pseudo-labels" / "test" for root in _roots(settings, folder)])


def _roots(settings: Settings, folder: Path) -> list[Path]:
    elsewhere = settings["advpicker.teachers_from"]
    return [folder, Path(elsewhere)] if elsewhere else [folder]


def score_texts(settings: Settings, scoring: Scoring, teachers: Mapping[str, Teacher], languages: Sequence[str], reporter: Reporter,
                xp: Any, stop: Stop) -> None:
    """Stage B for some of the languages; what is stored is not scored again."""
    for name, teacher in teachers.items():
        todo = [language for language in languages if not scoring.stored(settings, language, name, teacher).is_file()]
        if not todo:
            continue
        model, _, _ = load_model(teacher.folder, xp=xp)
        assert isinstance(model, Transformer)
        for language in todo:
            stop_here(stop)
            encoded = scoring.texts[language].encoded
            reporter.message(f"teacher {name} labels {encoded.sources} {scoring.role} sentences in {language}")
            with over_pieces(encoded.pieces, "labelling", reporter, stop) as progress:
                scored = score_sentences(model, encoded, specials=settings["adversary.specials"], progress=progress)
            write_scored(scoring.stored(settings, language, name, teacher), scored,
                         scoring.made_from(settings, language, name, teacher))


def make_pseudo_labels(settings: Settings, scoring: Scoring, teachers: Mapping[str, Teacher], scheme: str,
                       reporter: Reporter, xp: Any, stop: Stop) -> dict[str, PseudoLabels]:
    """Stages B, C and D: the pseudo-labels of every language, read where they are stored and still true."""
    labels = common_labels(teachers)
    paths = {language: scoring.folders[0] / f"{language}.safetensors" for language in scoring.texts}
    open_languages = [language for language, path in paths.items() if not path.is_file()]
    needed = list(scoring.texts) if settings["advpicker.study"] else open_languages    # the study reads every teacher's scores
    score_texts(settings, scoring, teachers, needed, reporter, xp, stop)
    found, digests = {}, {name: teacher.digest for name, teacher in teachers.items()}
    for language, text in scoring.texts.items():
        path = paths[language]
        made_from = origin({f"{scoring.role} {language}": scoring.digests[language]}, digests, settings, SELECTING)
        if language in open_languages:
            scored = scoring._replace(texts={language: text}).read(settings, teachers)[language]
            picked = _picked(settings, scored, labels, list(teachers))
            write_conll(path.with_suffix(".conll"), text.corpus.sentences(), picked, scheme,
                        constrained=settings["decode.constrained"])
            write_pseudo_labels(path, picked, made_from)               # last: from here on this language is finished
        found[language] = read_pseudo_labels(path, made_from)
        reporter.message(f"pseudo-labels {language}: {int(found[language].selected.sum())} of {len(found[language].selected)} "
                         "sentences selected")
    return found


def _picked(settings: Settings, scored: list[Scored], labels: list[str], names: list[str]) -> PseudoLabels:
    """Stages C and D."""
    merged: Merged = merge(scored, settings["advpicker.merge"])
    chosen = select(independence(merged.p_bar), settings["advpicker.rho"])
    return PseudoLabels(merged, mask(chosen, len(merged.p_bar)), labels, names)


def student_examples(texts: Mapping[str, Text], labels: Mapping[str, PseudoLabels]) -> tuple[list[Example], np.ndarray]:
    """The selected sentences of all languages, and the soft labels (W, K) that their labels are rows of."""
    examples: list[Example] = []
    targets: list[np.ndarray] = []
    for language, text in texts.items():
        merged = labels[language].merged
        before = sum(map(len, targets))
        examples += [replace(example, labels=example.labels + before)
                     for example in pseudo_examples(text.encoded, merged.starts, labels[language].selected)]
        targets.append(merged.probabilities)
    return examples, np.concatenate(targets)


def merged_tests(settings: Settings, scoring: Scoring, teachers: Mapping[str, Teacher], reporter: Reporter, xp: Any,
                 stop: Stop) -> dict[str, Merged]:
    """Stages B and C for the test files, by language."""
    score_texts(settings, scoring, teachers, list(scoring.texts), reporter, xp, stop)
    return {language: merge(scored, settings["advpicker.merge"])
            for language, scored in scoring.read(settings, teachers).items()}


def tag_with_teachers(settings: Settings, teachers: Mapping[str, Teacher], merged: Mapping[str, Merged],
                      evaluation: Evaluation) -> dict[str, Score]:
    """The ablation without a student: the teachers tag the test files, each sentence by its surest one."""
    labels, scores = common_labels(teachers), {}
    for language, of_language in merged.items():
        tags = pseudo_tags(of_language, labels, evaluation.scheme, constrained=settings["decode.constrained"])
        scores[language] = score(evaluation.task, evaluation.files["test"][language][0].gold(), tags)
    return scores
