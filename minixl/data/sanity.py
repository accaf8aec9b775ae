"""Warnings about labelled text with which training or a score would mislead: one line each, or "" if nothing is wrong."""
from __future__ import annotations

from minixl.data.corpus import Corpus
from minixl.data.examples import TAGGING
from minixl.data.limits import FIRST
from minixl.data.lines import quoted


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
    if not others:
        return f"warning: {name}: {finding}; without other labels it cannot show how well these are told apart"
    fix = f"--set data.sample=random draws the {count} from all of it" if sample == FIRST else f"raise {limit}"
    return f"warning: {name}: {finding}, and {others} more label{'s' * (others != 1)} in the rest of the file; {fix}"
