"""What a run needs, read and checked before anything is written."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minixl.building import build
from minixl.data.corpus import (TAGGING, Corpus, check_classes, check_labels, encode, labels_of, read_corpus,
                                read_unlabelled)
from minixl.data.encoding import Example, PieceTokenizer
from minixl.errors import UserError
from minixl.data.inputs import Inputs
from minixl.methods import METHODS, chosen_terms, stream_texts
from minixl.models.family import Model
from minixl.models.frozen_bottom import FrozenBottom
from minixl.models.transformer import Transformer
from minixl.methods.advpicker.pipeline import Text, check_selection
from minixl.settings import Settings
from minixl.training.stopping import check_stopping
from minixl.methods.advpicker.audit import Gold, read_gold
from minixl.methods.advpicker.teachers import check_teachers, existing_teachers
from minixl.training.loop import Evaluation
from minixl.weights.folder import read_config


@dataclass
class Prepared:
    """Everything read and checked."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]
    labels: list[str]
    examples: dict[str, list[Example]]         # by what METHOD.STREAMS calls them: "labelled", "source", "target", "pseudo"
    texts: dict[str, Text]                     # the unlabelled text of every target language
    gold: Gold                                 # its tags, for advpicker.study alone
    evaluation: Evaluation
    fingerprints: dict[str, str]
    messages: list[str]


@dataclass
class Files:
    """The text files of a run, read."""

    sources: list[Corpus]
    scored: dict[str, list[Corpus]]            # "dev", "test"
    texts: dict[str, list[Corpus]]             # unlabelled: "source", "target"; empty where none is read
    gold: Gold


def read_files(settings: Settings, inputs: Inputs, messages: list[str]) -> Files:
    """Every file; their labels must fit each other."""
    task = settings["task"]
    reading: dict[str, Any] = {"encoding": settings["data.encoding"], "scheme": settings["data.scheme"]}
    read = lambda pairs: [read_corpus(task, language, path, **reading) for language, path in pairs]
    whole = read(inputs.source)
    sources = [corpus.limited(settings["data.limit"]) for corpus in whole]
    check_limited(settings, whole, sources, lambda corpora: check_source(settings, corpora))
    texts = read_texts(settings, inputs, sources)
    gold: Gold = {}
    if settings["method"] == "advpicker":
        check_selection(settings, texts["target"])
        if settings["advpicker.study"]:
            gold = read_gold(settings, texts["target"], messages)
    scored = {part: [corpus.limited(settings["data.test_limit"]) for corpus in read(getattr(inputs, part))]
              for part in ("dev", "test")}
    for corpus in scored["dev"] + scored["test"]:
        check_limited(settings, whole, sources, partial(_check_known, corpus))
    return Files(sources, scored, texts, gold)


def check_source(settings: Settings, corpora: list[Corpus]) -> None:
    """Raises UserError where the labels of the training data are too few to learn from."""
    labels = labels_of(settings["task"], corpora)
    if len(labels) < 2:
        raise UserError(f"{corpora[0].path}: expected at least two different labels, found only {', '.join(labels) or 'none'}; "
                        "give more text, or check which column holds them")
    check_classes(corpora, settings["data.min_count"])


def check_limited(settings: Settings, whole: list[Corpus], limited: list[Corpus], check: Callable[[list[Corpus]], None]) -> None:
    """check(limited).  Raises its UserError, or where the whole files would pass, one that says so."""
    try:
        check(limited)
    except UserError as error:
        if not settings["data.limit"] or not _passes(check, whole):
            raise
        raise UserError(f"data.limit: {settings['data.limit']} sentences of each source file are too few, the others would do: "
                        f"{str(error).partition(';')[0]}; raise it") from None


def _check_known(corpus: Corpus, sources: list[Corpus]) -> None:
    check_labels(corpus, labels_of(corpus.task, sources))


def _passes(check: Callable[[list[Corpus]], None], corpora: list[Corpus]) -> bool:
    try:
        check(corpora)
    except UserError:
        return False
    return True


