"""Read a file in one language for a task, and encode it for a model."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from minixl.data.classification import check_document_labels, header_error, read_classification
from minixl.data.conll import ConllFile, check_words, read_conll
from minixl.data.conll import check_labels as check_tags
from minixl.data.encoding import LONG_INPUT_FIX, Encoded, PieceTokenizer, encode_documents, encode_sentences
from minixl.data.examples import TAGGING, Document, Sentence
from minixl.data.header import USUAL, Columns
from minixl.data.hints import entity_tags_hint, one_column_hint, swapped_columns_hint
from minixl.data.json_lines import read_tokens
from minixl.data.label_map import rename_hint
from minixl.data.layout import check_labelled, detect_layout
from minixl.data.limits import FIRST, kept_by_limit
from minixl.data.lines import file_format, quoted, read_lines
from minixl.data.schemes import convert, label_set, parse_tag
from minixl.data.text import read_text
from minixl.data.words import split_words
from minixl.errors import UserError

HEAD = 200                 # lines that show what a labelled file is


@dataclass(slots=True)
class Corpus:
    """Sentences (tagging) or documents (classification) in one language, of one file or of several, one after another."""

    language: str
    path: Path                 # of the first file
    task: str
    inputs: list[Sentence] | list[Document]
    file_scheme: str = "none"  # of the tags in the file; those in inputs are IOB2, or plain
    repaired: int = 0          # tags of the file that violate its scheme
    hint: str = ""             # a warning if the file looks misread (minixl/data/hints.py)
    more: tuple[Path, ...] = ()            # the other files

    @property
    def names(self) -> str:
        """Return the paths of its files."""
        return " + ".join(map(str, (self.path, *self.more)))

    def gold(self) -> list[list[str]] | list[str]:
        """Return the tags of every sentence, or the label of every document."""
        if self.task in TAGGING:
            return [list(s.tags or ()) for s in self.sentences()]
        return [d.label or "" for d in self.documents()]

    def sentences(self) -> list[Sentence]:
        """Return the inputs of a tagging task."""
        return [item for item in self.inputs if isinstance(item, Sentence)]

    def documents(self) -> list[Document]:
        """Return the inputs of a classification task."""
        return [item for item in self.inputs if isinstance(item, Document)]

    def limited(self, count: int, sample: str = FIRST, seed: int = 1) -> Corpus:
        """Keep `count` inputs: the first, or with sample="random" a draw by `seed`; 0 keeps all."""
        inputs: Any = [self.inputs[i] for i in kept_by_limit(len(self.inputs), count, sample, seed)]
        return replace(self, inputs=inputs)

    def labels(self) -> set[str]:
        """Return the labels, or the tags, that occur."""
        return {label for gold in self.gold() for label in ([gold] if isinstance(gold, str) else gold)}


def read_corpus(task: str, language: str, path: Path, *, encoding: str = "utf-8", scheme: str = "auto",
                labelled: bool = True, columns: Columns = USUAL) -> Corpus:
    """Read a file for a task and convert entity tags to IOB2.  columns: those that the user named.

    Raises UserError with file and line.
    """
    if labelled:
        check_labelled(task, path, list(islice(read_lines(path, encoding), HEAD)), columns)
    if task in TAGGING:
        tag_scheme = "none" if task == "pos" else None if scheme == "auto" else scheme
        if file_format(path) == ".jsonl":
            file = read_tokens(task, path, encoding=encoding, tags=labelled, scheme=tag_scheme, columns=columns)
        else:
            file = read_conll(path, encoding=encoding, tags=labelled, scheme=tag_scheme)
        check_words(file)
        if labelled and task == "ner" and file.scheme == "none":
            line, tag = next((s.line_of(i), tag) for s in file.sentences for i, tag in enumerate(s.tags or ()) if tag != "O")
            raise UserError(f"{path}:{line}: expected entity tags such as B-PER, I-PER and O, found {tag!r}; "
                            "use the task pos for part-of-speech tags, classification for labelled texts")
        hint = entity_tags_hint(s.tags or () for s in file.sentences) if task == "pos" else ""
        return Corpus(language, path, task, file.sentences, file.file_scheme, file.repaired, hint)
    documents = read_classification(path, encoding=encoding, labels=labelled, columns=columns)
    if labelled and all(parse_tag(document.text) for document in documents):
        raise UserError(f"{path}:{documents[0].line}: expected a label and a text, found a word and the tag "
                        f"{documents[0].text!r}; use the task ner for entity tags, pos for part-of-speech tags")
    return Corpus(language, path, task, documents, hint=swapped_columns_hint(documents) if labelled else "")


def read_unlabelled(task: str, language: str, path: Path, *, encoding: str = "utf-8", columns: Columns = USUAL) -> Corpus:
    """Read text without labels: raw text, or a labelled file of any task, whose labels are ignored.

    For a tagger, raw text is split into words; for a classifier, the words of a column file are joined into texts.
    Raises UserError for a file without text.
    """
    lines = list(read_lines(path, encoding))
    if not any(map(str.strip, lines)):
        raise UserError(f"{path}: expected text in {language}, found none; is this the right file?")
    layout = detect_layout(task, path, lines, columns)
    if layout in ("columns", "tokens"):
        file = read_conll(path, encoding=encoding, tags=False) if layout == "columns" else \
            read_tokens("ner", path, encoding=encoding, tags=False, columns=columns)
        check_words(file)
        sentences = file.sentences
        texts = [Document(" ".join(sentence.words), None, sentence.line) for sentence in sentences]
        return Corpus(language, path, task, sentences if task in TAGGING else texts)
    documents = read_classification(path, encoding=encoding, labels=False, columns=columns) if layout == "fields" else \
        read_text(path, encoding=encoding)
    hint = one_column_hint([document.text for document in documents]) if layout == "lines" else documents[0].hint
    if task not in TAGGING:
        return Corpus(language, path, task, documents, hint=hint)
    return Corpus(language, path, task, [Sentence(tuple(d.text[a:b] for a, b in split_words(d.text)), None, d.line)
                                         for d in documents], hint=hint)


def joined(corpora: Sequence[Corpus]) -> Corpus:
    """Return the texts of several files in one language as one corpus; each input knows its file."""
    first = corpora[0]
    if len(corpora) == 1:
        return first
    inputs: Any = [replace(item, path=str(corpus.path)) for corpus in corpora for item in corpus.inputs]
    schemes = dict.fromkeys(corpus.file_scheme for corpus in corpora if corpus.file_scheme != "none")
    hints = [f"{corpus.path}: {corpus.hint}" for corpus in corpora if corpus.hint]
    return Corpus(first.language, first.path, first.task, inputs, " or ".join(schemes) or "none",
                  sum(corpus.repaired for corpus in corpora), "; ".join(hints), tuple(corpus.path for corpus in corpora[1:]))


def collect_labels(task: str, corpora: Iterable[Corpus], scheme: str = "IOB2") -> list[str]:
    """Return the label set of training data: for ner O and all tags of every type in a scheme, else the labels used, sorted."""
    golds = [corpus.gold() for corpus in corpora]
    if task in TAGGING:
        tags = [tags for gold in golds for tags in gold]
        return label_set(tags, scheme if task == "ner" else "none")
    return sorted({label for gold in golds for label in gold if isinstance(label, str)})


def suspected_headers(corpora: Sequence[Corpus]) -> list[tuple[Corpus, Document]]:
    """Return the documents that look like the header of their file, and whose class no other document has."""
    documents = [(corpus, document) for corpus in corpora for document in corpus.documents()]
    classes = {document.label for _, document in documents if not document.hint}
    return [(corpus, document) for corpus, document in documents if document.hint and document.label not in classes]


def check_class_counts(corpora: Sequence[Corpus], at_least: int) -> None:
    """Raises UserError for a class with fewer than `at_least` documents: file, line, label and the fix, which is the file's hint
    if it has one.  Unless at_least=1 allows all classes, a header that was read as a document is an error too.
    """
    if at_least > 1:
        for corpus, document in suspected_headers(corpora):
            raise header_error(document, corpus.path)
    documents = [(corpus, document) for corpus in corpora for document in corpus.documents()]
    counts = Counter(document.label for _, document in documents)
    rare = next(((c, d) for c, d in documents if counts[d.label] < at_least), None)
    if rare:
        corpus, document = rare
        count = counts[document.label]
        fix = corpus.hint or f"correct the label, or allow it with --set data.min_count={count}"
        raise UserError(f"{document.place(corpus.path)}: expected at least {at_least} texts of every class, found {count} of "
                        f"{quoted(document.label or '')}; {fix}")


def check_labels(corpus: Corpus, labels: Sequence[str]) -> None:
    """Raises UserError, with file and line, for the first label that is not in `labels`."""
    hint = partial(rename_hint, corpus.task)
    if corpus.task in TAGGING:
        check_tags(ConllFile(corpus.sentences(), "", str(corpus.path), corpus.file_scheme), labels, hint)
    else:
        check_document_labels(corpus.documents(), labels, corpus.path, hint)


def encode_corpus(corpus: Corpus, tokenizer: PieceTokenizer, labels: Sequence[str] | None, *, max_length: int,
                  on_long: str, scheme: str = "IOB2", fix: str = LONG_INPUT_FIX) -> Encoded:
    """Encode a corpus as word pieces, with class numbers if `labels` is given.

    scheme: of the labels, if they are span tags.  With on_long="error", raises UserError for a long input; its message ends with
    `fix`.
    """
    tokenizer = tokenizer.for_language(corpus.language)
    options: dict[str, Any] = {"max_length": max_length, "on_long": on_long, "path": str(corpus.path), "fix": fix}
    ids = None if labels is None else {label: i for i, label in enumerate(labels)}
    if corpus.task in TAGGING:
        sentences = corpus.sentences()
        if corpus.task == "ner" and scheme not in ("IOB2", "none"):
            sentences = [replace(s, tags=s.tags and tuple(convert(s.tags, "IOB2", scheme))) for s in sentences]
        encoded = encode_sentences(sentences, tokenizer, ids, **options)
        return replace(encoded, repaired=corpus.repaired, file_scheme=corpus.file_scheme, hint=corpus.hint)
    return replace(encode_documents(corpus.documents(), tokenizer, ids, **options), hint=corpus.hint)
