"""Start a step from a text that the reader types, with a trained model, an encoder with a new head, or a new BiLSTM-CRF.

    with of_text(Source("runs/es/model"), [("anna visited paris", "B-PER O B-LOC")]) as start:
        recording = record(start.objective, start.step)

The objective is that of the method, with the settings of its run: the texts are one batch of labelled source text.
"""
from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minixl.building import Request, build, family_of, load_info, load_model, scheme_of
from minixl.data.corpus import Corpus, collect_labels, encode_corpus
from minixl.data.examples import TAGGING, Document, Sentence
from minixl.data.inputs import Inputs
from minixl.errors import UserError, nearest
from minixl.evaluation.files import Evaluation
from minixl.methods import METHODS, SCHEMA, resolve
from minixl.methods.finetune import Supervised
from minixl.models.discriminators import NO_DISCRIMINATOR
from minixl.run.method import LABELLED, Method
from minixl.run.prepared import Prepared, Text
from minixl.run.stage import make_training
from minixl.settings import Settings
from minixl.study.replay import Start
from minixl.training.progress import Reporter
from minixl.weights.e5 import encoder_folder
from minixl.weights.folder import read_config

BILSTM_CRF = "bilstm-crf"              # as a model: a new one
TEXT, TARGET = "--text", "--target"
DEFAULTS: dict[str, dict[str, Any]] = {"language-adversarial": {"adversary.level": "sentence"}}     # without it, it is finetune
FIX = "shorten it, or raise the limit with --set data.max_length=N"
Labelled = tuple[str, str]             # a text and its labels


class Built(NamedTuple):
    """A model for the texts."""

    model: Any
    tokenizer: Any
    raw_config: Mapping[str, Any]
    labels: list[str]
    settings: Settings                 # with those that the model fixes


@contextmanager
def of_text(model: str, texts: Sequence[Labelled], targets: Sequence[str] = (), *, method: str = "", recipe: str = "",
            changes: Sequence[str] = (), seed: int = 1, reporter: Reporter, xp: Any = np) -> Iterator[Start]:
    """Prepare one step of a method on one batch of texts.

    model: a model folder, an encoder's folder or name, or "bilstm-crf"; texts: with labels, one for each word (words are
    separated by spaces) or one for a document; targets: texts in another language, for methods that compare two; recipe: whose
    settings to take, otherwise the defaults and a method; changes: settings as "name=value".
    Raises UserError for labels that do not match the words, a text that is too long, and a method that needs more.
    """
    if not texts:
        raise UserError(f"{TEXT} is missing: expected a text and its --labels, or the folder of a run")
    base = dict(_base(method, recipe))
    trained = Path(model) if (Path(model) / "minixl.json").is_file() else None
    algorithm, settings, _ = resolve(SCHEMA.settings({**base, **_fixed_by(trained, model, base)}).override(
        ["train.epochs=1", "train.max_steps=1", f"train.batch_size={max(len(texts), len(targets))}", *changes]))
    _check_method(algorithm, settings, bool(targets))
    task = settings["task"]
    sources = Corpus("source", Path(TEXT), task, _inputs(task, texts))
    others = Corpus("target", Path(TARGET), task, [_unlabelled(task, text) for text in targets])
    built = _load(trained, settings, algorithm, sources, xp) if trained else _new(
        model, settings, algorithm, sources, others, seed, xp)
    with tempfile.TemporaryDirectory(prefix="minixl-study-") as scratch:
        prepared = _prepared(built, sources, others if targets else None)
        for objective in algorithm.objectives(settings):
            objective.check_model(built.model, settings)
        training = make_training(algorithm, built.settings, seed, prepared, Path(scratch), reporter)
        yield Start(training.objective, 0, 1, built.tokenizer)


def _base(method: str, recipe: str) -> Mapping[str, Any]:
    """Return the settings of a recipe or, for a method, those that it needs besides the defaults."""
    if recipe and method:
        raise UserError("--recipe and --method exclude each other: a recipe has its method")
    if recipe:
        return SCHEMA.recipe(recipe)
    method = method or "finetune"
    if method not in METHODS:
        raise UserError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    return {"method": method, **DEFAULTS.get(method, {})}


