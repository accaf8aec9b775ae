"""A file in one language, read for a task and encoded for a model."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minixl.data.classification import check_document_labels, header_of, read_classification
from minixl.data.conll import ConllFile, check_words, read_conll
from minixl.data.conll import check_labels as check_tags
from minixl.data.encoding import CURE, Encoded, PieceTokenizer, encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.data.hints import entity_tags, one_word_lines, swapped_columns
from minixl.data.lines import read_lines, shown
from minixl.data.schemes import convert, label_set, parse
from minixl.data.text import read_text
from minixl.data.words import split_words
from minixl.errors import UserError

TAGGING = ("ner", "pos")
ONE_WORD = ("nearly every line is one word; if this is one column of a labelled file, give the whole file, whose labels are not "
            "read")


@dataclass(slots=True)
class Corpus:
    """Sentences (tagging) or documents (classification) of one file."""

    language: str
    path: Path
    task: str
    inputs: list[Sentence] | list[Document]
    found: str = "none"        # the tag scheme of the file; the tags here are IOB2, or plain
    repaired: int = 0          # how many tags of the file break that scheme
    hint: str = ""             # what the file may be that was meant otherwise: for the user, with the cure

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
        return replace(self, inputs=self.inputs[:count]) if count else self


def read_corpus(task: str, language: str, path: Path, *, encoding: str = "utf-8", scheme: str = "auto",
                labelled: bool = True) -> Corpus:
    """Read a file for a task.  Entity tags become IOB2, whatever the file has.  Raises UserError with file and line."""
    if task in TAGGING:
        given = "none" if task == "pos" else None if scheme == "auto" else scheme
        file = read_conll(path, encoding=encoding, tags=labelled, scheme=given)
        check_words(file)
        if labelled and task == "ner" and file.scheme == "none":
            line, tag = next((s.line + i, tag) for s in file.sentences for i, tag in enumerate(s.tags or ()) if tag != "O")
            raise UserError(f"{path}:{line}: expected entity tags such as B-PER, I-PER and O, found {tag!r}; "
                            "part-of-speech tags are of the task pos, labelled texts of the task classification")
        hint = entity_tags(s.tags or () for s in file.sentences) if task == "pos" else ""
        return Corpus(language, path, task, file.sentences, file.found, file.repaired, hint)
    documents = read_classification(path, encoding=encoding, labels=labelled)
    if labelled and all(parse(document.text) for document in documents):
        raise UserError(f"{path}:{documents[0].line}: expected a label and a text, found a word and the tag "
                        f"{documents[0].text!r}; entity tags are of the task ner, part-of-speech tags of the task pos")
    return Corpus(language, path, task, documents, hint=swapped_columns(documents) if labelled else "")


def read_unlabelled(task: str, language: str, path: Path, *, encoding: str = "utf-8") -> Corpus:
    """Text without labels: raw text, or a labelled file of any task whose labels are not read.

    Raw text is cut into words for a tagger; the words of a column file are put together to texts for a classifier.
    Raises UserError for a file without text.
    """
    lines = list(read_lines(path, encoding))
    if not any(map(str.strip, lines)):
        raise UserError(f"{path}: expected text in {language}, found none; is this the right file?")
    form = form_of(task, path, lines)
    if form == "columns":
        file = read_conll(path, encoding=encoding, tags=False)
        check_words(file)
        sentences = file.sentences
        texts = [Document(" ".join(sentence.words), None, sentence.line) for sentence in sentences]
        return Corpus(language, path, task, sentences if task in TAGGING else texts)
    documents = read_classification(path, encoding=encoding, labels=False) if form == "fields" else \
        read_text(path, encoding=encoding)
    hint = ONE_WORD if form == "lines" and one_word_lines([document.text for document in documents]) else ""
    if task not in TAGGING:
        return Corpus(language, path, task, documents, hint=hint)
    return Corpus(language, path, task, [Sentence(tuple(d.text[a:b] for a, b in split_words(d.text)), None, d.line)
                                         for d in documents], hint=hint)


def form_of(task: str, path: Path, lines: Iterable[str]) -> str:
    """How these lines of a file hold text: "columns" (in_columns), "fields" (a label and a text), or raw "lines"."""
    written = [line for line in lines if line.strip()]
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".jsonl", ".ndjson")):
        return "fields"
    if in_columns(task, written):
        return "columns"
    divided = bool(written) and all("\t" in line for line in written)
    if divided and task in TAGGING:
        _check_fields(path, lines)
    return "fields" if divided or (task not in TAGGING and name.endswith(".tsv")) else "lines"


def in_columns(task: str, lines: Sequence[str]) -> bool:
    """Whether these lines, none of them blank, are a word and its tag each, and not raw text.

    True if all have equally many words of which the last is a tag: one of entities for ner, ASCII without lower-case
    letters for pos, either for classification.  For ner and pos lines with tabs need not be equally long, and what follows
    the last tab may be anything like a tag; but if it is a text somewhere, or if a space is before the first tab in most,
    these are labels and texts.  Comments and -DOCSTART- lines say nothing.
    """
    rows = [line for line in lines if not line.startswith(("# ", "-DOCSTART-"))]
    tabs = any("\t" in line for line in rows)
    if not rows or (tabs and not all("\t" in line for line in rows)):
        return False
    cells = [line.split("\t" if tabs else None) for line in rows]
    if tabs and task in TAGGING:
        texts = not all(_like_a_tag(row[-1]) for row in cells) or 2 * sum(" " in row[0].strip() for row in cells) > len(cells)
        return not texts and header_of(cells[0]) is None
    tags = [row[-1].strip() for row in cells]
    tagged = (task != "pos" and all(map(parse, tags))) or (task != "ner" and _plain_tags(tags))
    return tagged and len(cells[0]) > 1 and len({len(row) for row in cells}) == 1


def _check_fields(path: Path, lines: Iterable[str]) -> None:
    """Raises UserError for lines with tabs, and no words with their tags, that are not a label and a text each either."""
    written = [(number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip()]
    if header_of(written[0][1]) is not None:
        return
    wrong = [(number, row) for number, row in written if len(row) != 2]
    if not wrong and all(_like_a_tag(row[1]) for _, row in written):
        wrong = written                                                # the text before the label
    if wrong:
        number, row = wrong[0]
        raise UserError(f"{path}:{number}: expected a word and its tag, or a label, a tab and a text, found "
                        f"{shown(' TAB '.join(row))}; give the texts alone, one a line")


def _like_a_tag(cell: str) -> bool:
    """Whether this may be a tag of any kind: one word, ASCII or an entity tag; texts in Chinese or Thai have no spaces."""
    tag = cell.strip()
    return " " not in tag and (tag.isascii() or parse(tag) is not None)


def _plain_tags(tags: Sequence[str]) -> bool:
    """Whether these may be parts of speech: ASCII without spaces or lower-case letters, and not all of them numbers or marks."""
    return all(tag.isascii() and tag == tag.upper() and len(tag.split()) == 1 for tag in tags) and any(map(str.isupper, tags))


def labels_of(task: str, corpora: Iterable[Corpus], scheme: str = "IOB2") -> list[str]:
    """The label set of training data: for NER O and the tags of every type in a scheme; else the labels that occur, sorted."""
    golds = [corpus.gold() for corpus in corpora]
    if task in TAGGING:
        tags = [tags for gold in golds for tags in gold]
        return label_set(tags, scheme if task == "ner" else "none")
    return sorted({label for gold in golds for label in gold if isinstance(label, str)})


def check_classes(corpora: Sequence[Corpus], at_least: int) -> None:
    """Raises UserError for a class with fewer training documents than `at_least`: file, line, label and the cure, which is
    the file's hint if it has one."""
    documents = [(corpus, document) for corpus in corpora for document in corpus.documents()]
    counts = Counter(document.label for _, document in documents)
    rare = next(((c, d) for c, d in documents if counts[d.label] < at_least), None)
    if rare:
        corpus, document = rare
        times = counts[document.label]
        cure = corpus.hint or f"correct the label, or --set data.min_count={times} allows it"
        raise UserError(f"{corpus.path}:{document.line}: expected at least {at_least} texts of every class, found {times} of "
                        f"{shown(document.label or '')}; {cure}")


