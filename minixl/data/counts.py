"""Count the inputs, words and labels of a file, in one line."""
from __future__ import annotations

from collections import Counter

from minixl.data.corpus import Corpus
from minixl.data.schemes import spans

LISTED = 20          # labels in a line


def count_line(corpus: Corpus) -> str:
    """Return the numbers of inputs, words, labels (entities by type) and repaired tags."""
    counts: Counter[str] = Counter()
    for gold in corpus.gold():
        if isinstance(gold, str):
            counts.update([gold] if gold else [])
        else:
            counts.update([kind for kind, _, _ in spans(gold)] if corpus.task == "ner" else gold)
    words = sum(len(s.words) for s in corpus.sentences()) + sum(len(d.text.split()) for d in corpus.documents())
    listed = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())[:LISTED])
    if len(counts) > LISTED:
        listed += f", and {len(counts) - LISTED} more labels"
    return (f"{len(corpus.inputs)} inputs, {words} words; {listed or 'no labels'}"
            + (f"; tags that broke the scheme and were repaired: {corpus.repaired}" if corpus.repaired else ""))