def _fixed_by(trained: Path | None, model: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the model decides, in place of those in `base`."""
    if trained:
        info = load_info(trained)
        level = {"adversary.level": info.discriminator} if base["method"] in DEFAULTS and info.discriminator != "none" else {}
        return {**level, "task": info.task, "model.type": info.family, "data.max_length": info.max_length,
                "model.pooling": info.pooling, "adversary.size": info.discriminator_size}
    if model == BILSTM_CRF:
        return {"model.type": BILSTM_CRF}
    positions = read_config(encoder_folder(Path(model))).max_pieces
    return {"data.max_length": min(positions, base.get("data.max_length", SCHEMA["data.max_length"].default))}


def _load(folder: Path, settings: Settings, method: Method, sources: Corpus, xp: Any) -> Built:
    """Load a trained model."""
    model, tokenizer, info = load_model(folder, xp=xp)
    needed = method.discriminator(settings)
    if needed != NO_DISCRIMINATOR and needed.kind != info.discriminator:
        raise UserError(f"{folder}: {method.name} needs a language discriminator of {needed.kind}s, and this model has "
                        f"{'none' if info.discriminator == 'none' else f'one of {info.discriminator}s'}; give an encoder instead")
    known = info.file_labels()
    for label in sorted(sources.labels() - set(known)):
        raise UserError(f"--labels: expected labels of the model ({', '.join(known)}), got {label!r}{nearest(label, known)}")
    family_of(settings).freeze(model, settings["model.freeze"])
    if info.scheme != "none":
        settings = settings.override([f"model.scheme={info.scheme}"])
    return Built(model, tokenizer, {}, info.labels, settings)


def _new(name: str, settings: Settings, method: Method, sources: Corpus, others: Corpus, seed: int, xp: Any) -> Built:
    """Build a new model with the labels of the texts."""
    encoder = None if name == BILSTM_CRF else encoder_folder(Path(name))
    family_of(settings).check(settings, Inputs(encoder, []))
    labels = collect_labels(settings["task"], [sources], scheme_of(settings))
    if len(labels) < 2:
        raise UserError(f"--labels: a new head needs at least two different labels, got only {labels[0]!r}; give more words or "
                        "another --text, or a trained model")
    new = build(Request(settings, Inputs(encoder, []), [sources], [others], labels, scheme_of(settings), seed,
                        method.discriminator(settings), xp))
    return Built(new.model, new.tokenizer, new.raw_config, labels, settings)


def _prepared(built: Built, sources: Corpus, others: Corpus | None) -> Prepared:
    """Encode the texts."""
    settings, scheme = built.settings, scheme_of(built.settings)

    def encoded(corpus: Corpus, labels: list[str] | None) -> Text:
        return Text(corpus, encode_corpus(corpus, built.tokenizer, labels, scheme=scheme, max_length=settings["data.max_length"],
                                          on_long="error", fix=FIX))

    evaluation = Evaluation(settings["task"], scheme, settings, [sources.language])
    return Prepared(built.model, built.tokenizer, built.raw_config, built.labels, [encoded(sources, built.labels)], [],
                    {} if others is None else {others.language: encoded(others, None)}, evaluation, {}, [])


def _check_method(method: Method, settings: Settings, has_targets: bool) -> None:
    """Raises UserError if the method does not fit the model, or reads text that was not given or that only a run has."""
    if type(method).run is not Method.run and method.objective is not Supervised:
        raise UserError(f"--method {method.name}: its last stage learns from what earlier stages make, so a typed text has no such "
                        f"step; give the folder of a run of this method, with --at-step N and without {TEXT}")
    Method.check(method, settings, Inputs(None, []))
    if set(method.streams(settings).values()) - {LABELLED} and not has_targets:
        raise UserError(f"{TARGET} is missing: {method.unlabelled_needed_by(settings)} compares {TEXT} with text in another "
                        "language")


def _inputs(task: str, texts: Sequence[Labelled]) -> Any:
    """Return sentences or documents.  Raises UserError for labels that do not fit."""
    if task not in TAGGING:
        return [Document(text, labels, line) for line, (text, labels) in enumerate(texts, 1)]
    sentences = []
    for line, (text, labels) in enumerate(texts, 1):
        words, tags = text.split(), labels.split()
        if not words:
            raise UserError(f"{TEXT}: expected words, got {text!r}")
        if len(tags) != len(words):
            raise UserError(f"--labels: expected {len(words)} labels, one for each word of {text[:40]!r}, got {len(tags)}")
        wrong = next((tag for tag in tags if task == "ner" and not re.fullmatch("O|[BI]-.+", tag)), None)
        if wrong is not None:
            raise UserError(f"--labels: expected entity tags in IOB2 (O, B-PER, I-PER), got {wrong!r}; for other tasks use "
                            "--set task=pos or --set task=classification")
        sentences.append(Sentence(tuple(words), tuple(tags), line))
    return sentences


def _unlabelled(task: str, text: str) -> Any:
    return Sentence(tuple(text.split()), None, 1) if task in TAGGING else Document(text, None, 1)
