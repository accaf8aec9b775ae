"""AdvPicker's scores and pseudo-labels on disk; rejected if the text or the teachers have changed (run/once.py).

    LANGUAGE.TEACHER.safetensors     one teacher's scores: probabilities (W, K), starts (N+1,), p_bar (N,), max_logit (N,)
    LANGUAGE.safetensors             probabilities (W, K), starts (N+1,), p_bar (N,), teacher (N,), selected (N,); notes: labels,
                                     teachers
    LANGUAGE.conll                   the selected sentences as labelled text, to read or to train on

In LANGUAGE.conll each line has a word, the probability of its tag and the tag, separated by tabs.  A comment such as

    # sentence 12: teacher seed-550, source probability 0.4132, independence 0.9132

precedes each sentence; 12 is its number in the text, counting also the sentences that are not selected.
Test: tests/methods/advpicker/test_files.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minixl.building import load_model
from minixl.data.corpus import Corpus
from minixl.data.encoding import Encoded
from minixl.data.examples import Sentence
from minixl.data.limits import settings_of_text
from minixl.data.schemes import paths_to_tags
from minixl.files import replaced_file
from minixl.methods.advpicker.labels import Merged, Scored, best_labels, independence, score_sentences
from minixl.methods.advpicker.teachers import Teacher
from minixl.run.method import Job
from minixl.run.once import CURE, Content, Origin, damaged, read, settings_of, text_digest, where
from minixl.training.progress import over_pieces

SCORED, LABELS = "scores of a teacher", "pseudo-labels"                # the kinds of files
SCORING = ("data.max_length", "data.on_long", "data.encoding", "adversary.specials")
SELECTING = (*SCORING, "advpicker.merge", "advpicker.rho")


@dataclass(frozen=True)
class PseudoLabels:
    """The soft labels of one language's unlabelled text, and which sentences the student learns from."""

    merged: Merged
    selected: np.ndarray               # (N,) bool
    labels: list[str]                  # (K,)
    teachers: list[str]                # their names, by the index in merged.teacher


class ScoredTexts:
    """Texts that every teacher scores, with the scores stored in this run's folder or in that of advpicker.teachers_from."""

    def __init__(self, job: Job, role: str, texts: Mapping[str, tuple[Corpus, Encoded]], teachers: Mapping[str, Teacher]) -> None:
        """role: "unlabelled" or "test"."""
        self.job, self.role, self.texts, self.teachers = job, role, texts, teachers
        others = [Path(job.settings["advpicker.teachers_from"])] if job.settings["advpicker.teachers_from"] else []
        subfolder = Path("pseudo-labels") / ("test" if role == "test" else "")
        self.folder, *self.elsewhere = [root / subfolder for root in (job.shared, *others)]
        self.digests = {language: text_digest(getattr(job.inputs, role), language, job.prepared.fingerprints)
                        for language in texts}

    def without_labels(self) -> list[str]:
        """Return the languages that have no merged labels yet."""
        return [language for language in self.texts if not (self.folder / f"{language}.safetensors").is_file()]

    def score(self, languages: Iterable[str]) -> None:
        """Run stage B for some of the languages, except where scores are stored."""
        for name, teacher in self.teachers.items():
            missing = [language for language in languages if not self._stored(language, name).is_file()]
            model = load_model(teacher.folder, xp=self.job.xp, read_only=True)[0] if missing else None      # once for all languages
            for language in missing:
                self.job.once(self._stored(language, name), SCORED, self._made_from(language, name),
                              partial(self._score, name, model, language))

    def read(self, language: str) -> list[Scored]:
        """Read each teacher's scores of a language's text."""
        return [read_scored(self._stored(language, name), self._made_from(language, name)) for name in self.teachers]

    def origin(self, language: str) -> dict[str, str]:
        """Return the part of an origin that records a language's text and all teachers."""
        return {f"{self.role} {language}": self.digests[language],
                **{f"teacher {name}": teacher.digest for name, teacher in self.teachers.items()}}

    def _score(self, name: str, model: Any, language: str) -> Content:
        _, encoded = self.texts[language]
        self.job.reporter.message(f"teacher {name} labels {encoded.sources} {self.role} sentences in {language}")
        with over_pieces(encoded.pieces, "labelling", self.job.reporter, self.job.stop) as progress:
            scored = score_sentences(model, encoded, specials=self.job.settings["adversary.specials"], progress=progress)
        return content_of_scores(scored)

    def _stored(self, language: str, name: str) -> Path:
        """Return the file with a teacher's scores, or the one to write them to."""
        path, *others = [folder / f"{language}.{name}.safetensors" for folder in (self.folder, *self.elsewhere)]
        return where(path, self._made_from(language, name), others)

    def _made_from(self, language: str, name: str) -> Origin:
        return {f"{self.role} {language}": self.digests[language], f"teacher {name}": self.teachers[name].digest,
                **settings_of(self.job.settings, SCORING), **self.limit()}

    def limit(self) -> Origin:
        """Return the part of an origin that records which inputs of a text a limit keeps."""
        return settings_of(self.job.settings, settings_of_text(self.job.settings, f"data.{self.role}_limit"))


