"""A file in one language, read for a task and encoded for a model."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minixl.data.classification import check_document_labels, read_classification
from minixl.data.conll import ConllFile, read_conll
from minixl.data.conll import check_labels as check_tags
from minixl.data.encoding import Encoded, PieceTokenizer, encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.data.schemes import label_set, parse
from minixl.errors import UserError

TAGGING = ("ner", "pos")


@dataclass(slots=True)
class Corpus:
    """Sentences (tagging) or documents (classification) of one file."""

    language: str
    path: Path
    task: str
    inputs: list[Sentence] | list[Document]
    found: str = "none"        # the tag scheme of the file; the tags here are IOB2, or plain

    def gold(self) -> list[list[str]] | list[str]:
        """The tags of every sentence, or the label of every document."""
        if self.task in TAGGING:
            return [list(s.tags or ()) for s in self.sentences()]
        return [d.label or "" for d in self.documents()]

    def sentences(self) -> list[Sentence]:
        """The inputs of a tagging task."""
        return [item for item in self.inputs if isinstance(item, Sentence)]

    def documents(self) -> list[Document]:
        """The inputs of a classification task."""
        return [item for item in self.inputs if isinstance(item, Document)]

    def limited(self, count: int) -> Corpus:
        """The first `count` inputs; 0 keeps all."""
        return Corpus(self.language, self.path, self.task, self.inputs[:count], self.found) if count else self


def read_corpus(task: str, language: str, path: Path, *, encoding: str = "utf-8", scheme: str = "auto",
                labelled: bool = True) -> Corpus:
    """Read a file for a task.  Entity tags become IOB2, whatever the file has.  Raises UserError with file and line."""
    if task in TAGGING:
        given = "none" if task == "pos" else None if scheme == "auto" else scheme
        file = read_conll(path, encoding=encoding, tags=labelled, scheme=given)
        if labelled and task == "ner" and file.scheme == "none":
            line, tag = next((s.line + i, tag) for s in file.sentences for i, tag in enumerate(s.tags or ()) if tag != "O")
            raise UserError(f"{path}:{line}: expected entity tags such as B-PER, I-PER and O, found {tag!r}; "
                            "for part-of-speech tags use --set task=pos, for labelled texts a classification recipe")
        return Corpus(language, path, task, file.sentences, file.found)
    documents = read_classification(path, encoding=encoding, labels=labelled)
    if labelled and all(parse(document.text) for document in documents):
        raise UserError(f"{path}:{documents[0].line}: expected a label and a text, found a word and the tag "
                        f"{documents[0].text!r}; for entity tags use an NER recipe")
    return Corpus(language, path, task, documents)


def labels_of(task: str, corpora: Iterable[Corpus]) -> list[str]:
    """The label set of training data: for NER O, B-X and I-X of every type; else the labels that occur, sorted."""
    golds = [corpus.gold() for corpus in corpora]
    if task in TAGGING:
        return label_set([tags for gold in golds for tags in gold], "IOB2" if task == "ner" else "none")
    return sorted({label for gold in golds for label in gold if isinstance(label, str)})


def check_labels(corpus: Corpus, labels: Sequence[str]) -> None:
    """Raises UserError that names file and line of the first label that is not in `labels`."""
    if corpus.task in TAGGING:
        check_tags(ConllFile(corpus.sentences(), "", str(corpus.path), corpus.found), labels)
    else:
        check_document_labels(corpus.documents(), labels, corpus.path)


def encode(corpus: Corpus, tokenizer: PieceTokenizer, labels: Sequence[str] | None, *, max_length: int,
           on_long: str) -> Encoded:
    """Word pieces of a corpus, with class numbers where `labels` is given."""
    ids = None if labels is None else {label: i for i, label in enumerate(labels)}
    if corpus.task in TAGGING:
        return encode_sentences(corpus.sentences(), tokenizer, ids, max_length=max_length, on_long=on_long,
                                path=str(corpus.path))
    return encode_documents(corpus.documents(), tokenizer, ids, max_length=max_length, on_long=on_long,
                            path=str(corpus.path))
