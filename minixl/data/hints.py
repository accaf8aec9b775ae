"""What a file may be that was meant otherwise.  The hints are one line with its cure, "" where nothing is odd."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from minixl.data.examples import Document
from minixl.data.schemes import parse
from minixl.data.words import UNSPACED, split_words

MANY = 20              # lines: fewer say too little
MOST = 0.9             # share of the lines that are one word
FEW = 5                # a label stands on more lines than this, on average


def one_word_lines(texts: Sequence[str]) -> bool:
    """Whether nearly every one of these lines is one word, as where raw text is one column of a labelled file.

    Scripts without spaces between words never look so: a line of them may be a sentence.
    """
    if len(texts) < MANY:
        return False
    single = [text for text in texts if len(text.split()) == 1]
    if len(single) <= MOST * len(texts):
        return False                                                   # nearly all files: split_words takes longer
    words = sum(len(split_words(text)) == 1 and not UNSPACED.search(text) for text in single)
    return words > MOST * len(texts)


def swapped_columns(documents: Sequence[Document]) -> str:
    """The hint where there are about as many labels as texts, as where the text stands before the label."""
    labels, texts = {document.label for document in documents}, {document.text for document in documents}
    if len(labels) > len(texts) or (len(documents) >= MANY and 2 * len(labels) > len(documents)):
        return (f"{len(labels)} different labels on {len(documents)} texts; if the text stands before the label, change the "
                "columns round")
    return ""


def entity_tags(sequences: Iterable[Sequence[str]]) -> str:
    """The hint where tags that are read as parts of speech are those of entities, in any scheme."""
    tags = {tag for tags in sequences for tag in tags}
    if any("-" in tag for tag in tags) and all(parse(tag) for tag in tags):
        return "these look like entity tags; the task for them is ner"
    return ""


def labels_of_texts(column: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a column holds the labels of the texts in the other one: few, of one word each, beside more than one word."""
    return (len(column) >= MANY and FEW * len(set(column)) < len(column) and not any(len(label.split()) > 1 for label in column)
            and 2 * sum(len(split_words(text)) > 1 for text in other) > len(other))
