"""AdvPicker as a run of several stages, each of which is on disk before the next begins.  Chen et al. 2021, algorithm 1.

    OUT/teachers/seed-K/                     stage A: a run folder for each teacher
    OUT/pseudo-labels/LANGUAGE.seed-K        stage B: what a teacher says of a language's unlabelled text
    OUT/pseudo-labels/LANGUAGE.safetensors   stages C and D: merged, with the sentences that were selected; .conll to read
    OUT/pseudo-labels/test/                  stage B for the test files, where the study or an ablation asks for it
    OUT/                                     stage E: the student, a run like any other

A stopped run continues in the stage and at the step where it was: a finished teacher is not trained again, a stored score
is used again if the text, the teacher and the settings are those it was made from.  Several students (--seeds) share the
teachers and their labels.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.data.corpus import Corpus
from minixl.data.encoding import Encoded, Example
from minixl.errors import UserError
from minixl.evaluation import Score, score
from minixl.inputs import Inputs
from minixl.methods.advpicker import Merged, Scored, independence, mask, merge, pseudo_tags, score_sentences, select
from minixl.methods.distill import pseudo_examples
from minixl.model_folder import load_model, read_info
from minixl.models.transformer import Transformer
from minixl.pseudo_labels import (SCORING, SELECTING, Origin, PseudoLabels, origin, read_pseudo_labels, read_scored, write_conll,
                                  write_pseudo_labels, write_scored)
from minixl.progress import Reporter, Stop, over_pieces, stop_here
from minixl.run_folder import check_same, check_unchanged, is_finished
from minixl.settings import Settings
from minixl.training import Evaluation

Train = Callable[..., dict[str, Any]]      # minixl.runs.train_run


class Text(NamedTuple):
    """The unlabelled text of one language."""

    corpus: Corpus
    encoded: Encoded


def teacher_settings(settings: Settings) -> Settings:
    """Stage A: the task's updates in turn with those of a discriminator on tokens."""
    level = settings["adversary.level"] if settings["adversary.level"] != "none" else "token"
    return settings.override(["method=language-adversarial", f"adversary.level={level}",
                              f"train.epochs={settings['advpicker.epochs']}", "train.max_steps=0"])


def variant(settings: Settings) -> Settings:
    """What advpicker.variant makes of the settings: its ablations "ft" and "tladv" are methods of their own."""
    chosen = settings["advpicker.variant"]
    if settings["method"] != "advpicker" or chosen not in ("ft", "tladv"):
        return settings.override(["advpicker.rho=1.0"]) if chosen == "all-data" else settings
    if chosen == "tladv":
        return teacher_settings(settings)
    return settings.override(["method=finetune", f"train.epochs={settings['advpicker.epochs']}", "train.max_steps=0"])


def check_selection(settings: Settings, corpora: Sequence[Corpus]) -> None:
    """Raises UserError where advpicker.rho selects no sentence of a language."""
    rho = settings["advpicker.rho"]
    for corpus in corpora:
        if not int(rho * len(corpus.inputs)):
            raise UserError(f"advpicker.rho: {rho:g} selects none of the {len(corpus.inputs)} sentences of {corpus.path}; expected "
                            "a share that is at least one sentence, raise it or give more text")


def train_teachers(settings: Settings, inputs: Inputs, fingerprints: Mapping[str, str], folder: Path, train: Train,
                   reporter: Reporter, *, stop: Stop, **how: Any) -> dict[str, Path]:
    """Stage A.  name -> model folder of every teacher; those that are finished are left as they are.

    fingerprints: those of the inputs.  Raises UserError where a finished teacher was trained on or for something else.
    """
    chosen, teachers = teacher_settings(settings), {}
    for seed in range(1, settings["advpicker.teachers"] + 1):
        name = f"seed-{seed}"
        out = folder / "teachers" / name
        if is_finished(out):
            check_same(out, chosen, inputs, seed)
            check_unchanged(out, fingerprints)
        else:
            stop_here(stop)
            reporter.message(f"teacher {seed} of {settings['advpicker.teachers']}")
            train(chosen, inputs, out, seed=seed, reporter=reporter, resume=(out / "config.toml").is_file(), stop=stop, **how)
        teachers[name] = out / "model"
    return teachers


