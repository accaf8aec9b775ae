"""Write what `minixl predict` found: text to read, columns, JSON lines, or the rows of a table with columns added."""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from minixl.cli.terminal import printable
from minixl.data.csv_rows import DECLARED
from minixl.data.recognition import OBJECTS, TABLES
from minixl.data.records import CONFIDENCE, PREDICTION, Record

Answer = dict[str, Any]                   # of Predictor.predict


class Renderer:
    """Turns a record and its answer into what is printed for it.

    layout: of the input (minixl/data/recognition.py).  output: "text", "conll" or "jsonl", or the layout of a table, which keeps
    its rows.  separator: of a table.  confidences: columns get each tag's.  top: as for Predictor.predict.
    """

    def __init__(self, layout: str, output: str, task: str, labels: Sequence[str], separator: str = "", *, tagger: bool,
                 confidences: bool = False, top: int | None = None) -> None:
        self.layout, self.output, self.task, self.separator, self.tagger = layout, output, task, separator, tagger
        self.confidences, self.top = confidences, top
        self.added = 1 if tagger else 2 * min(top or 1, len(labels))                 # columns of a table

    def empty(self, text: str) -> Answer:
        """Return the keys of an answer for a text without words."""
        if not self.tagger:
            return {"text": text, "label": None, "confidence": None, "probabilities": {}}
        return {"text": text, "words": [], "tags": [], "confidences": [], **({"entities": []} if self.task == "ner" else {})}

    def render(self, record: Record, answer: Answer | None) -> str:
        """Return the line or lines of a record.  answer: None for a header, a blank line, and a text or sentence without words."""
        if self.output in TABLES:
            return self._row(record, answer)
        if record.content is None:
            return ""
        if self.output == "jsonl":
            return self._object(record, answer or self.empty(str(record.content or ""))) + "\n"
        if answer is None:
            return "\n"
        if self.output == "conll":
            return self._columns(answer)
        line = "\t".join([*self._classes(answer, ".2f"), answer["text"]]) if "label" in answer else _marked(answer)
        return printable(line) + "\n"                                     # programs read the other formats

    def _columns(self, answer: Answer) -> str:
        """A line for each word, with its tag in the last column; then a blank line."""
        text, lines = answer["text"], []
        for (start, end), confidence, tag in zip(answer["words"], answer["confidences"], answer["tags"], strict=True):
            lines.append("\t".join([text[start:end], *([f"{confidence:.4f}"] if self.confidences else []), tag]) + "\n")
        return "".join([*lines, "\n"])

    def _object(self, record: Record, answer: Answer) -> str:
        """The answer; for an object or a row, that as it is with the answer as its `prediction`."""
        if record.cells is None and self.layout != OBJECTS:
            return json.dumps(answer, ensure_ascii=False)
        source = record.source if record.cells is None else json.dumps(record.cells, ensure_ascii=False)
        prediction = json.dumps({key: value for key, value in answer.items() if key != "text"}, ensure_ascii=False)
        return f'{source[:-1].rstrip()}, "{PREDICTION}": {prediction}}}'

    def _row(self, record: Record, answer: Answer | None) -> str:
        """The row as it is, with the columns of the answer added."""
        body = record.source.rstrip("\r\n")
        ending = record.source[len(body):] or "\n"
        if record.content is None and record.cells is None and (self.separator not in body or DECLARED.search(body)):
            return body + ending                                                     # a blank line, or sep=;
        cells = [""] * self.added
        if record.content is None and record.cells is not None:
            names = (f"{name}_{i}" if i > 1 else name for i in range(1, self.added + 1) for name in (PREDICTION, CONFIDENCE))
            cells = [name for name, _ in zip(names, cells)]
        elif answer is not None:
            cells = self._classes(answer, ".4f") if "label" in answer else [_marked(answer)]
        return self.separator.join([body, *(_cell(cell, self.separator) for cell in cells)]) + ending

    def _classes(self, answer: Answer, form: str) -> list[str]:
        """The label, its confidence and, if asked for, those of the next classes; without a label no class has its name."""
        certain, others = answer["label"] is not None, list(answer["probabilities"].items())[1:] if self.top else []
        return [answer["label"] or "", format(answer["confidence"], form),
                *(cell for label, p in others for cell in (label * certain, format(p, form)))]


def _cell(text: str, separator: str) -> str:
    """Return a cell of a table: quoted where commas or semicolons separate the cells, without tabs and line ends where tabs do."""
    if separator == "\t":
        return " ".join(text.split("\t"))
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in separator + '"\r\n') else text


def _marked(answer: Answer) -> str:
    """Format as [Angela Merkel PER 0.99] visited [Seville LOC 0.98], or plain tags as word/TAG."""
    text = answer["text"]
    if "entities" not in answer:
        return " ".join(f"{text[a:b]}/{tag}" for (a, b), tag in zip(answer["words"], answer["tags"], strict=True))
    out, position = [], 0
    for entity in answer["entities"]:
        out += [text[position:entity["start"]], f"[{entity['text']} {entity['type']} {entity['confidence']:.2f}]"]
        position = entity["end"]
    return "".join([*out, text[position:]])
