"""Read and check everything that a run needs, before anything is written."""
from __future__ import annotations

from typing import Any

import numpy as np

from minixl.building import Request, build, family_of, scheme_of
from minixl.data.corpus import Corpus, collect_labels, encode_corpus
from minixl.data.counts import count_line
from minixl.data.inputs import Inputs
from minixl.data.reading import read_files
from minixl.errors import DETAILS, WARNING, UserError
from minixl.evaluation.files import Evaluation
from minixl.run.method import Method
from minixl.run.prepared import Prepared, Text
from minixl.settings import Settings
from minixl.training.progress import timed
from minixl.training.stopping import check_stopping


def prepare(method: Method, settings: Settings, inputs: Inputs, seed: int, xp: Any = np) -> Prepared:
    """Read every file, build the model, encode the text, unless the method does something else.

    Raises UserError for anything that the user has to correct.
    """
    own = method.prepare(settings, inputs, seed, xp)
    if own is not None:
        return own
    if not settings["train.epochs"] and not settings["train.max_steps"]:
        raise UserError("train.epochs and train.max_steps are both 0: nothing would be trained; set one of them")
    method.check(settings, inputs)                                 # report mistakes in settings and names of folders first
    inputs.check()
    family_of(settings).check(settings, inputs)
    with timed("reading the files"):
        files = read_files(settings, inputs, method.unlabelled_needed_by(settings), raw_text=method.reads_raw_text)
    scheme = scheme_of(settings)
    labels = collect_labels(settings["task"], files.sources, scheme)
    unlabelled = [*files.unlabelled_sources, *files.unlabelled_targets]
    with timed("building the model"):
        new = build(Request(settings, inputs, files.sources, [*files.dev, *files.test, *unlabelled], labels, scheme, seed,
                            method.discriminator(settings), xp, unlabelled))
    if new.unfinished and not method.finishes_model:
        raise UserError(new.unfinished)
    store = new.model.store
    DETAILS.debug("model: %s%s, %s weights, of which %s are trained", new.model.family,
                  f" with the encoder {inputs.encoder}" if inputs.encoder else "", f"{store.count():,}",
                  f"{store.count(trainable=True):,}")
    messages = list(new.messages)

    def encode(role: str, corpora: list[Corpus], labelled: bool) -> list[Text]:
        texts = [Text(corpus, encode_corpus(corpus, new.tokenizer, labels if labelled else None, scheme=scheme,
                                            max_length=settings["data.max_length"], on_long=settings["data.on_long"]))
                 for corpus in corpora]
        for text in texts:
            DETAILS.debug("%s %s=%s: %s", role, text.corpus.language, text.corpus.names, count_line(text.corpus))
        messages.extend(text.encoded.report(f"{role} {text.corpus.language}") for text in texts)
        return texts

    sources = encode("source", files.sources, True)
    unlabelled_sources = encode("unlabelled", files.unlabelled_sources, False)
    unlabelled_targets = encode("unlabelled", files.unlabelled_targets, False)
    evaluation = Evaluation(settings["task"], scheme, settings, [corpus.language for corpus in files.sources])
    for part, corpora in (("dev", files.dev), ("test", files.test)):
        for text in encode(part, corpora, True):
            evaluation.add(part, *text)
    messages += files.warnings + check_dev_files(method, settings, evaluation) + check_entities(evaluation)
    if inputs.unlabelled and not files.unlabelled_targets and not method.reads_raw_text:
        messages.append(f"{WARNING}--unlabelled: not used, {method.name} trains on labelled text only")
    prepared = Prepared(new.model, new.tokenizer, new.raw_config, labels, sources, unlabelled_sources,
                        {text.corpus.language: text for text in unlabelled_targets}, evaluation, inputs.fingerprints(), messages)
    messages += method.check_prepared(settings, inputs, prepared)
    return prepared


def check_dev_files(method: Method, settings: Settings, evaluation: Evaluation) -> list[str]:
    """Return messages about dev files and early stopping without effect.  Raises UserError as check_stopping does."""
    dev, sources = evaluation.files["dev"], evaluation.sources
    watched = settings["train.stop_on"]
    name = method.name + "".join(f" with {term.OFF}" for term in method.terms if watched in term.LOSSES)
    cure = next((f"--set {term.ON}" for term in method.terms if watched in term.LOSSES), "")
    check_stopping(settings, sources, dev, method.losses_of_all_stages(settings), name, cure)
    unused = [language for language in dev if language not in sources and language not in evaluation.files["test"]]
    messages = [f"{WARNING}--dev {language} has no effect: it is neither a source language ({', '.join(sources)}) nor a test "
                "language" for language in unused]
    if settings["train.patience"] and watched == "source-dev" and not any(
            language in sources and language not in evaluation.without_entities["dev"] for language in dev):
        messages.append(WARNING + "train.patience has no effect: early stopping needs a source dev file (--dev)")
    return messages


def check_entities(evaluation: Evaluation) -> list[str]:
    """Return messages about dev and test files of which every F1 is 0."""
    return [f"{WARNING}--{part} {language}={evaluation.files[part][language][0].names}: expected entities, found only the tag O: "
            f"every F1 on this file is 0{', so it selects no model' if part == 'dev' else ''}"
            for part, languages in evaluation.without_entities.items() for language in languages]