class Scoring(NamedTuple):
    """Text that every teacher scores, and where the scores are stored."""

    role: str                          # "unlabelled" or "test"
    texts: Mapping[str, Text]
    paths: Mapping[str, Path]
    folder: Path

    def stored(self, language: str, teacher: str) -> Path:
        return self.folder / f"{language}.{teacher}.safetensors"

    def made_from(self, settings: Settings, language: str, name: str, teacher: Path) -> Origin:
        return origin({f"{self.role} {language}": self.paths[language]}, {name: teacher}, settings,
                      (*SCORING, f"data.{self.role}_limit"))

    def read(self, settings: Settings, teachers: Mapping[str, Path]) -> dict[str, list[Scored]]:
        """language -> what each teacher said of its text."""
        return {language: [read_scored(self.stored(language, name), self.made_from(settings, language, name, teacher))
                           for name, teacher in teachers.items()] for language in self.texts}


def scoring_of_unlabelled(texts: Mapping[str, Text], inputs: Inputs, folder: Path) -> Scoring:
    """The text that is to be labelled; folder: that of the teachers."""
    return Scoring("unlabelled", texts, dict(inputs.unlabelled), folder / "pseudo-labels")


def scoring_of_tests(evaluation: Evaluation, inputs: Inputs, folder: Path) -> Scoring:
    """The test files."""
    return Scoring("test", {language: Text(*file) for language, file in evaluation.files["test"].items()}, dict(inputs.test),
                   folder / "pseudo-labels" / "test")


def score_texts(settings: Settings, scoring: Scoring, teachers: Mapping[str, Path], languages: Sequence[str], reporter: Reporter,
                xp: Any, stop: Stop) -> None:
    """Stage B for some of the languages; what is stored is not scored again."""
    for name, teacher in teachers.items():
        todo = [language for language in languages if not scoring.stored(language, name).is_file()]
        if not todo:
            continue
        model, _, _ = load_model(teacher, xp=xp)
        assert isinstance(model, Transformer)
        for language in todo:
            stop_here(stop)
            encoded = scoring.texts[language].encoded
            reporter.message(f"teacher {name} labels {encoded.sources} {scoring.role} sentences in {language}")
            with over_pieces(encoded.pieces, "labelling", reporter, stop) as progress:
                scored = score_sentences(model, encoded, specials=settings["adversary.specials"], progress=progress)
            write_scored(scoring.stored(language, name), scored, scoring.made_from(settings, language, name, teacher))


def label(settings: Settings, scoring: Scoring, teachers: Mapping[str, Path], scheme: str, reporter: Reporter, xp: Any,
          stop: Stop) -> dict[str, PseudoLabels]:
    """Stages B, C and D: the pseudo-labels of every language, read where they are stored and still true."""
    labels = common_labels(teachers)
    paths = {language: scoring.folder / f"{language}.safetensors" for language in scoring.texts}
    open_languages = [language for language, path in paths.items() if not path.is_file()]
    score_texts(settings, scoring, teachers, open_languages, reporter, xp, stop)
    found = {}
    for language, text in scoring.texts.items():
        path = paths[language]
        made_from = origin({f"{scoring.role} {language}": scoring.paths[language]}, teachers, settings, SELECTING)
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


def common_labels(teachers: Mapping[str, Path]) -> list[str]:
    """The labels of all teachers, which must be the same in the same order."""
    (first, folder), *others = teachers.items()
    labels = read_info(folder).labels
    for name, other in others:
        if read_info(other).labels != labels:
            raise UserError(f"{other}: expected the labels of teacher {first} ({', '.join(labels)}), found those of teacher "
                            f"{name}: {', '.join(read_info(other).labels)}; train the teachers on the same data")
    return labels


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


def merged_tests(settings: Settings, scoring: Scoring, teachers: Mapping[str, Path], reporter: Reporter, xp: Any,
                 stop: Stop) -> dict[str, Merged]:
    """Stages B and C for the test files, by language."""
    score_texts(settings, scoring, teachers, list(scoring.texts), reporter, xp, stop)
    return {language: merge(scored, settings["advpicker.merge"])
            for language, scored in scoring.read(settings, teachers).items()}


def tag_with_teachers(settings: Settings, teachers: Mapping[str, Path], merged: Mapping[str, Merged],
                      evaluation: Evaluation) -> dict[str, Score]:
    """The ablation without a student: the teachers tag the test files, each sentence by its surest one."""
    labels, scores = common_labels(teachers), {}
    for language, of_language in merged.items():
        tags = pseudo_tags(of_language, labels, evaluation.scheme, constrained=settings["decode.constrained"])
        scores[language] = score(evaluation.task, evaluation.files["test"][language][0].gold(), tags)
    return scores
