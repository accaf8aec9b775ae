"""Warnings about labelled text with which training or a score would mislead: one line each, or "" if nothing is wrong."""
from __future__ import annotations

from collections.abc import Hashable, Iterable

from minixl.data.corpus import Corpus
from minixl.data.examples import TAGGING
from minixl.data.limits import FIRST
from minixl.data.lines import quoted
from minixl.errors import WARNING


def one_label_warning(name: str, corpus: Corpus, complete: Corpus, limit: str, sample: str) -> str:
    """Warn if all inputs have one label, as the first ones of a file sorted by label have.

    name: such as "test es".  complete: the text before the limit.  limit: the name of its setting.  sample: data.sample.
    """
    labels, count = corpus.labels(), len(corpus.inputs)
    if len(labels) != 1 or count < 2:
        return ""
    unit = "sentences" if corpus.task in TAGGING else "texts"
    label = next(iter(labels))
    finding = f"none of the {count} {unit} has an entity" if corpus.task == "ner" and label == "O" else \
        f"all {count} {unit} have the label {quoted(label)}"
    others = len(complete.labels()) - 1
    if not others and corpus.task == "ner" and label == "O":
        return ""                                                      # run/prepare.py reports files without entities
    if not others:
        return f"{WARNING}{name}: {finding}; without other labels it cannot show how well these are told apart"
    fix = f"--set data.sample=random draws the {count} from all of it" if sample == FIRST else f"raise {limit}"
    return f"{WARNING}{name}: {finding}, and {others} more label{'s' * (others != 1)} in the rest of the text; {fix}"


def texts_in(corpora: Iterable[Corpus]) -> set[Hashable]:
    """Return the texts of documents and the words of sentences, without their labels."""
    return {text for corpus in corpora for text in _texts(corpus)}


def overlap_warning(name: str, corpus: Corpus, training: set[Hashable]) -> str:
    """Warn if inputs of a dev or test text also stand in the training text.  training: the result of texts_in."""
    shared, count = shared_texts(corpus, training), len(corpus.inputs)
    if not shared:
        return ""
    unit = "sentences" if corpus.task in TAGGING else "texts"
    return (f"{WARNING}{name}: {shared} of {count} {unit} ({100 * shared / count:.1f} %) also stand{'s' * (shared == 1)} in the "
            "training text; their scores may show memory instead of transfer")


def shared_texts(corpus: Corpus, others: set[Hashable]) -> int:
    """Count the inputs whose words or text are exactly those of one in `others`."""
    return sum(text in others for text in _texts(corpus))


def _texts(corpus: Corpus) -> list[Hashable]:
    return [*(sentence.words for sentence in corpus.sentences()), *(document.text for document in corpus.documents())]
