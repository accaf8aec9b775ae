"""Write labelled text in a layout that minixl reads, in UTF-8 with line feeds; the ending of the file's name chooses the layout.

    taggers      .txt, .conll    word TAB tag, and a blank line after each sentence
                 .jsonl          {"tokens": ["Anna", "lives"], "ner_tags": ["B-PER", "O"]}; parts of speech have pos_tags
    documents    .tsv            label TAB text
                 .csv            label,text below a header line
                 .jsonl          {"label": "travel", "text": "..."}

Whatever would not be read back as it is, is an error, and so is a tab in a .tsv, which other programs would take for a new column.
Test: tests/data/test_convert.py.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minixl.data.classification import SEPARATORS
from minixl.data.corpus import Corpus
from minixl.data.examples import Document, Sentence
from minixl.data.header import find_header
from minixl.data.json_lines import TAG_KEYS, TOKENS
from minixl.data.lines import BYTE_ORDER_MARK, file_format, quoted
from minixl.data.schemes import convert, detect_scheme
from minixl.errors import UserError
from minixl.files import replaced_file

BREAKS = {"\t": "a tab", "\n": "a line feed", "\r": "a carriage return", "\0": "a zero byte"}
QUOTED_IN_CSV = re.compile(r'[",\r\n]')


class Layout(NamedTuple):
    """How sentences or documents are written.  A fault says why the layout cannot hold something; "" if it can."""

    lines: Callable[[Any], Iterator[str]]            # of a sentence or a document
    fault: Callable[[str], str]                      # of a word, tag, label or text
    first_line_fault: Callable[[str], str] = lambda line: ""
    header: str = ""


def check_ending(task: str, path: Path) -> None:
    """Raises UserError unless the name of the file to write ends as one of the task's layouts."""
    if file_format(path) not in LAYOUTS[task] or path.suffix.lower() == ".gz":
        raise UserError(f"--out {path}: expected a name that ends in {_either(list(LAYOUTS[task]))}, found "
                        f"{path.suffix or quoted(path.name)}")


def in_scheme(corpus: Corpus, scheme: str) -> Corpus:
    """Return a corpus of entities with its IOB2 tags converted.  Raises UserError if a reader could not detect their scheme."""
    sentences = [replace(sentence, tags=tuple(convert(sentence.tags or (), "IOB2", scheme))) for sentence in corpus.sentences()]
    tags = [sentence.tags or () for sentence in sentences]
    if detect_scheme(tags, lambda i, j: sentences[i].place(corpus.path, j)) == "none":
        raise UserError(f"{corpus.path}: expected types of entities, such as PER, found none; without them {scheme} tags look like "
                        "plain tags; use another scheme")
    return replace(corpus, inputs=sentences)


def write_corpus(corpus: Corpus, path: Path) -> None:
    """Write a labelled corpus atomically; with an ending that no layout has, in the task's first layout.

    Raises UserError, with file and line, for what the layout cannot hold.
    """
    layouts = LAYOUTS[corpus.task]
    layout = layouts.get(file_format(path), next(iter(layouts.values())))
    _check(corpus, path, layout)
    with replaced_file(path) as fresh, open(fresh, "w", encoding="utf-8", newline="\n") as file:
        file.write(layout.header)
        for item in corpus.inputs:
            file.writelines(layout.lines(item))


def column_lines(sentence: Sentence) -> Iterator[str]:
    """Yield the lines of a sentence: word TAB tag, and a blank one."""
    yield from (f"{word}\t{tag}\n" for word, tag in zip(sentence.words, sentence.tags or (), strict=True))
    yield "\n"


def _token_lines(sentence: Sentence, key: str) -> Iterator[str]:
    yield _json({TOKENS: sentence.words, key: sentence.tags})


def _tsv_lines(document: Document) -> Iterator[str]:
    yield f"{document.label}\t{document.text}\n"


def _csv_lines(document: Document) -> Iterator[str]:
    yield f"{_csv_cell(document.label or '')},{_csv_cell(document.text)}\n"


def _json_lines(document: Document) -> Iterator[str]:
    yield _json({"label": document.label, "text": document.text})


def _csv_cell(text: str) -> str:
    """Quote a cell if need be; the writer of Python's csv leaves out the quotes that a carriage return needs."""
    return '"' + text.replace('"', '""') + '"' if QUOTED_IN_CSV.search(text) else text


def _json(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _check(corpus: Corpus, path: Path, layout: Layout) -> None:
    """Raises UserError, with file and line, for the first value that the layout cannot hold."""
    first = next(layout.lines(corpus.inputs[0])).rstrip("\n")
    if fault := layout.first_line_fault(first):
        raise _unfit(corpus, path, corpus.inputs[0].place(corpus.path), first, fault)
    for item in corpus.inputs:
        for i, value in _values(item):
            if fault := layout.fault(value):
                place = item.place(corpus.path, i) if isinstance(item, Sentence) else item.place(corpus.path)
                raise _unfit(corpus, path, place, value, fault)


def _values(item: Sentence | Document) -> Iterator[tuple[int, str]]:
    """Yield words and tags with their numbers, or label and text with 0."""
    if isinstance(item, Document):
        yield from ((0, item.label or ""), (0, item.text))
        return
    yield from enumerate(item.words)
    yield from enumerate(item.tags or ())


def _unfit(corpus: Corpus, path: Path, place: str, text: str, fault: str) -> UserError:
    others = [ending for ending, layout in LAYOUTS[corpus.task].items() if not layout.fault(text)]
    return UserError(f"{place}: expected text that {path.name} can hold, found {quoted(text)}, which {fault}; "
                     + (f"write a {_either(others)} file" if others else "correct it"))


def _either(endings: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))


def _cell_fault(text: str) -> str:
    return next((f"has {name}" for character, name in BREAKS.items() if character in text), "")


def _column_fault(text: str) -> str:
    return "is skipped as the start of a document" if text.split(" ")[0] == "-DOCSTART-" else _cell_fault(text)


def _csv_fault(text: str) -> str:
    return "has a zero byte" if "\0" in text else ""


def _token_fault(text: str) -> str:
    return "begins or ends with white space" if text != text.strip() else ""


def _byte_order_fault(line: str) -> str:
    return "begins with a byte order mark" if line.startswith(BYTE_ORDER_MARK) else ""


def _header_fault(line: str) -> str:
    return "is read as a header" if any(find_header(line.split(mark)) for mark in SEPARATORS) else _byte_order_fault(line)


COLUMNS = Layout(column_lines, _column_fault, _byte_order_fault)
LAYOUTS = {
    **{task: {".txt": COLUMNS, ".conll": COLUMNS, ".jsonl": Layout(partial(_token_lines, key=keys[0]), _token_fault)}
       for task, keys in TAG_KEYS.items()},
    "classification": {".tsv": Layout(_tsv_lines, _cell_fault, _header_fault),
                       ".csv": Layout(_csv_lines, _csv_fault, header="label,text\n"),
                       ".jsonl": Layout(_json_lines, lambda text: "")},
}