def prepare(settings: Settings, inputs: Inputs, seed: int, xp: Any = np) -> Prepared:
    """Read every file, build the model, load the encoder."""
    check_settings(settings)
    inputs.check()
    if settings["method"] == "advpicker" and settings["advpicker.variant"] == "without-kd" and not inputs.test:
        raise UserError("--test: advpicker.variant=without-kd needs a test file, since all that its teachers do is to tag it; "
                        "for example --test es=es.txt")
    if inputs.encoder is not None and settings["model.type"] == "transformer":
        read_config(inputs.encoder)                                # a mistyped folder is said before the files are read
    messages: list[str] = []
    files = read_files(settings, inputs, messages)
    task, scheme, sources, texts = settings["task"], scheme_of(settings), files.sources, files.texts
    labels = labels_of(task, sources, scheme)
    others = [*files.scored["dev"], *files.scored["test"], *texts.get("source", []), *texts.get("target", [])]
    built = build(settings, inputs, sources, others, labels, scheme, seed, xp)
    check_model(settings, built.model)
    messages += built.messages
    how = {"max_length": settings["data.max_length"], "on_long": settings["data.on_long"], "scheme": scheme}

    def read_pieces(what: str, corpora: list[Corpus], labelled: bool) -> list[Text]:
        found = [Text(corpus, encode(corpus, built.tokenizer, labels if labelled else None, **how)) for corpus in corpora]
        messages.extend(text.encoded.report(f"{what} {text.corpus.language}") for text in found)
        return found

    labelled = read_pieces("source", sources, True)
    examples = {"labelled": examples_of(labelled)}
    targets: list[Text] = []
    if texts:
        more = read_pieces("unlabelled", texts["source"], False)
        targets = read_pieces("unlabelled", texts["target"], False)
        examples |= {"source": examples["labelled"] + examples_of(more) if more else examples["labelled"],
                     "target": compared(settings, [*labelled, *more], targets, seed)}
        if settings["method"] == "language-adversarial" and settings["adversary.level"] == "sentence" and len(targets) > 1:
            messages.append("several target languages in one run: the paper (Keung et al. 2019) trains one model for each")
        if settings["method"] == "advpicker" and settings["advpicker.variant"] != "without-kd" and len(targets) > 1:
            messages.append(f"one student learns all {len(targets)} target languages; the paper (Chen et al. 2021) trains one for "
                            "each (advpicker.teachers_from)")
    elif inputs.unlabelled:
        messages.append(f"--unlabelled: not used, {settings['method']} trains on labelled text only")
    if settings["advpicker.study"] and settings["method"] != "advpicker" and settings["advpicker.variant"] in ("ft", "tladv"):
        messages.append(f"advpicker.study: not used, advpicker.variant={settings['advpicker.variant']} makes no pseudo-labels")
    evaluation = make_evaluation(settings, files, scheme, read_pieces, messages)
    fingerprints = inputs.fingerprints()
    check_teachers(settings, inputs, labels, fingerprints)
    return Prepared(built.model, built.tokenizer, built.raw_config, labels, examples,
                    {text.corpus.language: text for text in targets}, files.gold, evaluation, fingerprints, messages)


def make_evaluation(settings: Settings, files: Files, scheme: str, read_pieces: Callable[[str, list[Corpus], bool], list[Text]],
                    messages: list[str]) -> Evaluation:
    """The dev and test files, as pieces."""
    evaluation = Evaluation(settings["task"], scheme, settings, [corpus.language for corpus in files.sources])
    for part, corpora in files.scored.items():
        for text in read_pieces(part, corpora, True):
            evaluation.add(part, *text)
    check_stopping(settings, evaluation.sources, evaluation.files["dev"])
    for language in evaluation.files["dev"]:
        if language not in evaluation.sources and language not in evaluation.files["test"]:
            messages.append(f"--dev {language}: selects nothing, since {language} is no language of --source "
                            f"({', '.join(evaluation.sources)}), and not of --test either, where it would add the column oracle")
    if (settings["train.patience"] and settings["train.stop_on"] == "source-dev"
            and not any(language in evaluation.sources for language in evaluation.files["dev"])):
        messages.append("train.patience has no effect: early stopping needs a source dev file (--dev)")
    return evaluation


