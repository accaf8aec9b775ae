"""Read the text files of a run and check that they fit each other, before a model is built."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minixl.data import header, limits
from minixl.data.corpus import (Corpus, check_class_counts, check_labels, collect_labels, joined, read_corpus, read_unlabelled,
                                suspected_headers)
from minixl.data.encoding import ON_LONG, SHORTEST
from minixl.data.inputs import Inputs, LanguageFiles, by_language
from minixl.data.label_map import LabelMap
from minixl.data.header import LABEL_COLUMN, TEXT_COLUMN, Columns
from minixl.data.limits import FIRST
from minixl.data.sanity import one_label_warning, overlap_warning, texts_in
from minixl.errors import WARNING, UserError
from minixl.settings import Section, Setting, Settings

TASKS = ("ner", "pos", "classification")

SECTION = Section("data", {
    "task": Setting("ner", "task of the model", TASKS),
    "data.max_length": Setting(128, "longest input in word pieces, [CLS] and [SEP] included", at_least=SHORTEST),
    "data.on_long": Setting("window", "what to do with a longer input", ON_LONG),
    **limits.SETTINGS,
    "data.min_count": Setting(2, "minimum number of documents per class; fewer is an error, usually a mistyped label", at_least=1),
    **header.SETTINGS,
    "data.labels": Setting([], "labels to rename, OLD=NEW: entity types (MISC=O), tags or document labels (spam= leaves them out)"),
    "data.scheme": Setting("auto", "scheme of the entity tags; auto detects it", ("auto", "IOB1", "IOB2", "IOBES", "BIOUL")),
    "data.encoding": Setting("utf-8", "character encoding of the files"),
})


@dataclass
class Files:
    """The content of a run's text files."""

    sources: list[Corpus]
    dev: list[Corpus]
    test: list[Corpus]
    unlabelled_sources: list[Corpus]           # unlabelled text in the source languages
    unlabelled_targets: list[Corpus]           # in other languages; both are empty unless the method needs them
    warnings: list[str]                        # about labelled text with which training or a score would mislead


def read_files(settings: Settings, inputs: Inputs, needed_by: str, *, raw_text: bool = False) -> Files:
    """Read every file and check that their labels fit each other.

    needed_by: the method or setting that needs unlabelled text; "" if none does, so that it is not read.
    raw_text: the method itself reads the unlabelled files.
    """
    labels = LabelMap(settings["task"], settings["data.labels"])
    read = partial(read_labelled, settings, labels=labels)
    complete = read(inputs.source)
    sources = [limited(corpus, settings, "data.limit") for corpus in complete]
    _check_limited(settings, complete, sources, lambda corpora: _check_sources(settings, corpora))
    unlabelled = _read_unlabelled(settings, inputs, sources, needed_by) if needed_by else ([], [])
    if not needed_by and not raw_text:
        _check_unused(inputs)
    scored = {"dev": read(inputs.dev), "test": read(inputs.test)}
    dev, test = ([limited(corpus, settings, "data.test_limit") for corpus in corpora] for corpora in scored.values())
    for corpus in dev + test:
        _check_limited(settings, complete, sources, partial(_check_known, corpus))
    warnings = [one_label_warning(f"{role} {whole.language}", part, whole, limit, settings["data.sample"])
                for role, wholes, parts, limit in (("source", complete, sources, "data.limit"),
                                                   ("dev", scored["dev"], dev, "data.test_limit"),
                                                   ("test", scored["test"], test, "data.test_limit"))
                for whole, part in zip(wholes, parts, strict=True)]
    training = texts_in(sources)
    warnings += [overlap_warning(f"{role} {corpus.language}", corpus, training)
                 for role, corpora in (("dev", dev), ("test", test)) for corpus in corpora]
    warnings += [f"{WARNING}{document.place(corpus.path)}: {document.hint}" for corpus, document in suspected_headers(sources)]
    return Files(sources, dev, test, *unlabelled, [warning for warning in warnings if warning] + labels.unused())