def check_labels(corpus: Corpus, labels: Sequence[str]) -> None:
    """Raises UserError that names file and line of the first label that is not in `labels`."""
    if corpus.task in TAGGING:
        check_tags(ConllFile(corpus.sentences(), "", str(corpus.path), corpus.found), labels)
    else:
        check_document_labels(corpus.documents(), labels, corpus.path)


def encode(corpus: Corpus, tokenizer: PieceTokenizer, labels: Sequence[str] | None, *, max_length: int,
           on_long: str, scheme: str = "IOB2", cure: str = CURE) -> Encoded:
    """Pieces of a corpus, with class numbers where `labels` is given.

    scheme: that of the labels, if they write spans.  Raises UserError, which ends with the cure, for a long input where
    on_long is "error".
    """
    how: dict[str, Any] = {"max_length": max_length, "on_long": on_long, "path": str(corpus.path), "cure": cure}
    ids = None if labels is None else {label: i for i, label in enumerate(labels)}
    if corpus.task in TAGGING:
        sentences = corpus.sentences()
        if corpus.task == "ner" and scheme not in ("IOB2", "none"):
            sentences = [replace(s, tags=s.tags and tuple(convert(s.tags, "IOB2", scheme))) for s in sentences]
        encoded = encode_sentences(sentences, tokenizer, ids, **how)
        return replace(encoded, repaired=corpus.repaired, scheme=corpus.found, hint=corpus.hint)
    return replace(encode_documents(corpus.documents(), tokenizer, ids, **how), hint=corpus.hint)