def check_settings(settings: Settings) -> None:
    """Raises UserError for settings that contradict each other."""
    method, kind, task = settings["method"], settings["model.type"], settings["task"]
    if method not in METHODS:
        raise UserError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if not settings["train.epochs"] and not settings["train.max_steps"]:
        raise UserError("train.epochs and train.max_steps are both 0: nothing would be trained; set one of them")
    if method != "finetune" and kind != "transformer":
        raise UserError(f"model.type: method {method} compares the hidden states of a transformer, got {kind}; "
                        "--set method=finetune, or take a recipe with an encoder")
    if method == "advpicker" and task not in TAGGING:
        raise UserError(f"method: advpicker is for taggers (task ner or pos), got task {task}; for documents use the recipe "
                        "language-adversarial-classification")
    existing_teachers(settings)                                    # a mistyped folder is said before the files are read


def check_model(settings: Settings, model: Model) -> None:
    """Raises UserError for what a method needs of a model's frozen and trained parameters."""
    if not isinstance(model, Transformer):
        return
    if settings["method"] != "finetune" or chosen_terms(settings):
        model.trained_encoder_names()                              # says what is wrong
    if settings["model.keep_frozen"]:
        FrozenBottom(model.bert, [], memory_bytes=0)               # says what is wrong, before there are any states


def examples_of(texts: list[Text]) -> list[Example]:
    """All of them, one text after another."""
    return [example for text in texts for example in text.encoded.examples]


def compared(settings: Settings, sources: list[Text], targets: list[Text], seed: int) -> list[Example]:
    """The target text that is compared with the source text: adversary.target_size.

    "source" draws floor(source sentences / target languages) sentences of each language, once a run, as the code of Chen
    et al. 2021 does; of a language that has fewer it takes all.
    """
    if settings["adversary.target_size"] == "all":
        return examples_of(targets)
    share = max(1, sum(text.encoded.sources for text in sources) // len(targets))
    rng, found = np.random.default_rng([seed, 0, 1]), list[Example]()      # of the model: [seed, 1], of the streams: [seed, 2 ...]
    for text in targets:
        chosen = set(rng.permutation(text.encoded.sources)[:share].tolist())
        found += [example for example in text.encoded.examples if example.source in chosen]
    return found


def scheme_of(settings: Settings) -> str:
    """The tag scheme a model works in: "none" for what is no span."""
    if settings["task"] != "ner":
        return "none"
    if settings["model.scheme"] != "auto":
        return str(settings["model.scheme"])
    return "IOBES" if settings["model.type"] == "bilstm-crf" else "IOB2"


def read_texts(settings: Settings, inputs: Inputs, sources: list[Corpus]) -> dict[str, list[Corpus]]:
    """The unlabelled text of the source languages and of the others, where the method or one of its terms reads any."""
    if not {"source", "target", "pseudo"} & set(stream_texts(settings).values()):
        for language, path in inputs.unlabelled:
            if not path.is_file():
                found = "a directory" if path.is_dir() else "nothing"
                raise UserError(f"--unlabelled {language}={path}: expected a file, found {found}")
        return {}
    languages = {corpus.language for corpus in sources}
    corpora = [read_unlabelled(settings["task"], language, path, encoding=settings["data.encoding"])
               .limited(settings["data.unlabelled_limit"]) for language, path in inputs.unlabelled]
    texts = {"source": [c for c in corpora if c.language in languages],
             "target": [c for c in corpora if c.language not in languages]}
    if not texts["target"]:
        why = settings["method"] if settings["method"] != "finetune" else \
            "adversary.level" if settings["adversary.level"] != "none" else "alignment.average_linkage"
        raise UserError(f"--unlabelled: {why} compares languages, so it needs text of another one than "
                        f"{', '.join(sorted(languages))}, for example --unlabelled es=es.txt; found "
                        f"{', '.join(c.language for c in corpora) or 'none'}")
    return texts