def read_labelled(settings: Settings, pairs: LanguageFiles, labels: LabelMap | None = None) -> list[Corpus]:
    """Return the labelled text of each language.  labels: new names, which this notes as seen; None: those of data.labels."""
    labels = labels or LabelMap(settings["task"], settings["data.labels"])
    return read_languages(pairs, lambda language, path: labels.apply(
        read_corpus(settings["task"], language, path, encoding=settings["data.encoding"], scheme=settings["data.scheme"],
                    columns=columns_of(settings))))


def read_languages(pairs: LanguageFiles, read: Callable[[str, Path], Corpus]) -> list[Corpus]:
    """Return one corpus for each language: read(language, path) of its files, one after another."""
    return [joined([read(language, path) for path in paths]) for language, paths in by_language(pairs).items()]


def columns_of(settings: Settings) -> Columns:
    """Return the columns that the user named."""
    return Columns(settings[TEXT_COLUMN], settings[LABEL_COLUMN])


def limited(corpus: Corpus, settings: Settings, limit: str) -> Corpus:
    """Return what a limit keeps of a text.  limit: the name of its setting, such as data.limit."""
    return corpus.limited(settings[limit], settings["data.sample"], settings["data.sample_seed"])


def _check_sources(settings: Settings, corpora: list[Corpus]) -> None:
    """Raises UserError if the labels of the training data are too few to learn from."""
    labels = collect_labels(settings["task"], corpora)
    if len(labels) < 2:
        raise UserError(f"{corpora[0].path}: expected at least two different labels, found only {', '.join(labels) or 'none'}; "
                        "give more text, or check which column holds them")
    check_class_counts(corpora, settings["data.min_count"])


def _check_known(corpus: Corpus, sources: list[Corpus]) -> None:
    check_labels(corpus, collect_labels(corpus.task, sources))


def _check_limited(settings: Settings, complete: list[Corpus], limited: list[Corpus],
                   check: Callable[[list[Corpus]], None]) -> None:
    """check(limited).  Raises its UserError or, if the complete files would pass, one that blames data.limit."""
    try:
        check(limited)
    except UserError as error:
        if not settings["data.limit"] or not _passes(check, complete):
            raise
        draw = ", or draw them from the whole text with --set data.sample=random" * (settings["data.sample"] == FIRST)
        raise UserError(f"data.limit: {settings['data.limit']} sentences of each source language are too few, all would be enough: "
                        f"{str(error).partition(';')[0]}; raise data.limit{draw}") from None


def _passes(check: Callable[[list[Corpus]], None], corpora: list[Corpus]) -> bool:
    try:
        check(corpora)
    except UserError:
        return False
    return True


def _read_unlabelled(settings: Settings, inputs: Inputs, sources: list[Corpus],
                     needed_by: str) -> tuple[list[Corpus], list[Corpus]]:
    """Read the unlabelled text in the source languages and in the others.  Raises UserError if there are no others."""
    languages = {corpus.language for corpus in sources}
    read = partial(read_unlabelled, settings["task"], encoding=settings["data.encoding"], columns=columns_of(settings))
    corpora = [limited(corpus, settings, "data.unlabelled_limit") for corpus in read_languages(inputs.unlabelled, read)]
    targets = [corpus for corpus in corpora if corpus.language not in languages]
    if not targets:
        raise UserError(f"--unlabelled: {needed_by} reads unlabelled text, so it needs text in a language other than "
                        f"{', '.join(sorted(languages))}, for example --unlabelled es=es.txt; found "
                        f"{', '.join(corpus.language for corpus in corpora) or 'none'}")
    return [corpus for corpus in corpora if corpus.language in languages], targets


def _check_unused(inputs: Inputs) -> None:
    """Raises UserError for a file that does not exist, even though nothing reads it."""
    for language, path in inputs.unlabelled:
        if not path.is_file():
            raise UserError(f"--unlabelled {language}={path}: expected a file, found "
                            f"{'a directory' if path.is_dir() else 'nothing'}")