def kept_labels(texts: ScoredTexts, language: str, pick: Callable[[str], PseudoLabels]) -> PseudoLabels:
    """Return the pseudo-labels of a language; pick(language) makes them unless they are stored."""
    job, path = texts.job, texts.folder / f"{language}.safetensors"
    made_from = {**texts.origin(language), **settings_of(job.settings, SELECTING), **texts.limit()}

    def make() -> Content:
        labels = pick(language)
        write_conll(path.with_suffix(".conll"), texts.texts[language][0].sentences(), labels, job.prepared.evaluation.scheme,
                    constrained=job.settings["decode.constrained"])
        return content_of_labels(labels)

    labels = labels_of(path, job.once(path, LABELS, made_from, make))      # written last: marks this language as finished
    job.reporter.message(f"pseudo-labels {language}: {int(labels.selected.sum())} of {len(labels.selected)} sentences selected")
    return labels


def content_of_scores(scored: Scored) -> Content:
    """Return a teacher's scores as the content of a file."""
    return Content(scored._asdict(), {})


def content_of_labels(labels: PseudoLabels) -> Content:
    """Return pseudo-labels as the content of a file."""
    return Content({**labels.merged._asdict(), "selected": labels.selected}, {"labels": labels.labels, "teachers": labels.teachers})


def read_scored(path: Path, made_from: Origin | None = None) -> Scored:
    """Read one teacher's scores.  Raises UserError as run.once.read does, and for arrays that do not fit each other."""
    content = read(path, SCORED, made_from)
    return Scored(*_checked(path, content.arrays, Scored._fields, ("p_bar", "max_logit")))


def labels_of(path: Path, content: Content) -> PseudoLabels:
    """Return the pseudo-labels in the content of a file.  Raises UserError for arrays that do not fit each other."""
    *merged, selected = _checked(path, content.arrays, (*Merged._fields, "selected"), ("p_bar", "teacher", "selected"))
    labels, teachers = content.notes.get("labels"), content.notes.get("teachers")
    if not isinstance(labels, list) or not isinstance(teachers, list) or len(labels) != merged[0].shape[1] \
            or not np.isin(merged[3], np.arange(len(teachers))).all():
        raise damaged(path, "labels or teachers do not fit the arrays")
    return PseudoLabels(Merged(*merged), selected, labels, teachers)


def _checked(path: Path, arrays: Mapping[str, np.ndarray], names: Sequence[str], by_sentence: Sequence[str]) -> list[np.ndarray]:
    """Return the arrays in this order.  Raises UserError if one is missing or their shapes do not fit each other."""
    missing = [name for name in names if name not in arrays]
    if missing:
        raise damaged(path, f"{missing[0]} is missing")
    starts, probabilities = arrays["starts"], arrays["probabilities"]
    fits = (starts.ndim == 1 and len(starts) and starts[0] == 0 and (np.diff(starts) >= 0).all()
            and probabilities.ndim == 2 and starts[-1] == len(probabilities)
            and all(arrays[name].shape == (len(starts) - 1,) for name in by_sentence))
    if not fits:
        raise damaged(path, "the arrays do not fit each other")
    return [arrays[name] for name in names]


def write_conll(path: Path, sentences: Sequence[Sentence], labels: PseudoLabels, scheme: str = "IOB2", *,
                constrained: bool = True) -> None:
    """Write the selected sentences to LANGUAGE.conll atomically.  sentences: the complete text.

    A truncated sentence is written without the words that no teacher read, and its comment says so.
    """
    with replaced_file(path, CURE) as fresh, open(fresh, "w", encoding="utf-8") as file:
        file.writelines(_conll_lines(sentences, labels, scheme, constrained))


def _conll_lines(sentences: Sequence[Sentence], labels: PseudoLabels, scheme: str, constrained: bool) -> Iterator[str]:
    merged = labels.merged
    best = best_labels(merged, labels.labels, scheme, constrained=constrained)                 # (W,)
    probabilities = merged.probabilities[np.arange(len(best)), best]                           # (W,)
    tags, scores = paths_to_tags(best, merged.starts, labels.labels, scheme), independence(merged.p_bar)
    for i, (sentence, sequence) in enumerate(zip(sentences, tags, strict=True)):
        if not labels.selected[i]:
            continue
        cut = f", first {len(sequence)} of {len(sentence.words)} words" if len(sequence) < len(sentence.words) else ""
        yield (f"# sentence {i + 1}: teacher {labels.teachers[merged.teacher[i]]}, source probability {merged.p_bar[i]:.4f}, "
               f"independence {scores[i]:.4f}{cut}\n")
        for word, probability, tag in zip(sentence.words, probabilities[merged.starts[i]:], sequence, strict=False):
            yield f"{word}\t{probability:.4f}\t{tag}\n"
        yield "\n"
